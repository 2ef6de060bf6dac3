/* Places where file systems are mounted: what is mounted there, and unmounting it. */
#ifndef STAGEFS_MOUNTPOINT_H
#define STAGEFS_MOUNTPOINT_H

#include "base/banned.h"
#include <stagefs/error.h>
#include <stdbool.h>
#include <sys/types.h>

/* Makes a path absolute and free of symlinks, also where a dead mount is there, or one that we may
 * not enter. The caller frees *ret_path. ENOENT, EACCES, ENOTDIR, ELOOP. */
int sfs_mountpoint_resolve(const char *mountpoint, char **ret_path, struct sfs_error *err);

/* What mountinfo shows as the source of the EROFS in front of a session (front.h) begins so:
 * "/run/stagefs/oci:-data-torch:builder.PID-NS", made of the stage, the process, and its pid
 * namespace, in which alone that number means anything. */
#define SFS_FRONT_DIR "/run/stagefs/"

/* What is mounted on top at exactly this resolved path. */
struct sfs_mounted {
    char type[64];    /* "fuse.stagefs", "erofs" */
    char source[256]; /* cut off if it is longer */
    dev_t device;
    uid_t owner; /* who mounted it: user_id= of a FUSE; else 0 */
};
/* Finds it. ENOENT: nothing is mounted there, and err says so. */
int sfs_mountpoint_find(const char *path, struct sfs_mounted *ret_mounted, struct sfs_error *err);
/* Finds the mount by which fd was opened. ENOENT: it is not in this mount namespace. */
int sfs_mountpoint_find_fd(int fd, struct sfs_mounted *ret_mounted, struct sfs_error *err);
/* The process that serves what is below an EROFS or overlay of stagefs; 0: it is none, or of
 * another pid namespace. */
pid_t sfs_mounted_server(const struct sfs_mounted *mounted);
/* Is it a mount of stagefs: its FUSE, or the EROFS or overlay in front of that? */
bool sfs_mounted_is_ours(const struct sfs_mounted *mounted);

/* Has the process ended that served what is mounted at `path`, be it any FUSE, or a front of
 * ours? */
bool sfs_mounted_is_dead(const struct sfs_mounted *mounted, const char *path);

/* Is there fusermount3, which mounts and unmounts for ordinary users? */
bool sfs_mountpoint_has_helper(void);
#define SFS_NO_HELPER "fusermount3 is not installed (package fuse3)"

/* Unmounts the topmost mount at `path`: by umount2() for root, by fusermount3 for others. lazy:
 * also when it is in use. EBUSY: in use. */
int sfs_mountpoint_detach(const char *path, bool lazy, struct sfs_error *err);

/* Can only root come to this real path, because of a directory above it? */
bool sfs_mountpoint_is_private(const char *path);

/* Resolves the path, unmounts dead mounts there, and checks that something may be mounted. The
 * caller frees *ret_path. EBUSY: something is mounted there. Else as sfs_mountpoint_resolve(). */
int sfs_mountpoint_prepare(const char *mountpoint, char **ret_path, struct sfs_error *err);

#endif
