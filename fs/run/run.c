/* The life of one command. A thread of its own unshares the mount namespace (which the kernel lets
 * a thread do alone) and makes the mounts there; a second one, started from it, serves the trees.
 * When both are gone, so are the namespace and all mounts in it. */
#include "run/run_parts.h"

#include <stagefs/format.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stagefs/json.h>
#include <stagefs/mount.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
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

static void tell_note(void *user, const char *text)
{
    const struct run *run = user;
    const struct sfs_progress *progress = run->request->progress;
    if (progress && progress->note)
        progress->note(progress->user, text);
}

static void tell_missing(void *user, const char *path, const char *who)
{
    const struct run *run = user;
    run->request->missing(run->request->user, path, who);
}

/* What a runtime looks at for a command that then is not there is no trace of that command. */
static bool has_started(void *user)
{
    const struct run *run = user;
    return run->is_ready && !run->has_failed;
}

static void *serve(void *arg)
{
    struct run *run = arg;
    AUTO(sfs_free) char *mountpoint = NULL;
    mountpoint = sfs_format("%s/fuse", run->space->path);
    if (!mountpoint) {
        run->server_r = sfs_fail_memory(&run->server_err);
        tell(run, 'E');
        return NULL;
    }
    const struct sfs_mount_options options = {
        .mountpoint = mountpoint,
        .source = "stagefs-run",
        .allow_other = true,
        .suid = run->request->suid, /* but device files never work, here or in the overlay */
        .no_signals = true,
        .ready = tell_ready,
        .warn = tell_warning,
        .note = tell_note,
        .user = run,
        .trace_path = run->request->trace_path,
        .was_used = has_started,
        .trace_append = run->request->trace_append,
        .trace_pages = run->request->trace_pages,
        .missing = run->request->missing ? tell_missing : NULL,
        .front = run->request->front,
        .profiles = run->request->profiles,
        .profile_count = run->request->profile_count,
        .learn = run->request->learn,
        .pack_limit = run->request->pack_limit,
        .store = run->request->store,
        .first_tree = true,
        .only_overlay = true,
        .ret_bytes = &run->server_bytes,
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

/* Gives the upper directory, which is the overlay's root, the attributes of the tree's root. */
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

static int mount_root(struct run *run)
{
    int r = copy_root_attributes(run);
    if (r == 0)
        r = sfs_run_mount_overlay(run, "fuse/0", "upper", "work", "merged");
    if (r < 0)
        return r;
    run->root = open("merged", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return run->root < 0 ? sfs_fail_errno(run->err, errno, "merged") : 0;
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
    run->filter.holds_cores = sfs_run_are_cores_piped();
    int r = sfs_run_filter_start(&run->filter, run->err);
    run->sets_limit = run->runtime->has_cgroups && sfs_run_group_is_for_runc();
    if (r == 0 && !run->sets_limit)
        r = sfs_run_group_start(&run->group, run->err);
    if (r == 0)
        r = enter_namespace(run);
    if (r == 0)
        r = start_server(run);
    if (r == 0)
        r = mount_root(run);
    if (r == 0 && mount("tmpfs", "memory", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700") < 0)
        r = sfs_fail_errno(run->err, errno, "mounting a tmpfs in %s", run->space->path);
    if (r == 0)
        r = sfs_run_mount_all(run);
    return r < 0 ? r : sfs_run_exec(run);
}

/* What the thread runs. All mounts go with the namespace; but the server has to be told, and waits
 * until its own mount is gone. */
static void *run_thread(void *arg)
{
    struct run *run = arg;
    run->result = run_all(run);
    umount2("merged", MNT_DETACH); /* what was mounted inside goes with it */
    sfs_run_unstub(run);
    sfs_close_fd(&run->root);
    for (size_t i = 0; i < run->made_count; i++) {
        char name[40];
        snprintf(name, sizeof name, "memory/merged%zu", i);
        umount2(name, MNT_DETACH);
    }
    umount2("memory", MNT_DETACH);
    if (run->has_server) {
        if (umount2("fuse", 0) < 0)
            umount2("fuse", MNT_DETACH);
        pthread_join(run->server, NULL);
    }
    /* The profile is written last, when the command has long succeeded. */
    if (run->request->trace_path && run->result == 0 && run->server_r < 0)
        run->result = sfs_fail(run->err, -run->server_r, "%s", run->server_err.text);
    return NULL;
}

/* Adds a signal, unless the process was started to ignore it (nohup, background jobs). */
static void add_unless_ignored(sigset_t *set, int number)
{
    struct sigaction now;
    if (sigaction(number, NULL, &now) == 0 && now.sa_handler != SIG_IGN)
        sigaddset(set, number);
}

/* Signals are read from a descriptor, beside all else that is waited for: blocked from before any
 * thread is started, they reach nothing else. */
static int start_thread(struct run *run)
{
    sigset_t read_ones, blocked, before;
    pthread_t thread;
    sigemptyset(&read_ones);
    add_unless_ignored(&read_ones, SIGINT);
    add_unless_ignored(&read_ones, SIGTERM);
    add_unless_ignored(&read_ones, SIGHUP);
    if (run->request->hand_on)
        add_unless_ignored(&read_ones, SIGQUIT);
    if (run->request->terminal)
        sigaddset(&read_ones, SIGWINCH);
    blocked = read_ones;
    sigaddset(&blocked, SIGPIPE);
    sigaddset(&blocked, SIGTTIN); /* in the background, a terminal's input is empty */
    run->signals = signalfd(-1, &read_ones, SFD_CLOEXEC | SFD_NONBLOCK);
    if (run->signals < 0)
        return sfs_fail_errno(run->err, errno, "making a descriptor of signals");
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
    free(run->program);
    sfs_run_filter_close(&run->filter);
    sfs_run_group_close(&run->group);
    sfs_run_init_close(&run->init);
    sfs_run_streams_close(&run->streams);
    sfs_close_fd(&run->command_fd);
    sfs_close_fd(&run->terminal);
    sfs_close_fd(&run->signals);
    free(run->trees);
    sfs_close_fd(&run->events[0]);
    sfs_close_fd(&run->events[1]);
    sfs_run_space_close(&run->space);
}

/* Removes all but what the command wrote. */
static void shrink_space(const struct sfs_run_space *space)
{
    static const char *const names[] = { "work",   "fuse",  "merged", "bundle",
                                         "memory", "state", "pid" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        sfs_temp_remove(space->fd, names[i]);
}

/* Refuses texts of an image's config that cannot be handed to a program. */
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
    struct run run = { .request = request,
                       .err = err,
                       .events = { -1, -1 },
                       .root = -1,
                       .init = { -1, -1, -1, -1, -1 },
                       .filter = { .store = request->store },
                       .group = { .dir = -1, .parent = -1 },
                       .signals = -1,
                       .command_fd = -1,
                       .terminal = -1 };
    if (geteuid() != 0)
        return sfs_fail(err, EPERM, "running commands takes root");
    int r = check_texts(request->args, "the argument", err);
    if (r == 0)
        r = check_texts(request->env, "the variable", err);
    if (r == 0)
        r = sfs_run_choose(&run);
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
    *ret_result = (struct sfs_run_result){ .status = run.status, .bytes = run.server_bytes };
    if (run.has_failed)
        ret_result->not_started = run.not_started;
    shrink_space(run.space);
    ret_result->upper = run.space->upper;
    ret_result->space = TAKE(run.space);
    return 0;
}

const struct sfs_runner sfs_sandbox = { .run = run_command, .discard = sfs_run_space_close };
