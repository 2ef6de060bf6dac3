/* Copies, packs and mounts with the programs that people use for it: cp, mksquashfs, mkfs.erofs,
 * mount. */
#include "backends.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

int run_program(char *const argv[])
{
    pid_t pid = fork();
    if (pid < 0)
        return 127;
    if (pid == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO); /* stdout is for our answer */
        execvp(argv[0], argv);
        _exit(127);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* As run_program(), but silent. */
static int run_silently(const char *const argv[])
{
    pid_t pid = fork();
    if (pid < 0)
        return 127;
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, STDOUT_FILENO);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int backends_open(struct backends *backends, struct sfs_error *err)
{
    const char *base = getenv("TMPDIR");
    if (asprintf(&backends->work, "%s/stagefs-bench-XXXXXX", base && *base ? base : "/tmp") < 0) {
        backends->work = NULL;
        return sfs_fail_memory(err);
    }
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
    if (asprintf(&path, "%s/%s", backends->work, label) < 0)
        return sfs_fail_memory(err);
    if (mkdir(path, 0755) < 0) {
        int r = sfs_fail_errno(err, errno, "making %s", path);
        free(path);
        return r;
    }
    backends->list[backends->count++] = (struct backend){ .label = label, .path = path };
    return 0;
}

static int copy_tree(const char *source, const char *destination, struct sfs_error *err)
{
    AUTO(sfs_free) char *from = NULL;
    if (asprintf(&from, "%s/.", source) < 0)
        return sfs_fail_memory(err);
    const char *const argv[] = { "cp", "-a", from, destination, NULL };
    int status = run_silently(argv);
    if (status != 0)
        return sfs_fail(err, EIO, "copying the files to %s: cp ended with %d", destination, status);
    return 0;
}

static int mount_image(const char *label, const char *image, const char *path,
                       struct sfs_error *err)
{
    const char *const argv[] = { "mount", "-t", label, "-o", "loop,ro", image, path, NULL };
    int status = run_silently(argv);
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
    if (asprintf(&image, "%s/%s.img", backends->work, backend->label) < 0)
        return sfs_fail_memory(err);
    const char *const squashfs[] = { "mksquashfs", source,         image,    "-comp",
                                     "zstd",       "-no-progress", "-quiet", NULL };
    const char *const erofs[] = { "mkfs.erofs", "-zlz4hc", image, source, NULL };
    bool is_squashfs = strcmp(backend->label, "squashfs") == 0;
    int status = run_silently(is_squashfs ? squashfs : erofs);
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
    for (int i = 0; i < 3 && r == 0; i++)
        if (asprintf(&names[i], "%s/overlay-%s", backends->work, parts[i]) < 0)
            r = sfs_fail_memory(err);
        else if (mkdir(names[i], 0755) < 0)
            r = sfs_fail_errno(err, errno, "making %s", names[i]);
    if (r == 0)
        r = copy_tree(source, names[0], err);
    AUTO(sfs_free) char *options = NULL;
    if (r == 0 &&
        asprintf(&options, "lowerdir=%s,upperdir=%s,workdir=%s", names[0], names[1], names[2]) < 0)
        r = sfs_fail_memory(err);
    if (r == 0 && mount("overlay", backend->path, "overlay", 0, options) < 0)
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
        return copy_tree(source, backend->path, err);
    if (strcmp(backend->label, "overlay") == 0)
        return mount_overlay(backends, backend, source, err);
    if (strcmp(backend->label, "squashfs") == 0 || strcmp(backend->label, "erofs") == 0)
        return pack_and_mount(backends, backend, source, err);
    return sfs_fail(err, EINVAL, "unknown back end '%s': dir, overlay, squashfs, erofs",
                    backend->label);
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
        run_silently(argv);
    }
    free(TAKE(backends->work));
}
