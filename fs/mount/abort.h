/* The end of a FUSE connection, whatever its process is doing.
 *
 * A thread that stores pages ahead waits, and cannot be killed meanwhile, for a page that a reader
 * holds; the reader waits for an answer of the same process. When SIGKILL ends the threads that
 * answer, neither gets on: the process never ends, /dev/fuse stays open, and so the kernel never
 * tells the readers that nobody is there any more. The kernel tells them at once if the connection
 * is aborted, so a helper, a process of a few pages that waits for nothing else, does that. */
#ifndef STAGEFS_ABORT_H
#define STAGEFS_ABORT_H

#include "base/banned.h"
#include <stagefs/error.h>
#include <sys/types.h>

struct sfs_abort {
    int fd;       /* the connection's abort file; -1: there is none */
    pid_t helper; /* the helper's process; 0: none */
};

/* Opens the abort file of the connection that is mounted with this device number, and starts the
 * helper, which acts when the calling thread ends without sfs_abort_close(). So that thread must
 * live as long as the mount. ENOENT, EACCES: this system does not allow it; the mount works
 * without, and *abort need not be closed. */
int sfs_abort_open(struct sfs_abort *abort, dev_t device, struct sfs_error *err);

/* Ends the connection: every request that waits fails, and every later one. */
void sfs_abort_now(const struct sfs_abort *abort);

/* Ends the helper without an abort, and closes the file. Only the thread that opened it may
 * call. */
void sfs_abort_close(struct sfs_abort *abort);

#endif
