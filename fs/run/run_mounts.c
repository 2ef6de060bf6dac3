/* Mounts all that lies below the sandbox's root, in our own mount namespace; each place is found by
 * openat2() inside the root. A runtime gets a finished root, and so neither follows a
 * symlink of the image nor makes a name in it. Only /proc and /sys, which belong to namespaces that
 * the runtime makes, are mounted by it. */
#include "run/run_parts.h"

#include "base/buf.h"
#include "base/path.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* ---- overlays ---- */

/* What is written is gone with the run, or taken over by a caller that sees to the disk itself: an
 * overlay that is not volatile has its end wait until the whole file system of `upper` is on disk.
 *
 * No device file of an image opens anything, whatever the host's control groups allow. Names of the
 * overlay's own (trusted.overlay.*) are not shown to it by the mount below (only_overlay);
 * that of the user namespace's kind would have to be asked for (userxattr). */
int sfs_run_mount_overlay(struct run *run, const char *lower, const char *upper, const char *work,
                          const char *target)
{
    unsigned long flags = MS_NODEV | (sfs_run_wants_suid(run) ? 0 : MS_NOSUID);
    AUTO(sfs_free)
    char *options = sfs_format("lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=off,metacopy=off,"
                               "index=off,volatile",
                               lower, upper, work);
    if (!options)
        return sfs_fail_memory(run->err);
    if (mount("overlay", target, "overlay", flags, options) < 0)
        return sfs_fail_errno(run->err, errno, "mounting an overlay in %s", run->space->path);
    return 0;
}

/* ---- sources: each opens what is to be mounted ---- */

static int open_in_tree(struct run *run, size_t tree, const char *source, int *ret_fd)
{
    char name[32];
    snprintf(name, sizeof name, "fuse/%zu", tree);
    AUTO(sfs_close_fd) int root = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = root < 0 ? -1 : sfs_run_open_in(root, source, O_PATH);
    if (fd < 0)
        return sfs_fail(run->err, ENOENT, "%s: not found", source);
    *ret_fd = fd;
    return 0;
}

