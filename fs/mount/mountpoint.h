/* Places where file systems are mounted: finding out what is there, making room, taking away. */
#ifndef STAGEFS_MOUNTPOINT_H
#define STAGEFS_MOUNTPOINT_H

#include "base/banned.h"
#include <stagefs/error.h>
#include <stdbool.h>
#include <sys/types.h>

/* Absolute and without symlinks, also if a dead mount is there, or one that lets us not in. The
 * caller frees. ENOENT, EACCES, ENOTDIR, ELOOP. */
int sfs_mountpoint_resolve(const char *mountpoint, char **ret_path, struct sfs_error *err);

/* The sources that mountinfo shows of the EROFS in front of a session (front.h):
 * "/run/stagefs/oci:-data-torch:builder.PID-NS", of the stage, the process, and its pid namespace,
 * in which alone that number means anything. */
#define SFS_FRONT_DIR "/run/stagefs/"

/* What is mounted on top at exactly this resolved path. */
struct sfs_mounted {
    char type[64];    /* "fuse.stagefs", "erofs" */
    char source[256]; /* perhaps cut off */
    dev_t device;
};
/* ENOENT: nothing, and err says so. */
int sfs_mountpoint_find(const char *path, struct sfs_mounted *ret_mounted, struct sfs_error *err);
/* The mount by which this descriptor was opened. ENOENT: it is not in this mount namespace. */
int sfs_mountpoint_find_fd(int fd, struct sfs_mounted *ret_mounted, struct sfs_error *err);
/* The process that serves what is below an EROFS or overlay of stagefs; 0: it is none, or of
 * another pid namespace. */
pid_t sfs_mounted_server(const struct sfs_mounted *mounted);
unsigned long sfs_mountpoint_pid_namespace(void); /* of this process; 0: not known */
/* One of stagefs: its FUSE, or the EROFS or overlay in front of it. */
bool sfs_mounted_is_ours(const struct sfs_mounted *mounted);

/* Did the process end that served what is mounted at `path`: FUSE, anybody's, or ours? */
bool sfs_mounted_is_dead(const struct sfs_mounted *mounted, const char *path);

/* Is there fusermount3, which mounts and unmounts for who is not root? */
bool sfs_mountpoint_has_helper(void);
#define SFS_NO_HELPER "fusermount3 is not installed (package fuse3)"

/* Takes away the topmost mount: umount2() for root, fusermount3 for others. lazy: also when in
 * use. EBUSY. */
int sfs_mountpoint_detach(const char *path, bool lazy, struct sfs_error *err);

/* Resolves, clears dead mounts, and checks that something may be mounted there. The caller frees
 * *ret_path. */
int sfs_mountpoint_prepare(const char *mountpoint, char **ret_path, struct sfs_error *err);

#endif
