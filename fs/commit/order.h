/* The order of the entries in a layer: what a profile names comes first, so that readers who fetch
 * the layer bit by bit have at hand what a start needs. */
#ifndef STAGEFS_ORDER_H
#define STAGEFS_ORDER_H

#include "commit/changes.h"

struct sfs_profile;

struct sfs_order {
    const struct sfs_tree *tree;
    const struct sfs_profile *profile; /* empty: nothing is first */
    bool is_estargz;                   /* puts a landmark behind what is first */
};

/* Files that the profile says are read or opened, and symlinks that it says are followed, go to the
 * front in its order, each behind the directories that it is in; the rest keeps its order, and hard
 * links stay behind what they link to. What the profile names and the layer does not hold is passed
 * over. eStargz gets ".prefetch.landmark" behind the last of them, or, if there are none,
 * ".no.prefetch.landmark" in front of all. ENOTSUP: eStargz cannot hold a file of such a name. */
int sfs_changes_order(struct sfs_changes *changes, const struct sfs_order *order,
                      struct sfs_error *err);

#endif
