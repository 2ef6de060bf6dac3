/* What is written to a mount, kept in a directory: a kernel overlay on top, whose own directories
 * it holds beside a note of what they lie over.
 *
 *   DIR/upper, DIR/work   the overlay's
 *   DIR/stage             "stagefs-upper 1", the stage's digest and its name, a line each */
#ifndef STAGEFS_UPPER_H
#define STAGEFS_UPPER_H

#include "base/banned.h"
#include <stagefs/mount.h>

struct sfs_upper;

/* Makes `options->upper` what it has to be, or checks that it is, for this tree on the mountpoint
 * `path` (resolved), and locks it until it is closed. Waits some seconds for the process that has
 * it. EEXIST: something else is in it, or what was written over another stage. EBUSY: in use.
 * EINVAL: it is in the mountpoint, or the other way round. ENOTSUP: its file system cannot. */
int sfs_upper_open(const struct sfs_mount_options *options, const struct sfs_tree *tree,
                   const char *path, struct sfs_upper **ret_upper, struct sfs_error *err);
void sfs_upper_close(struct sfs_upper **upper);

/* What is mounted on `path` and answers gets the overlay in its place, which alone holds it from
 * then on: when that is unmounted, so is what is below. `source` is what mountinfo is to show.
 * Called by a thread with open files of its own (sfs_io_own_files()). */
int sfs_upper_mount(const struct sfs_upper *upper, const char *source, const char *path,
                    struct sfs_error *err);

#endif
