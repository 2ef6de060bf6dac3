/* One libfuse session from mount to unmount. */
#ifndef STAGEFS_SESSION_H
#define STAGEFS_SESSION_H

#include "mount/server.h"

/* Mounts on `path` (as of sfs_mountpoint_prepare()), and answers until it is unmounted or the
 * process is told to end; then nothing of ours is mounted there any more. */
int sfs_session_run(struct sfs_server *server, const char *path, struct sfs_error *err);

#endif
