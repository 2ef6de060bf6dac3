/* Writing a tree as files in a directory. */
#ifndef STAGEFS_EXTRACT_H
#define STAGEFS_EXTRACT_H

#include "commit/changes.h"
#include <stagefs/progress.h>

struct sfs_extract {
    const struct sfs_tree *tree;
    const struct sfs_changes *changes; /* all of the tree: what leads to it from an empty one */
    int fd;                            /* an empty directory that nobody else writes to; borrowed */
    bool has_epoch, set_mtimes;        /* as in struct sfs_layer_write */
    int64_t epoch;                     /* seconds */
    const struct sfs_progress *progress; /* may be NULL */
};

/* Writes all files, and waits for it; never follows a symlink. Without root's rights owners are not
 * kept, and neither are extended attributes that the file system refuses: progress->warn is told
 * once for each kind, with a count. EPERM: a device file, without root's rights. EIO, EKEYREJECTED:
 * a source. ENOSPC and others: the directory. */
int sfs_extract(const struct sfs_extract *extract, struct sfs_error *err);

#endif
