/* Finds a connection's abort file, and the helper process that writes to it: see abort.h. */
#include "mount/abort.h"

#include "mount/loose_mount.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stagefs/auto.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define CONNECTIONS "/sys/fs/fuse/connections"
#define DEATH       SIGUSR2

/* Opens the directory of connections. Where nobody has mounted it, root mounts it so that nobody
 * else sees it. */
static int open_directory(struct sfs_error *err)
{
    int fd = -1;
    int r = sfs_loose_mount("fusectl", NULL, 0, 0, &fd, err);
    return r < 0 ? r : fd;
}

/* Opens the connection's abort file. It is opened before it is needed, since by then another
 * connection may have this one's number; the open file stays this one's. */
static int open_abort_file(dev_t device, int *ret_fd, struct sfs_error *err)
{
    char name[64];
    snprintf(name, sizeof name, CONNECTIONS "/%u/abort", minor(device));
    *ret_fd = open(name, O_WRONLY | O_CLOEXEC);
    if (*ret_fd >= 0)
        return 0;
    if (errno != ENOENT)
        return sfs_fail_errno(err, errno, "%s", name);
    AUTO(sfs_close_fd) int dir = open_directory(err);
    if (dir < 0)
        return dir;
    snprintf(name, sizeof name, "%u/abort", minor(device));
    *ret_fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
    return *ret_fd < 0 ? sfs_fail_errno(err, errno, "connection %s", name) : 0;
}

static void write_abort(int fd)
{
    if (write(fd, "1", 1) < 0)
        return; /* it has ended already */
}

/* Closes every file but this one: above all /dev/fuse, which would keep the connection alive. */
static bool keep_only(int fd)
{
    unsigned kept = (unsigned)fd;
    return (kept == 0 || syscall(SYS_close_range, 0u, kept - 1, 0u) == 0) &&
           syscall(SYS_close_range, kept + 1, ~0u, 0u) == 0;
}

/* What the helper runs, with all signals blocked. It was forked off a process with many threads, so
 * only plain system calls are allowed. */
static _Noreturn void wait_for_death(int fd, pid_t parent)
{
    sigset_t death;
    sigemptyset(&death);
    sigaddset(&death, DEATH);
    prctl(PR_SET_NAME, "stagefs-abort");
    if (!keep_only(fd) || prctl(PR_SET_PDEATHSIG, DEATH) < 0)
        _exit(1);
    setsid();
    if (chdir("/") < 0)
        _exit(1);
    /* Another thread of the parent may live on, stuck, so it may still be the parent. */
    while (getppid() == parent && sigwaitinfo(&death, NULL) != DEATH)
        continue;
    write_abort(fd);
    _exit(0);
}

static int start_helper(struct sfs_abort *abort, struct sfs_error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pid_t parent = getpid();
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    int code = errno;
    if (pid == 0)
        wait_for_death(abort->fd, parent);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return sfs_fail_errno(err, code, "starting a process");
    abort->helper = pid;
    return 0;
}

int sfs_abort_open(struct sfs_abort *abort, dev_t device, struct sfs_error *err)
{
    *abort = (struct sfs_abort){ .fd = -1 };
    int r = open_abort_file(device, &abort->fd, err);
    if (r == 0)
        r = start_helper(abort, err);
    if (r < 0)
        sfs_abort_close(abort);
    return r;
}

void sfs_abort_now(const struct sfs_abort *abort)
{
    if (abort->fd >= 0)
        write_abort(abort->fd);
}

void sfs_abort_close(struct sfs_abort *abort)
{
    if (abort->helper > 0 && kill(abort->helper, SIGKILL) == 0)
        while (waitpid(abort->helper, NULL, 0) < 0 && errno == EINTR)
            continue;
    sfs_close_fd(&abort->fd);
    *abort = (struct sfs_abort){ .fd = -1 };
}
