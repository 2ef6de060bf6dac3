/* Walking two trees together: every name that either of them has, parents first, names in order. */
#ifndef STAGEFS_STEP_H
#define STAGEFS_STEP_H

#include "tree/nodes.h"

enum sfs_step_into { SFS_STEP_INTO_A = 1 << 0, SFS_STEP_INTO_B = 1 << 1 };

struct sfs_step {
    const struct sfs_tree *a, *b;
    bool no_paths; /* visit gets no paths: saves making them */
    /* Called for each name; a or b is SFS_NO_NODE where that tree has none. Returns into which of
     * the two, if they are directories, to go (enum sfs_step_into; into both at once), or a
     * negative number to stop with that. */
    int (*visit)(void *user, const char *path, sfs_node a, sfs_node b);
    void *user;
};

/* Walks the trees. 0, what visit() stopped with, or -ENOMEM. */
int sfs_trees_step(const struct sfs_step *step);

#endif
