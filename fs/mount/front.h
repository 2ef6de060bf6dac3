/* The kernel's EROFS in front of a session: names, attributes and pages that were read once are the
 * kernel's own, and only bytes that it has not seen are asked for. Linux 6.12, root. */
#ifndef STAGEFS_FRONT_H
#define STAGEFS_FRONT_H

#include "mount/mountpoint.h"
#include "mount/server.h"

/* A name below SFS_FRONT_DIR for a stage that this process serves. */
#define SFS_FRONT_NAME (sizeof SFS_FRONT_DIR + 128 + 48)
/* Writes that name into `name`. */
void sfs_front_name(const struct sfs_server *server, char name[SFS_FRONT_NAME]);

/* Where the session that shows the image (sfs_flat_ops) is mounted on `path` and answers: puts
 * EROFS in its place. From then on only EROFS holds the session: when it is unmounted, the session
 * ends.
 * Waits for answers of the session, so the calling thread has open files of its own
 * (sfs_io_own_files()). ENOTSUP: this kernel cannot. EBUSY: another process mounted there at the
 * same time. */
int sfs_front_mount(struct sfs_server *server, const char *path, struct sfs_error *err);
/* The start that has a pack is over: EROFS may read more around a fault. */
void sfs_front_end_start(const struct sfs_server *server);

#endif
