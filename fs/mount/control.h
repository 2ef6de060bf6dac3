/* What a running mount can be asked by others: an ioctl on any of its files or directories, which
 * needs neither the process's number nor a file beside the mount; and where the kernel's EROFS is
 * in front, which hands on no ioctl, a socket that is found by the number of the process. */
#ifndef STAGEFS_CONTROL_H
#define STAGEFS_CONTROL_H

#include "base/banned.h"
#include <stagefs/error.h>
#include <sys/ioctl.h>
#include <sys/types.h>

/* The size is part of the number, and the kernel lets a server write no more than that. */
struct sfs_control_text {
    char text[8192];
};
/* Statistics as one JSON document, NUL-terminated. */
#define SFS_IOCTL_STATS _IOR('S', 0x5f, struct sfs_control_text)
/* Forget what is decoded in memory. For root and the user who mounted. */
#define SFS_IOCTL_DROP _IO('S', 0x60)

struct sfs_server;
struct sfs_control;

/* What `user` gets for a command: 0, with *text filled for those that have one, or -errno. ENOTTY.
 */
int sfs_control_answer(struct sfs_server *server, uid_t user, unsigned long command,
                       struct sfs_control_text *text);

/* Answers the same on a socket, in a thread of its own, until it is closed. Borrows the server. */
int sfs_control_open(struct sfs_server *server, struct sfs_control **ret_control,
                     struct sfs_error *err);
void sfs_control_close(struct sfs_control **control);

/* What an ioctl would answer, from the process that serves; `text` may be NULL for commands that
 * have none. ECONNREFUSED: it has no socket here. EPERM. */
int sfs_control_ask(pid_t server, unsigned long command, struct sfs_control_text *text);

#endif
