/* The mounts that make a directory a command's root. */
#include "root.h"

#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DRIVER_DIR "/tmp/.driver"

struct root_command {
    const struct bench_dir *dir;
    bool no_root;
    const struct bench_options *options;
};

static int write_file(const char *path, const char *text)
{
    AUTO(sfs_close_fd) int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 || write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

/* Root has what it takes; others get a user namespace in which they are root. */
static int enter_namespaces(struct bench_reason *reason)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    char map[64];
    if (unshare(CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0)) < 0)
        return bench_fail(reason, "a mount namespace: %s", strerror(errno));
    if (uid) {
        write_file("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "0 %u 1", uid);
        if (write_file("/proc/self/uid_map", map) < 0)
            return bench_fail(reason, "a user namespace: %s", strerror(errno));
        snprintf(map, sizeof map, "0 %u 1", gid);
        write_file("/proc/self/gid_map", map);
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return bench_fail(reason, "a mount namespace: %s", strerror(errno));
    return 0;
}

static void bind_one(const char *from, const char *to)
{
    int fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0)
        close(fd);
    mount(from, to, NULL, MS_BIND, NULL);
}

/* libcuda.so.1 belongs to the kernel's module, so no image has it; container runtimes mount it
 * just so. */
static void bind_driver(const char *root)
{
    static const char *const patterns[] = { "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
                                            "/usr/lib/x86_64-linux-gnu/libnvidia-*.so.*",
                                            "/usr/lib/x86_64-linux-gnu/libcudadebugger.so.*",
                                            "/usr/lib64/libcuda.so.1",
                                            "/usr/lib64/libnvidia-*.so.*",
                                            "/usr/local/nvidia/lib64/lib*.so.*" };
    glob_t found = { 0 };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        glob(patterns[i], i ? GLOB_APPEND : 0, NULL, &found);
    char path[4096];
    snprintf(path, sizeof path, "%s" DRIVER_DIR, root);
    if (found.gl_pathc)
        mkdir(path, 0755);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        snprintf(path, sizeof path, "%s" DRIVER_DIR "/%s", root,
                 strrchr(found.gl_pathv[i], '/') + 1);
        bind_one(found.gl_pathv[i], path);
    }
    globfree(&found);
}

/* What a command leaves in one directory (Python its bytecode) would make its next runs faster
 * there than on a mount that cannot keep it. Where this may not be done it is writable, as it was.
 * The flags that it has stay: they may be locked. */
static void make_read_only(const char *root)
{
    struct statvfs fs;
    if (statvfs(root, &fs) < 0 || mount(root, root, NULL, MS_BIND | MS_REC, NULL) < 0)
        return;
    unsigned long kept = fs.f_flag & (ST_NOSUID | ST_NODEV | ST_NOEXEC);
    mount(NULL, root, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | kept, NULL);
}

/* A root without these directories does without them: its command will say so if it minds. */
static void mount_inside(const char *root)
{
    static const char *const kernels[] = { "/proc", "/dev", "/sys" };
    char path[4096];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", root, kernels[i]);
        mount(kernels[i], path, NULL, MS_BIND | MS_REC, NULL);
    }
    snprintf(path, sizeof path, "%s/tmp", root);
    if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") == 0)
        bind_driver(root);
}

static int become_user(const struct bench_options *options, struct bench_reason *reason)
{
    const unsigned *ids = options->user.ids;
    if (options->user.count == 0)
        return 0;
    if (setgroups(options->user.count - 2, ids + 2) < 0 || setgid(ids[1]) < 0 || setuid(ids[0]) < 0)
        return bench_fail(reason, "user %u, group %u: %s", ids[0], ids[1], strerror(errno));
    return 0;
}

static int enter(const void *user, struct bench_reason *reason)
{
    const struct root_command *command = user;
    const char *root = command->dir->path;
    if (command->no_root)
        return chdir(root) < 0 ? bench_fail(reason, "%s: %s", root, strerror(errno)) : 0;
    if (enter_namespaces(reason) < 0)
        return -1;
    make_read_only(root);
    mount_inside(root);
    if (chroot(root) < 0 || chdir("/") < 0)
        return bench_fail(reason, "chroot to %s: %s", root, strerror(errno));
    /* One that is not there is an empty directory to a container, which the root is as well to most
     * commands; it cannot be made where nothing is written. */
    const char *workdir = command->options->workdir;
    if (workdir && chdir(workdir) < 0 && errno != ENOENT)
        return bench_fail(reason, "%s: %s", workdir, strerror(errno));
    return become_user(command->options, reason);
}

/* The driver's directory stays in the loader's path, whatever the image sets: it is the host's. */
static int add_variable(struct bench_list *env, const char *pair)
{
    static const char loader[] = "LD_LIBRARY_PATH=";
    if (strncmp(pair, loader, sizeof loader - 1) != 0)
        return bench_list_add(env, pair);
    AUTO(sfs_free) char *longer = NULL;
    if (asprintf(&longer, "%s:" DRIVER_DIR, pair) < 0)
        return -1;
    return bench_list_add(env, longer);
}

static int make_environment(const struct bench_options *options, struct bench_list *env)
{
    /* What decides how CUDA starts is passed on (a host may need some of it kept); the rest of
     * ours is not the image's business. */
    static const char *const passed[] = { "CUDA_", "NCCL_", "NVSHMEM_", "TORCH_", "NVIDIA_" };
    int r = bench_list_add(env, "PATH=/opt/conda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:"
                                "/usr/bin:/sbin:/bin");
    r |= bench_list_add(env, "HOME=/tmp");
    r |= bench_list_add(env, "LD_LIBRARY_PATH=" DRIVER_DIR);
    for (char **one = environ; *one; one++)
        for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
            if (strncmp(*one, passed[i], strlen(passed[i])) == 0)
                r |= bench_list_add(env, *one);
    /* A later one of the same name wins: putenv() replaces. */
    for (size_t i = 0; i < options->env.count; i++)
        r |= add_variable(env, options->env.items[i]);
    return r;
}

/* The delay is slept by the shell's side of exec, where it counts. */
static char *make_script(const struct bench_dir *dir, const char *command)
{
    char *script;
    int n = dir->delay_ms ? asprintf(&script, "sleep %u.%03u; %s", dir->delay_ms / 1000,
                                     dir->delay_ms % 1000, command)
                          : asprintf(&script, "%s", command);
    return n < 0 ? NULL : script;
}

void bench_root_run(const struct bench_options *options, const struct bench_dir *dir,
                    const char *command, struct bench_result *result)
{
    AUTO(bench_list_close) struct bench_list env = { 0 };
    AUTO(sfs_free) char *script = make_script(dir, command);
    if (!script || make_environment(options, &env) < 0) {
        result->failed = true;
        bench_fail(&result->reason, "out of memory");
        return;
    }
    char sh[] = "/bin/sh", flag[] = "-c";
    char *argv[] = { sh, flag, script, NULL };
    struct root_command entered = { dir, options->no_root, options };
    struct bench_child child = { .argv = argv,
                                 .env = &env,
                                 .prepare = enter,
                                 .user = &entered,
                                 .timeout_s = options->timeout_s };
    bench_child_run(&child, result);
}
