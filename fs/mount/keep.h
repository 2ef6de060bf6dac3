/* Writing a file of a tree, decoded, into the store. */
#ifndef STAGEFS_KEEP_H
#define STAGEFS_KEEP_H

#include "layer/store.h"
#include "mount/counters.h"
#include <stagefs/tree.h>

struct sfs_keep {
    struct sfs_store *store;
    uint64_t limit; /* bytes that all kept files together may take */
    struct sfs_stats *stats;
    atomic_bool stop; /* set by another thread: give up soon */
};

/* Writes the file, whole or not at all; `name` is its sfs_tree_content_name(). Takes long, and
 * pauses while reads come in. Its bytes are checked as those that are served. ENOSPC: there is no
 * room. ECANCELED: told to stop. */
int sfs_keep_file(struct sfs_keep *keep, const struct sfs_tree *tree, sfs_node node,
                  const char *name, struct sfs_error *err);

/* Opens a kept file of that name and size; the caller closes *ret_fd. ENOENT: there is none. */
int sfs_keep_open(const struct sfs_keep *keep, const char *name, uint64_t size, int *ret_fd,
                  struct sfs_error *err);

#endif
