/* Copies, packs and mounts with the programs that people use for it: cp, mksquashfs, mkfs.erofs,
 * mount. */
#include "backends.h"
#include "ending.h"
#include "tool.h"

#include <stagefs/format.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A program with nothing to say on stdout, which is for our answer. `messages`: a file for what it
 * says on stderr, in English; NULL: it says it to people. Negative: it could not be started. */
static pid_t start_program(const char *const argv[], const char *messages)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log = messages ? open(messages, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    dup2(null, STDOUT_FILENO);
    if (log >= 0 && dup2(log, STDERR_FILENO) >= 0)
        setenv("LC_ALL", "C", 1);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* Its exit status; 127: it could not be run. */
static int run_program(const char *const argv[], const char *messages)
{
    pid_t pid = start_program(argv, messages);
    return pid < 0 ? 127 : ending_wait(pid);
}

int backends_open(struct backends *backends, struct sfs_error *err)
{
    const char *base = getenv("TMPDIR");
    backends->work = sfs_format("%s/stagefs-bench-XXXXXX", base && *base ? base : "/tmp");
    if (!backends->work)
        return sfs_fail_memory(err);
    if (!mkdtemp(backends->work)) {
        int code = errno;
        int r = sfs_fail_errno(err, code, "making %s", backends->work);
        free(TAKE(backends->work));
        return r;
    }
    return 0;
}

int backends_add(struct backends *backends, const char *label, struct sfs_error *err)
{
    if (backends->count == MAX_BACKENDS)
        return sfs_fail(err, EINVAL, "more than %d back ends", MAX_BACKENDS);
    char *path;
    path = sfs_format("%s/%s", backends->work, label);
    if (!path)
        return sfs_fail_memory(err);
    if (mkdir(path, 0755) < 0) {
        int r = sfs_fail_errno(err, errno, "making %s", path);
        free(path);
        return r;
    }
    backends->list[backends->count++] = (struct backend){ .label = label, .path = path };
    return 0;
}

/* Does each line tell of a file that only root may read, or make? Counts them. */
static bool only_refused(const char *messages, unsigned *ret_count, char *line, size_t size)
{
    AUTO(sfs_close_file) FILE *file = fopen(messages, "re");
    *ret_count = 0;
    line[0] = 0;
    while (file && fgets(line, (int)size, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strstr(line, "Permission denied") && !strstr(line, "Operation not permitted"))
            return false;
        ++*ret_count;
    }
    return *ret_count > 0;
}

/* An ordinary user's copy has only the files that this user may read. */
static int copy_tree(struct backends *backends, const char *source, const char *destination,
                     struct sfs_error *err)
{
    AUTO(sfs_free) char *from = NULL;
    AUTO(sfs_free) char *messages = NULL;
    from = sfs_format("%s/.", source);
    if (!from)
        return sfs_fail_memory(err);
    messages = sfs_format("%s/messages", backends->work);
    if (!messages)
        return sfs_fail_memory(err);
    const char *const argv[] = { "cp", "-a", from, destination, NULL };
    int status = run_program(argv, messages);
    unsigned count;
    char line[512];
    if (status == 0)
        return 0;
    if (status == 1 && only_refused(messages, &count, line, sizeof line) && geteuid() != 0) {
        backends->left_out = count;
        return 0;
    }
    return sfs_fail(err, EIO, "copying the files to %s: cp ended with %d%s%s", destination, status,
                    line[0] ? ": " : "", line);
}

/* The directories above `path`, a file below directory `root`. */
static int make_parents(int root, const char *path, struct sfs_error *err)
{
    AUTO(sfs_free) char *dir = strdup(path);
    if (!dir)
        return sfs_fail_memory(err);
    for (char *slash = dir; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        if (mkdirat(root, dir, 0755) < 0 && errno != EEXIST)
            return sfs_fail_errno(err, errno, "making %s for the copy", dir);
        *slash = '/';
    }
    return 0;
}

static int copy_bytes(int from, int to, const char *path, struct sfs_error *err)
{
    for (ssize_t n = 1; n != 0 && !ending_signal();) {
        n = sendfile(to, from, NULL, 16 << 20);
        if (n < 0 && errno != EINTR)
            return sfs_fail_errno(err, errno, "copying %s", path);
    }
    return ending_signal() ? sfs_fail(err, EINTR, "copying %s was ended", path) : 0;
}

static int copy_file(struct backends *backends, int source, int destination, const char *path,
                     struct sfs_error *err)
{
    AUTO(sfs_close_fd) int from = openat(source, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (from < 0 && errno == EACCES && geteuid() != 0) {
        backends->left_out++;
        return 0;
    }
    if (from < 0)
        return sfs_fail_errno(err, errno, "copying %s", path);
    int r = make_parents(destination, path, err);
    if (r < 0)
        return r;
    AUTO(sfs_close_fd)
    int to = openat(destination, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (to < 0)
        return sfs_fail_errno(err, errno, "copying %s", path);
    return copy_bytes(from, to, path, err);
}

int backends_copy_files(struct backends *backends, const char *source, const char *destination,
                        const char *paths, size_t size, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int from = open(source, O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO(sfs_close_fd) int to = open(destination, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from < 0 || to < 0)
        return sfs_fail_errno(err, errno, "%s", from < 0 ? source : destination);
    int r = 0;
    for (size_t at = 0; r == 0 && at < size; at += strlen(paths + at) + 1)
        r = copy_file(backends, from, to, paths + at, err);
    return r;
}

static int mount_image(const char *label, const char *image, const char *path,
                       struct sfs_error *err)
{
    const char *const argv[] = { "mount", "-t", label, "-o", "loop,ro,nosuid,nodev",
                                 image,   path, NULL };
    int status = run_program(argv, NULL);
    if (status != 0)
        return sfs_fail(
            err, ENOTSUP,
            "mounting a %s image: mount ended with %d (it takes root and the kernel's %s)", label,
            status, label);
    return 0;
}

/* zstd for squashfs as image builders use it; lz4hc for erofs, its fastest to read. */
static int pack_and_mount(struct backends *backends, struct backend *backend, const char *source,
                          struct sfs_error *err)
{
    AUTO(sfs_free) char *image = NULL;
    image = sfs_format("%s/%s.img", backends->work, backend->label);
    if (!image)
        return sfs_fail_memory(err);
    const char *const squashfs[] = { "mksquashfs", source,         image,    "-comp",
                                     "zstd",       "-no-progress", "-quiet", NULL };
    const char *const erofs[] = { "mkfs.erofs", "-zlz4hc", image, source, NULL };
    bool is_squashfs = strcmp(backend->label, "squashfs") == 0;
    int status = run_program(is_squashfs ? squashfs : erofs, NULL);
    if (status == 127)
        return sfs_fail(err, ENOTSUP, "%s is not installed",
                        is_squashfs ? "mksquashfs" : "mkfs.erofs");
    if (status != 0)
        return sfs_fail(err, ENOTSUP, "%s ended with %d", is_squashfs ? "mksquashfs" : "mkfs.erofs",
                        status);
    int r = mount_image(backend->label, image, backend->path, err);
    backend->mounted = r == 0;
    return r;
}

/* The kernel's overlayfs as container engines use it: the files below, an empty layer on top. */
static int mount_overlay(struct backends *backends, struct backend *backend, const char *source,
                         struct sfs_error *err)
{
    char *names[] = { NULL, NULL, NULL };
    static const char *const parts[] = { "lower", "upper", "work" };
    int r = 0;
    for (int i = 0; i < 3 && r == 0; i++) {
        names[i] = sfs_format("%s/overlay-%s", backends->work, parts[i]);
        if (!names[i])
            r = sfs_fail_memory(err);
        else if (mkdir(names[i], 0755) < 0)
            r = sfs_fail_errno(err, errno, "making %s", names[i]);
    }
    if (r == 0)
        r = copy_tree(backends, source, names[0], err);
    AUTO(sfs_free) char *options = NULL;
    if (r == 0 &&
        !(options = sfs_format("lowerdir=%s,upperdir=%s,workdir=%s", names[0], names[1], names[2])))
        r = sfs_fail_memory(err);
    if (r == 0 && mount("overlay", backend->path, "overlay", MS_NOSUID | MS_NODEV, options) < 0)
        r = sfs_fail(err, ENOTSUP, "mounting an overlay: %s (it takes root)", strerror(errno));
    backend->mounted = r == 0;
    for (int i = 0; i < 3; i++)
        free(names[i]);
    return r;
}

int backends_fill(struct backends *backends, const char *source, struct sfs_error *err)
{
    struct backend *backend = &backends->list[backends->count - 1];
    if (strcmp(backend->label, "dir") == 0)
        return copy_tree(backends, source, backend->path, err);
    if (strcmp(backend->label, "overlay") == 0)
        return mount_overlay(backends, backend, source, err);
    if (strcmp(backend->label, "squashfs") == 0 || strcmp(backend->label, "erofs") == 0)
        return pack_and_mount(backends, backend, source, err);
    return sfs_fail(err, EINVAL, "unknown back end '%s': dir, overlay, squashfs, erofs",
                    backend->label);
}

/* To its end, whatever signal made us end. */
static void remove_all(const char *const argv[])
{
    void (*before)(int) = signal(SIGINT, SIG_IGN);
    pid_t pid = start_program(argv, NULL);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    signal(SIGINT, before);
}

void backends_close(struct backends *backends)
{
    for (size_t i = backends->count; i-- > 0;) {
        if (backends->list[i].mounted && umount2(backends->list[i].path, 0) < 0)
            umount2(backends->list[i].path, MNT_DETACH);
        free(backends->list[i].path);
    }
    backends->count = 0;
    if (backends->work) {
        /* --one-file-system: never into something that is still mounted there. */
        const char *const argv[] = { "rm", "-rf", "--one-file-system", backends->work, NULL };
        remove_all(argv);
    }
    free(TAKE(backends->work));
}
