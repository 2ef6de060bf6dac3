/* The life of one command. A thread of its own unshares the mount namespace (which the kernel lets
 * a thread do alone) and makes the mounts there; a second one, started from it, serves the trees.
 * When both are gone, so are the namespace and all mounts in it. */
#include "run/run_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stagefs/json.h>
#include <stagefs/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* ---- serving the trees ---- */

static void tell(const struct run *run, char event)
{
    ssize_t n;
    do
        n = write(run->events[1], &event, 1);
    while (n < 0 && errno == EINTR);
}

static void tell_ready(void *user)
{
    tell(user, 'R');
}

static void tell_warning(void *user, const char *text)
{
    const struct run *run = user;
    const struct sfs_progress *progress = run->request->progress;
    if (progress && progress->warn)
        progress->warn(progress->user, text);
}

static void *serve(void *arg)
{
    struct run *run = arg;
    AUTO(sfs_free) char *mountpoint = NULL;
    if (asprintf(&mountpoint, "%s/fuse", run->space->path) < 0) {
        mountpoint = NULL;
        run->server_r = sfs_fail_memory(&run->server_err);
        tell(run, 'E');
        return NULL;
    }
    const struct sfs_mount_options options = {
        .mountpoint = mountpoint,
        .source = "stagefs-run",
        .allow_other = true,
        .dev = true,
        .suid = true,
        .ready = tell_ready,
        .warn = tell_warning,
        .user = run,
        .trace_path = run->request->trace_path,
        .profiles = run->request->profiles,
        .profile_count = run->request->profile_count,
        .first_tree = true,
        .only_overlay = true,
    };
    run->server_r = sfs_mount_serve_layers(run->trees, run->tree_count, &options, &run->server_err);
    tell(run, 'E');
    return NULL;
}

static int start_server(struct run *run)
{
    int code = pthread_create(&run->server, NULL, serve, run);
    if (code != 0)
        return sfs_fail_errno(run->err, code, "starting a thread");
    run->has_server = true;
    if (sfs_run_wait_event(run, -1) == 'R')
        return 0;
    return run->server_r < 0 ? sfs_fail(run->err, -run->server_r, "%s", run->server_err.text)
                             : sfs_fail(run->err, EINTR, "interrupted");
}

/* ---- the root ---- */

/* The overlay's root is its upper directory: it has to look like the tree's. */
static int copy_root_attributes(struct run *run)
{
    struct sfs_attr attr;
    sfs_tree_attr(run->request->tree, SFS_ROOT, &attr);
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
                                       { attr.mtime_sec, (long)attr.mtime_nsec } };
    if (chown("upper", attr.uid, attr.gid) < 0 || chmod("upper", attr.mode & 07777) < 0 ||
        utimensat(AT_FDCWD, "upper", times, 0) < 0)
        return sfs_fail_errno(run->err, errno, "%s", run->space->upper);
    return 0;
}

static int mount_overlay(struct run *run, const char *lower, const char *upper, const char *work,
                         const char *target)
{
    char options[256];
    snprintf(options, sizeof options,
             "lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=off,metacopy=off,index=off", lower,
             upper, work);
    if (mount("overlay", target, "overlay", 0, options) < 0)
        return sfs_fail_errno(run->err, errno, "mounting an overlay in %s", run->space->path);
    return 0;
}

