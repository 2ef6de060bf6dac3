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

/* Makes the directory that a name below memory/dev is in, and an empty file by that name. */
static int make_place(const char *path)
{
    const char *slash = strrchr(path + strlen("memory/dev/"), '/');
    AUTO(sfs_free) char *dir = slash ? strndup(path, (size_t)(slash - path)) : NULL;
    if (slash && (!dir || (mkdir(dir, 0755) < 0 && errno != EEXIST)))
        return -errno;
    AUTO(sfs_close_fd) int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : 0;
}

/* The device files of GPUs are the machine's own, which takes no right to make any. Bound read-only
 * they can be opened for writing, and their modes cannot be changed. */
static int add_gpus(struct run *run)
{
    const struct sfs_nvidia *nvidia = run->request->nvidia;
    for (size_t i = 0; nvidia && i < nvidia->device_count; i++) {
        const struct sfs_nvidia_device *device = &nvidia->devices[i];
        AUTO(sfs_free) char *path = sfs_format("memory/dev/%s", device->name);
        int r = path ? make_place(path) : -ENOMEM;
        if (r == 0 && (mount(device->source, path, NULL, MS_BIND, NULL) < 0 ||
                       mount(NULL, path, NULL,
                             MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL) < 0))
            r = -errno;
        if (r < 0)
            return sfs_fail_errno(run->err, -r, "/dev/%s", device->name);
    }
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
    return r < 0 ? sfs_fail_errno(run->err, -r, "making /dev") : add_gpus(run);
}
