/* A stage's own layer made anew with less in it. */
#ifndef STAGEFS_PICK_H
#define STAGEFS_PICK_H

#include "layer/layer.h"
#include "tree/profile.h"
#include <stagefs/tree.h>

/* What of the changes that lead from one tree to another goes into a layer. */
struct sfs_pick {
    const struct sfs_tree *base, *tree; /* from base to tree */
    /* Does the node of `tree` that was added or changed go into the layer? NULL: each does. Names
     * that were removed always do. Where a node does not, what base has at its name stays. */
    bool (*keeps)(void *user, const char *path, sfs_node node);
    /* Bytes of a regular file that become zeros, in ascending order; NULL: none. May be NULL. */
    const struct sfs_ranges *(*zeros)(void *user, sfs_node node);
    void *user; /* handed to both */
};

/* Makes the layer; the caller closes it. It borrows pick->tree until then, and the rest during the
 * call. E2BIG: too many names. ENOMEM. */
int sfs_pick_layer(const struct sfs_pick *pick, const char *label, struct sfs_layer **ret_layer,
                   struct sfs_error *err);

#endif
