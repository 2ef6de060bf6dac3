/* Whether the kernel's EROFS may stand in front of a mount that leaves the choice to us
 * (SFS_FRONT_AUTO): only where nobody sees more than by the plain mount, and no less. */
#ifndef STAGEFS_CHOOSE_H
#define STAGEFS_CHOOSE_H

#include "mount/erofs_image.h"
#include <stagefs/mount.h>

/* Says why the options or the process leave it to FUSE; NULL: they do not. `private`: nobody but
 * root comes to the mountpoint (sfs_mountpoint_is_private()); `numbered`: layer by layer. Looks
 * only, and mounts nothing. */
const char *sfs_choose_by_options(const struct sfs_mount_options *options, bool private,
                                  bool numbered);

/* The same of the files, of which some may have extended attributes (`xattrs`). Visits every node,
 * unless there are too many. */
const char *sfs_choose_by_files(const struct sfs_forest *forest, bool xattrs);

#endif