static bool is_directory(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Makes a directory writable, for writes that are dropped at the end: *fd becomes an overlay over
 * it. */
static int make_writable(struct run *run, int *fd)
{
    char upper[40], work[40], merged[40], lower[48];
    const size_t number = run->made_count++;
    snprintf(upper, sizeof upper, "memory/upper%zu", number);
    snprintf(work, sizeof work, "memory/work%zu", number);
    snprintf(merged, sizeof merged, "memory/merged%zu", number);
    if (mkdir(upper, 0755) < 0 || mkdir(work, 0755) < 0 || mkdir(merged, 0755) < 0)
        return sfs_fail_errno(run->err, errno, "%s", upper);
    snprintf(lower, sizeof lower, "/proc/thread-self/fd/%d", *fd);
    int r = sfs_run_mount_overlay(run, lower, upper, work, merged);
    if (r < 0)
        return r;
    close(*fd);
    *fd = open(merged, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return *fd < 0 ? sfs_fail_errno(run->err, errno, "%s", merged) : 0;
}

static int open_text(struct run *run, const struct sfs_run_mount *wanted, int *ret_fd)
{
    char name[40];
    snprintf(name, sizeof name, "memory/text%zu", run->made_count++);
    AUTO(sfs_close_fd) int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : sfs_io_write_all(fd, wanted->data, wanted->size);
    if (r == 0 && (fchown(fd, wanted->uid, wanted->gid) < 0 || fchmod(fd, wanted->mode) < 0))
        r = -errno;
    if (r == 0)
        *ret_fd = open(name, O_PATH | O_CLOEXEC);
    return r < 0 || *ret_fd < 0 ? sfs_fail_errno(run->err, r < 0 ? -r : errno, "%s", name) : 0;
}

static int open_source(struct run *run, const struct sfs_run_mount *wanted, size_t tree,
                       int *ret_fd)
{
    if (wanted->kind == SFS_RUN_TEXT)
        return open_text(run, wanted, ret_fd);
    if (wanted->kind == SFS_RUN_HOST) {
        *ret_fd = open(wanted->source, O_PATH | O_CLOEXEC);
        return *ret_fd < 0 ? sfs_fail_errno(run->err, errno, "%s", wanted->source) : 0;
    }
    int r = open_in_tree(run, tree, wanted->source, ret_fd);
    return r == 0 && !wanted->read_only && is_directory(*ret_fd) ? make_writable(run, ret_fd) : r;
}

/* ---- targets ---- */

/* Refuses targets in /proc and /sys, which are the kernel's: runtimes refuse them too, or
 * should. */
static int check_target(struct run *run, const char *target, const char *path)
{
    static const char *const whole[] = { "/", "/dev" }, *const with_all[] = { "/proc", "/sys" };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (strcmp(path, whole[i]) == 0)
            return sfs_fail(run->err, ENOTSUP, "%s cannot be mounted on", target);
    for (size_t i = 0; i < sizeof with_all / sizeof *with_all; i++)
        if (strcmp(path, with_all[i]) == 0 || sfs_path_is_below(path, with_all[i]))
            return sfs_fail(run->err, ENOTSUP, "%s cannot be mounted on: it is of the system's %s",
                            target, with_all[i]);
    return 0;
}

/* Checks the place itself, too, since symlinks of the image may lead elsewhere than the text
 * says. */
static int check_place(struct run *run, const char *target, int place)
{
    char link[48], path[4096];
    snprintf(link, sizeof link, "/proc/thread-self/fd/%d", place);
    ssize_t n = readlink(link, path, sizeof path - 1);
    AUTO(sfs_free) char *root = sfs_format("%s/merged", run->space->path);
    if (!root)
        return sfs_fail_memory(run->err);
    path[n < 0 ? 0 : n] = 0;
    const size_t size = strlen(root);
    if (strncmp(path, root, size) != 0 || (path[size] && path[size] != '/'))
        return sfs_fail(run->err, ENOTSUP, "%s cannot be mounted on", target);
    struct stat st;
    if (fstat(place, &st) == 0 && S_ISCHR(st.st_mode) && sfs_path_is_below(path + size, "/dev"))
        return sfs_fail(run->err, ENOTSUP, "%s cannot be mounted on: it is a device of the sandbox",
                        target);
    return check_target(run, target, path[size] ? path + size : "/");
}

static int find_place(struct run *run, const char *target, bool is_dir, int *ret_place)
{
    AUTO(sfs_free) char *path = sfs_path_join("/", target);
    if (!path)
        return sfs_fail_memory(run->err);
    int r = check_target(run, target, path);
    if (r == 0)
        r = sfs_run_stub(run, path, is_dir, ret_place);
    if (r == 0)
        r = check_place(run, target, *ret_place);
    if (r == 0 && is_directory(*ret_place) != is_dir)
        r = sfs_fail(run->err, ENOTSUP, "%s cannot be mounted on: it is %s", target,
                     is_dir ? "no directory" : "a directory");
    return r;
}

/* ---- mounting ---- */

static int attach(struct run *run, int source, int place, uint64_t attributes, const char *target)
{
    struct mount_attr attr = { .attr_set = attributes };
    AUTO(sfs_close_fd)
    int tree = (int)syscall(SYS_open_tree, source, "",
                            OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    if (tree < 0 ||
        syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) <
            0 ||
        syscall(SYS_move_mount, tree, "", place, "",
                MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        return sfs_fail_errno(run->err, errno, "mounting on %s", target);
    return 0;
}

static int attach_memory(struct run *run, int place, const struct sfs_run_mount *wanted)
{
    char link[48], options[64] = "mode=1777";
    if (wanted->limit > 0)
        snprintf(options, sizeof options, "mode=1777,size=%llu", (unsigned long long)wanted->limit);
    snprintf(link, sizeof link, "/proc/thread-self/fd/%d", place);
    if (mount("tmpfs", link, "tmpfs", MS_NOSUID | MS_NODEV | (wanted->read_only ? MS_RDONLY : 0),
              options) < 0)
        return sfs_fail_errno(run->err, errno, "mounting on %s", wanted->target);
    return 0;
}

static int add_mount(struct run *run, const struct sfs_run_mount *wanted, size_t tree)
{
    AUTO(sfs_close_fd) int source = -1;
    AUTO(sfs_close_fd) int place = -1;
    int r = wanted->kind == SFS_RUN_TMPFS ? 0 : open_source(run, wanted, tree, &source);
    if (r == 0)
        r = find_place(run, wanted->target, source < 0 || is_directory(source), &place);
    if (r < 0)
        return r;
    if (source < 0)
        return attach_memory(run, place, wanted);
    return attach(run, source, place,
                  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                      (wanted->read_only ? MOUNT_ATTR_RDONLY : 0u),
                  wanted->target);
}

/* Fills memory/nvidia with the driver's libraries. */
static int collect_libraries(const struct sfs_nvidia *nvidia)
{
    if (mkdir("memory/nvidia", 0755) < 0)
        return -errno;
    for (size_t i = 0; i < nvidia->library_count; i++) {
        const struct sfs_nvidia_library *library = &nvidia->libraries[i];
        AUTO(sfs_free) char *path = sfs_format("memory/nvidia/%s", library->name);
        if (!path)
            return -ENOMEM;
        if (library->target && symlink(library->target, path) < 0)
            return -errno;
        if (library->target)
            continue;
        AUTO(sfs_close_fd) int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
        if (fd < 0 || mount(library->source, path, NULL, MS_BIND, NULL) < 0)
            return -errno;
    }
    return 0;
}

/* Mounts the driver's libraries and programs. */
static int add_driver(struct run *run)
{
    const struct sfs_nvidia *nvidia = run->request->nvidia;
    AUTO(sfs_close_fd) int source = -1;
    AUTO(sfs_close_fd) int place = -1;
    int r = collect_libraries(nvidia);
    if (r < 0)
        return sfs_fail_errno(run->err, -r, "collecting the driver's libraries");
    source = open("memory/nvidia", O_PATH | O_CLOEXEC);
    r = find_place(run, SFS_NVIDIA_LIBRARIES, true, &place);
    if (r == 0)
        r = attach(run, source, place, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY,
                   SFS_NVIDIA_LIBRARIES);
    for (size_t i = 0; r == 0 && i < nvidia->program_count; i++) {
        const struct sfs_run_mount program = { .kind = SFS_RUN_HOST,
                                               .target = nvidia->programs[i].target,
                                               .source = nvidia->programs[i].source,
                                               .read_only = true };
        r = add_mount(run, &program, 0);
    }
    return r;
}

/* Mounts this machine's files for looking up names of hosts. */
static int add_network_files(struct run *run)
{
    static const char hosts[] = "127.0.0.1\tlocalhost stagefs\n::1\tlocalhost stagefs\n";
    AUTO(sfs_free) char *resolv = NULL;
    size_t size = 0;
    if (sfs_io_read_file(AT_FDCWD, "/etc/resolv.conf", 1u << 20, &resolv, &size, NULL) < 0)
        size = 0;
    const struct sfs_run_mount files[] = {
        { .kind = SFS_RUN_TEXT,
          .target = "/etc/resolv.conf",
          .read_only = true,
          .data = resolv ? resolv : "",
          .size = size,
          .mode = 0644 },
        { .kind = SFS_RUN_TEXT,
          .target = "/etc/hosts",
          .read_only = true,
          .data = hosts,
          .size = sizeof hosts - 1,
          .mode = 0644 },
    };
    int r = add_mount(run, &files[0], 0);
    return r < 0 ? r : add_mount(run, &files[1], 0);
}

/* What an image has there instead of a directory, a runtime would follow, or refuse in words of its
 * own. */
static int open_system_dir(struct run *run, const char *path, int *ret_place)
{
    struct stat st;
    if (fstatat(run->root, path + 1, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
        return sfs_fail(run->err, ENOTSUP, "the image's %s is %s: nothing can be run in it", path,
                        S_ISLNK(st.st_mode) ? "a symbolic link" : "no directory");
    return sfs_run_stub(run, path, true, ret_place);
}

static int add_system(struct run *run)
{
    AUTO(sfs_close_fd) int proc = -1;
    AUTO(sfs_close_fd) int sys = -1;
    AUTO(sfs_close_fd) int dev = -1;
    int r = open_system_dir(run, "/proc", &proc);
    if (r == 0)
        r = open_system_dir(run, "/sys", &sys);
    if (r == 0)
        r = open_system_dir(run, "/dev", &dev);
    if (r == 0)
        r = sfs_run_make_dev(run);
    if (r < 0)
        return r;
    AUTO(sfs_close_fd) int source = open("memory/dev", O_PATH | O_CLOEXEC);
    return attach(run, source, dev, 0, "/dev");
}

/* Runtimes read these inside the root, and would wait for what writes to a pipe, a terminal or one
 * of their own descriptors. A symlink that leads nowhere may lead into /proc later. */
static int check_databases(struct run *run)
{
    static const char *const paths[] = { "/etc/passwd", "/etc/group" };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct stat st;
        AUTO(sfs_close_fd) int fd = sfs_run_open_in(run->root, paths[i], O_PATH);
        if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
            continue;
        AUTO(sfs_close_fd) int name = sfs_run_open_in(run->root, paths[i], O_PATH | O_NOFOLLOW);
        if (fd >= 0 || name >= 0)
            return sfs_fail(run->err, ENOTSUP,
                            "the image's %s is no regular file: nothing can be run in it",
                            paths[i]);
    }
    return 0;
}

/* As docker has it, the working directory is made if it is not there. Why it could not be, init.c
 * finds out when it goes there. */
static void add_working_directory(struct run *run)
{
    AUTO(sfs_close_fd) int place = -1;
    AUTO(sfs_free) char *path = sfs_path_join("/", run->request->cwd);
    struct sfs_error *err = run->err;
    run->err = NULL;
    if (path && check_target(run, path, path) == 0)
        sfs_run_stub(run, path, true, &place);
    run->err = err;
}

int sfs_run_mount_all(struct run *run)
{
    const struct sfs_run_request *request = run->request;
    size_t tree = 1;
    int r = add_system(run);
    if (r == 0)
        r = add_network_files(run);
    if (r == 0 && request->nvidia)
        r = add_driver(run);
    for (size_t i = 0; r == 0 && i < request->mount_count; i++) {
        const struct sfs_run_mount *wanted = &request->mounts[i];
        r = add_mount(run, wanted, tree);
        tree += wanted->kind == SFS_RUN_TREE;
    }
    if (r == 0)
        r = check_databases(run);
    if (r == 0)
        add_working_directory(run);
    return r;
}
