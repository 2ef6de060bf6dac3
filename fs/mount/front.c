/* Mounting EROFS over a session's image, and setting its read-ahead. */
#include "mount/front.h"

#include "base/io.h"
#include "mount/control.h"
#include "mount/mountpoint.h"
#include <stagefs/format.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>

#define LONGEST_NAME 128

void sfs_front_name(const struct sfs_server *server, char name[SFS_FRONT_NAME])
{
    const char *source = server->options->source ? server->options->source : "stagefs";
    snprintf(name, SFS_FRONT_NAME, SFS_FRONT_DIR "%.*s.%ld-%lu", LONGEST_NAME, source,
             (long)getpid(), sfs_control_pid_namespace());
    for (char *at = name + strlen(SFS_FRONT_DIR); *at; at++)
        if (*at == '/')
            *at = '-';
}

/* Opens this session's image, and not one of another session mounted over it
 * meanwhile. */
static int open_file(const char *path, const char *name, struct sfs_error *err)
{
    AUTO(sfs_free) char *file = NULL;
    file = sfs_format("%s/%s", path, name);
    if (!file)
        return sfs_fail_memory(err);
    struct stat st;
    AUTO(sfs_close_fd) int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_mtim.tv_sec != getpid())
        return sfs_fail(err, EBUSY, "something else was mounted on %s at the same time", path);
    return TAKE_FD(fd);
}

static int explain(int code, const char *path, struct sfs_error *err)
{
    if (code == ENODEV)
        return sfs_fail(err, ENOTSUP, "--erofs: this kernel has no EROFS (modprobe erofs)");
    if (code == ENOTBLK)
        return sfs_fail(err, ENOTSUP,
                        "--erofs: this kernel's EROFS mounts no files (Linux 6.12, "
                        "CONFIG_EROFS_FS_BACKED_BY_FILE)");
    return sfs_fail_errno(err, code, "mounting EROFS on %s", path);
}

/* --- its read-ahead --------------------------------------------------------------------------- */

/* Around a page that a profile did not bring, little else is wanted either. */
#define PROFILE_READ_AHEAD_KB 16u
/* The same while a start goes on that has a pack, which holds what is touched and no more. */
#define START_READ_AHEAD_KB 4u

/* The number of the newest EROFS in the kernel's list of read-aheads, whose names have a counter
 * and not the mount: "erofs-7". -1: there is none. */
static long newest_bdi(void)
{
    long newest = -1;
    DIR *dir = opendir("/sys/class/bdi");
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (strncmp(entry->d_name, "erofs-", 6) == 0) {
            long number = strtol(entry->d_name + 6, NULL, 10);
            newest = number > newest ? number : newest;
        }
    if (dir)
        closedir(dir);
    return newest;
}

static void set_bdi(long bdi, unsigned kb)
{
    char path[64], value[24];
    snprintf(path, sizeof path, "/sys/class/bdi/erofs-%ld/read_ahead_kb", bdi);
    int size = snprintf(value, sizeof value, "%u\n", kb);
    AUTO(sfs_close_fd) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, value, (size_t)size) < 0)
        return; /* the mount is slower, and nothing else */
}

/* --- names ------------------------------------------------------------------------------------ */

/* A name is there while the kernel mounts it. Those of processes that were killed meanwhile stay,
 * and their numbers will be others' one day. */
static void drop_names_of_the_dead(void)
{
    DIR *dir = opendir(SFS_FRONT_DIR);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        struct sfs_mounted named = { .type = "erofs" };
        snprintf(named.source, sizeof named.source, SFS_FRONT_DIR "%.*s", (int)SFS_FRONT_NAME,
                 entry->d_name);
        pid_t server = sfs_mounted_server(&named);
        if (server > 0 && kill(server, 0) < 0 && errno == ESRCH)
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir)
        closedir(dir);
}

/* --- mounting --------------------------------------------------------------------------------- */

void sfs_front_end_start(const struct sfs_server *server)
{
    if (server->pack)
        sfs_pack_leave(server->pack);
    if (server->front_bdi > 0)
        set_bdi(server->front_bdi, PROFILE_READ_AHEAD_KB);
}

/* Mounts the image that `name` leads to, with the pack as its second device, if the image names
 * one. Returns an error number. */
static int mount_image(const struct sfs_server *server, const char *name, const char *path,
                       unsigned long flags)
{
    char device[64];
    bool has_device = server->names.patch_count > 0;
    if (has_device) /* (The process's files: this thread has others.) */
        snprintf(device, sizeof device, "device=/proc/self/fd/%d", sfs_pack_file(server->pack));
    return mount(name, path, "erofs", flags, has_device ? device : NULL) == 0 ? 0 : errno;
}

static int mount_erofs(struct sfs_server *server, int image, const char *path,
                       struct sfs_error *err)
{
    char name[SFS_FRONT_NAME], target[64];
    unsigned long flags =
        MS_RDONLY | (server->options->dev ? 0 : MS_NODEV) | (server->options->suid ? 0 : MS_NOSUID);
    sfs_front_name(server, name);
    snprintf(target, sizeof target, "/proc/thread-self/fd/%d", image);
    int r = sfs_io_make_dirs(SFS_FRONT_DIR, err);
    if (r < 0)
        return r;
    drop_names_of_the_dead();
    unlink(name); /* of one that had this process's number */
    if (symlink(target, name) < 0)
        return sfs_fail_errno(err, errno, "%s", name);
    long before = newest_bdi();
    int code = mount_image(server, name, path, flags);
    unlink(name);
    long bdi = newest_bdi();
    if (code == 0 && server->replay && bdi > before)
        set_bdi(bdi, server->pack ? START_READ_AHEAD_KB : PROFILE_READ_AHEAD_KB);
    server->front_bdi = code == 0 && bdi > before ? bdi : 0;
    return code == 0 ? 0 : explain(code, path, err);
}

int sfs_front_mount(struct sfs_server *server, const char *path, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int image = open_file(path, SFS_IMAGE_FILE, err);
    if (image < 0)
        return image;
    /* From here on the open file is what keeps the session. */
    if (umount2(path, MNT_DETACH) < 0)
        return sfs_fail_errno(err, errno, "unmounting %s", path);
    return mount_erofs(server, image, path, err);
}
