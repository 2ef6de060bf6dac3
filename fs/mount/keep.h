/* Writing a file of a tree, decompressed, into the store. */
#ifndef STAGEFS_KEEP_H
#define STAGEFS_KEEP_H

#include "layer/store.h"
#include "mount/counters.h"
#include <stagefs/tree.h>

struct sfs_keep {
    struct sfs_store *store;
    uint64_t limit; /* bytes that all kept files together may take */
    struct sfs_stats *stats;
    atomic_bool stop; /* give up soon */
};

/* `name` is the file's sfs_tree_content_name(). Takes long, and steps back while reads come in.
 * What it writes has been checked as what is served. Whole or not at all. ENOSPC: there is no room.
 * ECANCELED: told to stop. */
int sfs_keep_file(struct sfs_keep *keep, const struct sfs_tree *tree, sfs_node node,
                  const char *name, struct sfs_error *err);

/* A kept file, whole. ENOENT: there is none. */
int sfs_keep_open(const struct sfs_keep *keep, const char *name, uint64_t size, int *ret_fd,
                  struct sfs_error *err);

#endif
