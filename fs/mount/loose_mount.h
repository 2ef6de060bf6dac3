/* Mounts that are not attached to any path. Names in one are opened by its descriptor alone, and it
 * is attached once all that comes before has worked. Linux 5.2, root of the user namespace. */
#ifndef STAGEFS_LOOSE_MOUNT_H
#define STAGEFS_LOOSE_MOUNT_H

#include "base/banned.h"
#include <stagefs/error.h>
#include <stddef.h>

/* One option of the file system. */
struct sfs_mount_parameter {
    const char *key;
    const char *value; /* NULL: the option has no value */
};

/* As the kernel has them. */
enum sfs_loose_attribute { SFS_LOOSE_NOSUID = 2, SFS_LOOSE_NODEV = 4 };
/* Makes a mount of file system `type`. `attributes` are those of sfs_loose_attribute. The caller
 * closes *ret_fd, and the mount is gone with it unless it was attached. The words of a failure are
 * the kernel's own where it gives any. EPERM, ENODEV, EINVAL and what else the file system says. */
int sfs_loose_mount(const char *type, const struct sfs_mount_parameter *parameters, size_t count,
                    unsigned attributes, int *ret_fd, struct sfs_error *err);

/* Attaches the mount to `path`. The caller still closes fd. */
int sfs_loose_mount_attach(int fd, const char *path, struct sfs_error *err);

#endif
