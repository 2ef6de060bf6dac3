/* Unmounting, by umount2() or by fusermount3, and waiting for the server's end. */
#include "mount/mountpoint.h"

#include "base/program.h"
#include "mount/control.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stagefs/auto.h>
#include <stagefs/mount.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

/* So long the server may take to write what it has learned, or its trace. */
#define PATIENCE_MS 5000

static bool is_program(const char *dir, size_t size)
{
    char path[512];
    int written = snprintf(path, sizeof path, "%.*s/fusermount3", (int)size, dir);
    return written < (int)sizeof path && access(path, X_OK) == 0;
}

bool sfs_mountpoint_has_helper(void)
{
    const char *path = getenv("PATH");
    for (const char *dir = path; dir && *dir; dir += dir[0] == ':') {
        size_t size = strcspn(dir, ":");
        if (is_program(dir, size))
            return true;
        dir += size;
    }
    return is_program("/usr/bin", strlen("/usr/bin")); /* libfuse looks there first */
}

/* Runs fusermount3, whose words go to `out`. Returns its exit status, or -errno. */
static int run_fusermount(const char *path, bool lazy, int out)
{
    const char *argv[] = { "fusermount3", lazy ? "-uz" : "-u", "--", path, NULL };
    pid_t pid = -1;
    int r = sfs_program_start(argv, (int[]){ -1, -1, out }, &pid);
    return r < 0 ? r : sfs_program_wait(pid);
}

static int fail_busy(const char *path, struct sfs_error *err)
{
    return sfs_fail(err, EBUSY, "%s is in use (fuser -vm %s shows by whom)", path, path);
}

/* The helper looks there before it unmounts anything. */
#define MTAB "/etc/mtab"

/* The helper is the only one who may unmount for an ordinary user; what it says is all we know. */
static int detach_as_user(const char *path, bool lazy, struct sfs_error *err)
{
    AUTO(sfs_close_file) FILE *words = tmpfile();
    if (!words)
        return sfs_fail_errno(err, errno, "making a temporary file");
    int r = run_fusermount(path, lazy, fileno(words));
    if (r == 0)
        return 0;
    if (r == -ENOENT)
        return sfs_fail(err, ENOENT, "unmounting %s: " SFS_NO_HELPER, path);
    if (r < 0)
        return sfs_fail_errno(err, -r, "running fusermount3");
    rewind(words);
    char text[256] = "";
    if (!fgets(text, sizeof text, words))
        return sfs_fail(err, EIO, "fusermount3 could not unmount %s", path);
    if (strstr(text, strerror(EBUSY)) || strstr(text, "busy"))
        return fail_busy(path, err);
    text[strcspn(text, "\n")] = 0;
    if (access(MTAB, F_OK) < 0)
        return sfs_fail(err, ENOENT,
                        "%s: fusermount3 needs " MTAB ", which is not there: as root, ln -s "
                        "/proc/self/mounts " MTAB,
                        path);
    return sfs_fail(err, EACCES, "%s", text);
}

int sfs_mountpoint_detach(const char *path, bool lazy, struct sfs_error *err)
{
    if (geteuid() != 0)
        return detach_as_user(path, lazy, err);
    if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return 0;
    if (errno == EBUSY)
        return fail_busy(path, err);
    return sfs_fail_errno(err, errno, "unmounting %s", path);
}

static int fail_owner(const char *path, uid_t owner, struct sfs_error *err)
{
    if (owner == 0)
        return sfs_fail(err, EACCES, "%s was mounted by root: only root may unmount it", path);
    return sfs_fail(err, EACCES,
                    "%s was mounted by the user %u: only that user and root may unmount it", path,
                    (unsigned)owner);
}

/* ---- the server's end */

/* Asks the FUSE mount at the path, whose source does not tell it. 0: not known. */
static pid_t ask_for_server(const char *path)
{
    int pid;
    unsigned long namespace;
    AUTO(sfs_free) struct sfs_control_text *text = calloc(1, sizeof *text);
    AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
    if (!text || fd < 0 || ioctl(fd, SFS_IOCTL_SERVER, text) < 0)
        return 0;
    text->text[sizeof text->text - 1] = 0;
    if (sscanf(text->text, "%d-%lu", &pid, &namespace) != 2)
        return 0;
    return pid > 0 && namespace == sfs_control_pid_namespace() ? pid : 0;
}

/* A pidfd of the process that serves the mount; -1: it cannot be had, or is this one. It is opened
 * before the server may end, since by then another process may have the number. */
static int watch_server(const struct sfs_mounted *mounted, const char *path)
{
    pid_t server = sfs_mounted_server(mounted);
    if (server == 0)
        server = ask_for_server(path);
    return server > 0 && server != getpid() ? (int)syscall(SYS_pidfd_open, server, 0) : -1;
}

/* Waits until the process has ended, for some seconds at most. poll() passes over -1, and would
 * wait. */
static void wait_for_end(int server)
{
    struct pollfd wait = { .fd = server, .events = POLLIN };
    if (server >= 0)
        (void)poll(&wait, 1, PATIENCE_MS);
}

int sfs_unmount(const char *mountpoint, struct sfs_error *err)
{
    AUTO(sfs_free) char *path = NULL;
    int r = sfs_mountpoint_resolve(mountpoint, &path, err);
    if (r < 0)
        return r;
    struct sfs_mounted mounted;
    r = sfs_mountpoint_find(path, &mounted, err);
    if (r == -ENOENT)
        return sfs_fail(err, EINVAL, "nothing is mounted on %s", path);
    if (r < 0)
        return r;
    bool dead = sfs_mounted_is_dead(&mounted, path);
    if (!dead && !sfs_mounted_is_ours(&mounted))
        return sfs_fail(err, EINVAL, "%s is not a stagefs mount (%s, %s)", path, mounted.type,
                        mounted.source);
    if (geteuid() != 0 && mounted.owner != geteuid())
        return fail_owner(path, mounted.owner, err);
    AUTO(sfs_close_fd) int server = dead ? -1 : watch_server(&mounted, path);
    /* Nobody can use what is dead, but many may still have it open. */
    r = sfs_mountpoint_detach(path, dead, err);
    if (r == 0)
        wait_for_end(server);
    return r;
}
