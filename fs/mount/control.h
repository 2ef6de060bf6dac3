/* What a mount answers to an ioctl on any of its files or directories: a channel that needs neither
 * the process's number nor a file beside the mount. */
#ifndef STAGEFS_CONTROL_H
#define STAGEFS_CONTROL_H

#include <sys/ioctl.h>

/* The size is part of the number, and the kernel lets a server write no more than that. */
struct sfs_control_text {
    char text[8192];
};
/* Statistics as one JSON document, NUL-terminated. */
#define SFS_IOCTL_STATS _IOR('S', 0x5f, struct sfs_control_text)
/* Forget what is decoded in memory. For root and the user who mounted. */
#define SFS_IOCTL_DROP _IO('S', 0x60)

#endif
