/* The kernel's EROFS in front of a session: names, attributes and pages that were read once are the
 * kernel's own, and only bytes that it has not seen are asked for. Linux 6.12, root. */
#ifndef STAGEFS_FRONT_H
#define STAGEFS_FRONT_H

#include "mount/server.h"

/* Where images are called by their names while they are mounted, so that mountinfo tells whose a
 * mount is. */
#define SFS_FRONT_DIR "/run/stagefs/"

/* The session of the server's row (sfs_flat_ops) is mounted on `path` and answers. Puts EROFS in
 * its place, which alone holds it from then on: when that is unmounted, the session ends.
 * ENOTSUP: this kernel cannot. After a failure nothing is mounted there. */
int sfs_front_mount(const struct sfs_server *server, const char *path, struct sfs_error *err);

#endif
