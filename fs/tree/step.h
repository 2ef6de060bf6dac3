/* Two trees in step: every name that either has, parents first, names in order. */
#ifndef STAGEFS_STEP_H
#define STAGEFS_STEP_H

#include "tree/nodes.h"

enum sfs_step_into { SFS_STEP_INTO_A = 1 << 0, SFS_STEP_INTO_B = 1 << 1 };

struct sfs_step {
    const struct sfs_tree *a, *b;
    bool no_paths; /* `path` is not wanted: saves making it */
    /* a or b is SFS_NO_NODE where there is none. Returns which of the two, if directories, to go
     * into (those of one name at once), or a negative number to stop with that. */
    int (*visit)(void *user, const char *path, sfs_node a, sfs_node b);
    void *user;
};

/* 0, what visit() stopped with, or -ENOMEM. */
int sfs_trees_step(const struct sfs_step *step);

#endif