static int mount_root(struct run *run)
{
    int r = copy_root_attributes(run);
    if (r == 0)
        r = mount_overlay(run, "fuse/0", "upper", "work", "merged");
    if (r < 0)
        return r;
    run->root = open("merged", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return run->root < 0 ? sfs_fail_errno(run->err, errno, "merged") : 0;
}

/* ---- what else is mounted ---- */

static int write_memory_file(struct run *run, const char *name, const void *data, size_t size,
                             mode_t mode)
{
    AUTO(sfs_close_fd) int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : sfs_io_write_all(fd, data, size);
    if (r == 0 && fchmod(fd, mode) < 0)
        r = -errno;
    return r < 0 ? sfs_fail_errno(run->err, -r, "%s", name) : 0;
}

static char *absolute(const struct run *run, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", run->space->path, name) < 0 ? NULL : path;
}

/* Where `source` of tree i lies, symlinks followed inside the tree. */
static int find_in_tree(struct run *run, size_t i, const char *source, char **ret_path,
                        bool *ret_is_dir)
{
    char name[32], link[40], path[4096];
    snprintf(name, sizeof name, "fuse/%zu", i);
    AUTO(sfs_close_fd) int root = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO(sfs_close_fd) int fd = root < 0 ? -1 : sfs_run_open_in(root, source, O_PATH);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return sfs_fail(run->err, ENOENT, "%s: not found", source);
    snprintf(link, sizeof link, "/proc/thread-self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return sfs_fail_errno(run->err, errno, "%s", source);
    path[n] = 0;
    *ret_is_dir = S_ISDIR(st.st_mode);
    *ret_path = strdup(path);
    return *ret_path ? 0 : sfs_fail_memory(run->err);
}

/* A directory that may be written to, for nothing. */
static int make_writable(struct run *run, size_t i, struct run_mount *mount)
{
    char upper[40], work[40], merged[40];
    snprintf(upper, sizeof upper, "memory/upper%zu", i);
    snprintf(work, sizeof work, "memory/work%zu", i);
    snprintf(merged, sizeof merged, "memory/merged%zu", i);
    if (mkdir(upper, 0755) < 0 || mkdir(work, 0755) < 0 || mkdir(merged, 0755) < 0)
        return sfs_fail_errno(run->err, errno, "%s", upper);
    AUTO(sfs_close_fd) int lower = open(mount->source, O_PATH | O_CLOEXEC);
    char path[48];
    snprintf(path, sizeof path, "/proc/thread-self/fd/%d", lower);
    int r = mount_overlay(run, path, upper, work, merged);
    if (r < 0)
        return r;
    free(mount->source);
    mount->source = absolute(run, merged);
    return mount->source ? 0 : sfs_fail_memory(run->err);
}

static int add_text(struct run *run, const struct sfs_run_mount *wanted, struct run_mount *mount)
{
    char name[40];
    snprintf(name, sizeof name, "memory/text%zu", run->mount_count);
    int r = write_memory_file(run, name, wanted->data, wanted->size, wanted->mode);
    if (r == 0 && chown(name, wanted->uid, wanted->gid) < 0)
        r = sfs_fail_errno(run->err, errno, "%s", name);
    mount->source = r < 0 ? NULL : absolute(run, name);
    return r < 0 ? r : mount->source ? 0 : sfs_fail_memory(run->err);
}

static int add_mount(struct run *run, const struct sfs_run_mount *wanted, size_t tree)
{
    struct run_mount *mount = &run->mounts[run->mount_count];
    struct stat st;
    int r = 0;
    *mount = (struct run_mount){ .target = wanted->target,
                                 .read_only = wanted->read_only,
                                 .limit = wanted->limit,
                                 .is_dir = wanted->kind == SFS_RUN_TMPFS };
    switch (wanted->kind) {
    case SFS_RUN_TREE:
        r = find_in_tree(run, tree, wanted->source, &mount->source, &mount->is_dir);
        if (r == 0 && !wanted->read_only && mount->is_dir)
            r = make_writable(run, tree, mount);
        break;
    case SFS_RUN_HOST:
        mount->source = strdup(wanted->source);
        if (!mount->source)
            return sfs_fail_memory(run->err);
        if (stat(wanted->source, &st) < 0)
            r = sfs_fail_errno(run->err, errno, "%s", wanted->source);
        mount->is_dir = r == 0 && S_ISDIR(st.st_mode);
        break;
    case SFS_RUN_TMPFS:
        break;
    case SFS_RUN_TEXT:
        r = add_text(run, wanted, mount);
        break;
    }
    run->mount_count++;
    return r < 0 ? r : sfs_run_stub(run, wanted->target, mount->is_dir);
}

/* Names of hosts are looked up as on this machine. */
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

static int add_mounts(struct run *run)
{
    static const char *const system[] = { "/proc", "/sys", "/dev" };
    const struct sfs_run_request *request = run->request;
    size_t tree = 1;
    run->mounts = calloc(request->mount_count + 2, sizeof *run->mounts);
    if (!run->mounts)
        return sfs_fail_memory(run->err);
    if (mount("tmpfs", "memory", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700") < 0)
        return sfs_fail_errno(run->err, errno, "mounting a tmpfs in %s", run->space->path);
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof system / sizeof *system; i++)
        r = sfs_run_stub(run, system[i], true);
    if (r == 0)
        r = add_network_files(run);
    for (size_t i = 0; r == 0 && i < request->mount_count; i++) {
        const struct sfs_run_mount *wanted = &request->mounts[i];
        r = add_mount(run, wanted, tree);
        tree += wanted->kind == SFS_RUN_TREE;
    }
    return r;
}

/* ---- the thread ---- */

static int enter_namespace(struct run *run)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return sfs_fail_errno(run->err, errno, "making a mount namespace");
    /* By name: an open directory is one of the old namespace, where none of the mounts is. */
    if (chdir(run->space->path) < 0)
        return sfs_fail_errno(run->err, errno, "%s", run->space->path);
    return 0;
}

static int run_all(struct run *run)
{
    int r = enter_namespace(run);
    if (r == 0)
        r = start_server(run);
    if (r == 0)
        r = mount_root(run);
    if (r == 0)
        r = add_mounts(run);
    if (r == 0)
        r = sfs_run_write_config(run);
    return r < 0 ? r : sfs_run_exec(run);
}

/* All mounts go with the namespace; but the server has to be told, and waits for its own. */
static void *run_thread(void *arg)
{
    struct run *run = arg;
    run->result = run_all(run);
    sfs_run_unstub(run);
    sfs_close_fd(&run->root);
    for (size_t i = 0; i < run->tree_count; i++) {
        char name[40];
        snprintf(name, sizeof name, "memory/merged%zu", i);
        umount2(name, MNT_DETACH);
    }
    umount2("merged", MNT_DETACH);
    umount2("memory", MNT_DETACH);
    if (run->has_server) {
        if (umount2("fuse", 0) < 0)
            umount2("fuse", MNT_DETACH);
        pthread_join(run->server, NULL);
    }
    return NULL;
}

/* Signals that end a process are the server's to take, so that its end tells of them. */
static int start_thread(struct run *run)
{
    sigset_t blocked, before;
    pthread_t thread;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigaddset(&blocked, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    int code = pthread_create(&thread, NULL, run_thread, run);
    if (code == 0)
        pthread_join(thread, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code == 0 ? run->result : sfs_fail_errno(run->err, code, "starting a thread");
}

static int collect_trees(struct run *run)
{
    const struct sfs_run_request *request = run->request;
    run->trees = calloc(request->mount_count + 1, sizeof *run->trees);
    if (!run->trees)
        return sfs_fail_memory(run->err);
    run->trees[run->tree_count++] = request->tree;
    for (size_t i = 0; i < request->mount_count; i++)
        if (request->mounts[i].kind == SFS_RUN_TREE)
            run->trees[run->tree_count++] = request->mounts[i].tree;
    return 0;
}

static void run_done(struct run *run)
{
    for (size_t i = 0; i < run->mount_count; i++)
        free(run->mounts[i].source);
    free(run->mounts);
    free(run->trees);
    sfs_close_fd(&run->events[0]);
    sfs_close_fd(&run->events[1]);
    sfs_run_space_close(&run->space);
}

/* Only what was written is kept. */
static void shrink_space(const struct sfs_run_space *space)
{
    static const char *const names[] = { "work",   "fuse",  "merged", "bundle",
                                         "memory", "state", "pid",    "pid-bwrap" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        sfs_temp_remove(space->fd, names[i]);
}

/* An image's config may hold what cannot be handed to a program. */
static int check_texts(const char *const *texts, const char *what, struct sfs_error *err)
{
    for (; *texts; texts++)
        if (sfs_json_is_marked(*texts))
            return sfs_fail(
                err, EINVAL,
                "%s %.*s holds a NUL or half a character, which no program can be given", what,
                (int)strcspn(*texts, "= \xf4"), *texts);
    return 0;
}

static int run_command(const struct sfs_run_request *request, struct sfs_run_result *ret_result,
                       struct sfs_error *err)
{
    AUTO(run_done)
    struct run run = { .request = request, .err = err, .events = { -1, -1 }, .root = -1 };
    if (geteuid() != 0)
        return sfs_fail(err, EPERM, "running commands takes root");
    int r = check_texts(request->args, "the argument", err);
    if (r == 0)
        r = check_texts(request->env, "the variable", err);
    if (r == 0)
        r = sfs_run_space_open(request->work_dir, &run.space, err);
    if (r == 0)
        r = collect_trees(&run);
    if (r == 0 && pipe2(run.events, O_CLOEXEC) < 0)
        r = sfs_fail_errno(err, errno, "making a pipe");
    if (r == 0)
        r = start_thread(&run);
    if (r < 0)
        return r;
    *ret_result = (struct sfs_run_result){ .status = run.status };
    shrink_space(run.space);
    ret_result->upper = run.space->upper;
    ret_result->space = TAKE(run.space);
    return 0;
}

const struct sfs_runner sfs_sandbox = { .run = run_command, .discard = sfs_run_space_close };
