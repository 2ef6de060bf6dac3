/* How other processes ask a running mount: by an ioctl on any of its files or directories, which
 * needs neither the number of the process nor a file beside the mount. Where the kernel's EROFS is
 * in front, which hands on no ioctl, by a socket that is found by the number of the process. */
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
/* The number of the process that serves, and of its pid namespace: "1234-4026531836". For the
 * same. */
#define SFS_IOCTL_SERVER _IOR('S', 0x61, struct sfs_control_text)

/* The number of this process's pid namespace; 0: not known. */
unsigned long sfs_control_pid_namespace(void);

struct sfs_server;
struct sfs_control;

/* Answers a command of `user`: 0, with *text filled if the command has an answer, or -errno. EPERM:
 * it is not allowed to this user. ENOTTY: no such command. */
int sfs_control_answer(struct sfs_server *server, uid_t user, unsigned long command,
                       struct sfs_control_text *text);

/* Starts a thread that answers the same on a socket, until it is closed. Borrows the server. */
int sfs_control_open(struct sfs_server *server, struct sfs_control **ret_control,
                     struct sfs_error *err);
/* Ends the thread, waits for it, frees, and sets NULL; NULL is fine. */
void sfs_control_close(struct sfs_control **control);

/* Asks the process that serves, over its socket; `text` may be NULL for commands without an answer.
 * Waits some seconds at most. ECONNREFUSED: it has no socket here. EPERM. */
int sfs_control_ask(pid_t server, unsigned long command, struct sfs_control_text *text);

#endif
