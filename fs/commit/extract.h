/* A tree as files in a directory. */
#ifndef STAGEFS_EXTRACT_H
#define STAGEFS_EXTRACT_H

#include "commit/changes.h"
#include <stagefs/progress.h>

struct sfs_extract {
    const struct sfs_tree *tree;
    const struct sfs_changes *changes; /* all of the tree: what leads to it from an empty one */
    int fd;                            /* of an empty directory that nobody else writes to */
    bool has_epoch, set_mtimes;        /* as sfs_layer_write has them */
    int64_t epoch;
    const struct sfs_progress *progress; /* may be NULL */
};

/* Never follows a symlink. Without root's rights owners are not kept, and what extended
 * attributes the file system refuses are not either: progress->warn hears of it once a kind, with a
 * count. A device is EPERM. EIO, EKEYREJECTED: a source; ENOSPC and others:
 * the directory. */
int sfs_extract(const struct sfs_extract *extract, struct sfs_error *err);

#endif
