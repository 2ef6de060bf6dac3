/* Making the pack for the next start while a mount serves this one: when it has been quiet for a
 * while, behind everything that somebody waits for. */
#ifndef STAGEFS_PACKER_H
#define STAGEFS_PACKER_H

#include "mount/counters.h"
#include "layer/store.h"
#include "mount/pack.h"
#include "tree/profile.h"
#include <stagefs/tree.h>

struct sfs_packer;
struct sfs_packer_options {
    const struct sfs_tree *tree;
    struct sfs_store *store;
    const char *key;                   /* sfs_pack_key() */
    const struct sfs_profile *profile; /* what goes into it; NULL: none is made */
    struct sfs_pack *before;           /* as sfs_pack_making has these two */
    sfs_ino first;
    void (*end_start)(void *session); /* called once, when it is quiet or has lasted for 2 minutes;
                                       * may be NULL */
    void *session;
    uint64_t limit;                             /* as sfs_pack_making has it */
    struct sfs_stats *stats;                    /* tells whether it is quiet, and what was made */
    void (*warn)(void *user, const char *text); /* why none was made; may be NULL */
    void *user;
};

/* Starts the thread, which waits until it is quiet, makes one pack and ends. Borrows what is in the
 * options. The caller closes *ret_packer. */
int sfs_packer_open(const struct sfs_packer_options *options, struct sfs_packer **ret_packer,
                    struct sfs_error *err);
/* Gives up what is not ready, waits for the thread, frees, and sets NULL; NULL is fine. */
void sfs_packer_close(struct sfs_packer **packer);

#endif
