/* Keeping what is written to a mount in a directory, by a kernel overlay on top. The directory
 * holds the overlay's own two, and a note that says over which stage they lie.
 *
 *   DIR/upper, DIR/work   the overlay's
 *   DIR/stage             "stagefs-upper 1", the stage's digest and its name, a line each */
#ifndef STAGEFS_UPPER_H
#define STAGEFS_UPPER_H

#include "base/banned.h"
#include <stagefs/mount.h>

struct sfs_upper;

/* Prepares the directory options->upper for this tree, or checks that it was, and locks it until it
 * is closed; `path` is the resolved mountpoint. Waits some seconds if another process has it.
 * EEXIST: something else is in it, or what was written over another stage. EBUSY: in use. EINVAL:
 * it is in the mountpoint, or the other way round. ENOTSUP: its file system cannot be written by an
 * overlay. */
int sfs_upper_open(const struct sfs_mount_options *options, const struct sfs_tree *tree,
                   const char *path, struct sfs_upper **ret_upper, struct sfs_error *err);
/* Gives the lock back, frees, and sets NULL; NULL is fine. */
void sfs_upper_close(struct sfs_upper **upper);

/* Puts the overlay in the place of what is mounted on `path` and answers. From then on only the
 * overlay holds it: when that is unmounted, so is what is below. `source` is what mountinfo shows.
 * Called by a thread with open files of its own (sfs_io_own_files()). */
int sfs_upper_mount(const struct sfs_upper *upper, const char *source, const char *path,
                    struct sfs_error *err);

#endif
