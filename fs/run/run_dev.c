/* /dev of a sandbox: nodes of its own in a file system of its own. Binding the host's would let a
 * command that is root change the mode of the host's /dev/null. */
#include "run/run_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const struct {
    const char *name;
    unsigned major, minor;
} nodes[] = {
    { "null", 1, 3 },   { "zero", 1, 5 },    { "full", 1, 7 },
    { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};

static const struct {
    const char *name, *target;
} links[] = {
    { "fd", "/proc/self/fd" },       { "stdin", "/proc/self/fd/0" },
    { "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" },
    { "ptmx", "pts/ptmx" },
};

static int make_names(int dev)
{
    static const char *const dirs[] = { "pts", "shm", "mqueue" };
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        if (mkdirat(dev, dirs[i], 0755) < 0)
            return -errno;
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        if (symlinkat(links[i].target, dev, links[i].name) < 0)
            return -errno;
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
        if (mknodat(dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) <
                0 ||
            fchmodat(dev, nodes[i].name, 0666, 0) < 0)
            return -errno;
    return 0;
}

int sfs_run_make_dev(struct run *run)
{
    static const unsigned long flags = MS_NOSUID | MS_NOEXEC;
    if (mkdir("memory/dev", 0755) < 0 ||
        mount("tmpfs", "memory/dev", "tmpfs", flags, "mode=755,size=65536k") < 0)
        return sfs_fail_errno(run->err, errno, "mounting a tmpfs for /dev");
    AUTO(sfs_close_fd) int dev = open("memory/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = dev < 0 ? -errno : make_names(dev);
    if (r == 0 &&
        (mount("devpts", "memory/dev/pts", "devpts", flags,
               "newinstance,ptmxmode=0666,mode=0620,gid=5") < 0 ||
         mount("shm", "memory/dev/shm", "tmpfs", flags | MS_NODEV, "mode=1777,size=65536k") < 0))
        r = -errno;
    return r < 0 ? sfs_fail_errno(run->err, -r, "making /dev") : 0;
}
