/* Making the pack of a start (pack.h) out of a profile. */
#ifndef STAGEFS_PACK_MAKE_H
#define STAGEFS_PACK_MAKE_H

#include "layer/store.h"
#include "mount/pack.h"
#include "tree/profile.h"
#include <stagefs/tree.h>

struct sfs_pack_making {
    struct sfs_store *store;
    const char *key; /* sfs_pack_key() */
    uint64_t limit;  /* bytes that all packs together may take; 0, and more than 4 GiB: 4 GiB */
    /* The pack that this one is to replace, opened for the same tree: what it has is taken from it,
     * checked, and not decoded again. NULL: there is none. */
    struct sfs_pack *before;
    sfs_ino first; /* the inode of the tree's root, as the pack before has them */
    /* Asked before each piece; may wait until there is nothing better to do. False: give up. NULL:
     * go on. */
    bool (*go_on)(void *user);
    void *user;
};

struct sfs_pack_made {
    uint64_t size; /* bytes of the pack */
    uint32_t files, pieces;
};

/* Decodes what the profile says of the tree into a pack, which appears whole or not at all. Its
 * bytes are checked as those that are served. Files whose bytes no blob vouches for are left out.
 * ENOSPC: there is no room. ECANCELED: go_on() said so. ENODATA: nothing would be in it. Anything
 * else may come from reading the layers or from the cache directory. */
int sfs_pack_make(const struct sfs_tree *tree, const struct sfs_profile *profile,
                  const struct sfs_pack_making *making, struct sfs_pack_made *ret_made,
                  struct sfs_error *err);

/* Adds what profiles say, in files of these paths, to `profile`, and gives a digest of it for
 * sfs_pack_key(). EBADMSG: not a profile. */
int sfs_pack_read_profiles(const char *const *paths, size_t count, struct sfs_profile *profile,
                           struct sfs_digest *ret_digest, struct sfs_error *err);

#endif
