/* Mounts that are attached nowhere: names in them are opened by the descriptor alone, and it can be
 * put in its place once all that goes before has worked. Linux 5.2, root of the user namespace. */
#ifndef STAGEFS_LOOSE_MOUNT_H
#define STAGEFS_LOOSE_MOUNT_H

#include "base/banned.h"
#include <stagefs/error.h>
#include <stddef.h>

struct sfs_mount_parameter {
    const char *key;
    const char *value; /* NULL: the key alone says it */
};

/* Makes a mount of file system `type`. `attributes` are those of sfs_loose_attribute. The caller
 * closes *ret_fd, and the mount is gone with it unless it was attached. The words of a failure are
 * the kernel's own where it gives any. EPERM, ENODEV, EINVAL and what else the file system says. */
enum sfs_loose_attribute { SFS_LOOSE_NOSUID = 2, SFS_LOOSE_NODEV = 4 };
int sfs_loose_mount(const char *type, const struct sfs_mount_parameter *parameters, size_t count,
                    unsigned attributes, int *ret_fd, struct sfs_error *err);

/* Puts it on `path`. The descriptor stays the caller's. */
int sfs_loose_mount_attach(int fd, const char *path, struct sfs_error *err);

#endif
