/* Serving a tree as a read-only FUSE file system. */
#ifndef STAGEFS_MOUNT_H
#define STAGEFS_MOUNT_H

#include <stagefs/cache.h>
#include <stagefs/tree.h>

struct sfs_mount_options {
    const char *mountpoint;
    const char *source; /* shown in /proc/mounts */
    bool allow_other;
    bool dev, suid;          /* root only */
    unsigned threads;        /* 0: chosen */
    struct sfs_cache *cache; /* for statistics; may be NULL */
    /* Called once when the mount answers (its root was stat'ed through the kernel). May be NULL. */
    void (*ready)(void *user);
    void *user;
};

/* Mounts and serves until unmounted, SIGTERM, SIGINT or SIGHUP. Installs signal handlers; one mount
 * a process. A dead mount (ENOTCONN) left by a killed process at the mountpoint is cleared first.
 * EBUSY: something is mounted there already. ENOENT, ENOTDIR, EACCES: the mountpoint. */
int sfs_mount_serve(const struct sfs_tree *tree, const struct sfs_mount_options *options,
                    struct sfs_error *err);

/* The same for several trees, each under its number: "0/", "1/", ... */
int sfs_mount_serve_layers(const struct sfs_tree *const *trees, size_t count,
                           const struct sfs_mount_options *options, struct sfs_error *err);

/* Unmounts, also a dead mount; waits until it is gone. EINVAL: nothing of FUSE is mounted there.
 * EBUSY: in use. */
int sfs_unmount(const char *mountpoint, struct sfs_error *err);

/* Splits into a child that goes on (returns 0 there, with *ret_fd to report on) and a parent, which
 * never returns: it waits for the report, copies the child's words to stderr and exits. Call before
 * any thread is started. */
int sfs_daemon_start(int *ret_fd, struct sfs_error *err);
/* In the child: lets the parent exit with `status` (0: the mount answers). Then detaches from the
 * terminal. */
void sfs_daemon_report(int fd, int status);

#endif
