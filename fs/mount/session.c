/* Two threads carry a session besides libfuse's workers: this one waits in libfuse's loop for the
 * end, and a watcher tries whether the mount answers, then waits for signals. Signals are blocked
 * everywhere and taken by sigwait(), so no handler has to know of a session. SIGUSR2 is used
 * between the two: it gets the loop out of its wait (libfuse before 3.17 looks at its exit flag
 * only then), and ends the watcher. */
#include "mount/session.h"

#include "base/io.h"
#include "mount/abort.h"
#include "mount/control.h"
#include "mount/front.h"
#include "mount/mountpoint.h"
#include <stagefs/format.h>
#include "mount/upper.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/sysmacros.h>
#include <time.h>

/* A thread that waits for disk or decoder must not keep others from names and cached bytes, so
 * there may be several a CPU; libfuse starts them as they are needed. */
#define THREADS_A_CPU 4u
#define MIN_THREADS   16u
#define MAX_THREADS   64u
/* A page fault waits until all of this around it is decoded; what else is worth having is stored
 * behind its back (fill.h). More makes reading in order hardly faster. */
#define DEFAULT_READ_AHEAD_KB 128u
/* Where it is known what a start touches, a pack has it, or it comes from another machine in that
 * order: what is around it would be decoded, or fetched, for nothing. When the start is over, files
 * that are opened are read as in other mounts. */
#define KNOWN_READ_AHEAD_KB 4u
/* Pages that are recorded should be those that were used. */
#define TRACE_READ_AHEAD_KB 64u

struct mount_session {
    struct fuse_session *fuse;
    struct sfs_server *server;
    const char *path;
    dev_t device;         /* the mount's; 0: not known yet */
    int kept;             /* keeps it until EROFS has let go of the image (ops_flat.c); -1: none */
    sigset_t waited;      /* the signals that the watcher takes */
    sigset_t mask_before; /* this thread's mask before the session */
    struct sigaction usr2_before;
    pthread_t loop_thread, watcher;
    struct sfs_control *control; /* NULL: there is no socket, and questions come by ioctl alone */
    struct sfs_abort abort;
    atomic_bool loop_done;
    struct sfs_error err; /* the watcher's words; read only after it was joined */
    int failure;          /* negative: the mount did not answer */
};

/* libfuse's words go to whoever waits in this thread, and nowhere if nobody does. It passes them to
 * a plain function, so there is no other way than a variable. */
static _Thread_local struct sfs_error *log_listener;

static void listen_to_log(enum fuse_log_level level, const char *format, va_list args)
{
    (void)level;
    if (!log_listener)
        return;
    char text[256];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = 0;
    const char *prefix = "fuse: ";
    bool prefixed = strncmp(text, prefix, strlen(prefix)) == 0;
    sfs_fail(log_listener, EIO, "%s", prefixed ? text + strlen(prefix) : text);
}

static void ignore_signal(int number)
{
    (void)number;
}

/* Adds a signal to the set, unless the process was started to ignore it (nohup, background
 * jobs). */
static void wait_for_unless_ignored(sigset_t *set, int number)
{
    struct sigaction now;
    if (sigaction(number, NULL, &now) == 0 && now.sa_handler != SIG_IGN)
        sigaddset(set, number);
}

static void take_signals(struct mount_session *session)
{
    sigemptyset(&session->waited);
    if (!session->server->options->no_signals) {
        wait_for_unless_ignored(&session->waited, SIGTERM);
        wait_for_unless_ignored(&session->waited, SIGINT);
        wait_for_unless_ignored(&session->waited, SIGHUP);
    }
    sigaddset(&session->waited, SIGUSR1);
    sigaddset(&session->waited, SIGUSR2);
    sigset_t blocked = session->waited;
    sigdelset(&blocked, SIGUSR2);
    sigaddset(&blocked, SIGPIPE);
    struct sigaction ignore = { .sa_handler = ignore_signal };
    sigaction(SIGUSR2, &ignore, &session->usr2_before);
    pthread_sigmask(SIG_BLOCK, &blocked, &session->mask_before);
}

/* Sets the signals back. One that came while nobody waited any more is dropped: it asked for an end
 * that has come. */
static void give_signals_back(struct mount_session *session)
{
    sigset_t late = session->waited;
    sigaddset(&late, SIGPIPE);
    struct timespec now = { 0 };
    while (sigtimedwait(&late, NULL, &now) > 0)
        continue;
    sigaction(SIGUSR2, &session->usr2_before, NULL);
    pthread_sigmask(SIG_SETMASK, &session->mask_before, NULL);
}

static int add_options(struct fuse_args *args, const struct sfs_mount_options *options,
                       struct sfs_error *err)
{
    AUTO(sfs_free)
    char *name = sfs_format("fsname=%s", options->source ? options->source : "stagefs");
    AUTO(sfs_free)
    char *list = sfs_format("ro,default_permissions,subtype=stagefs%s%s%s",
                            options->allow_other ? ",allow_other" : "", options->dev ? ",dev" : "",
                            options->suid ? ",suid" : "");
    /* What is escaped may hold a comma. */
    if (!name || !list || fuse_opt_add_opt_escaped(&list, name) < 0 ||
        fuse_opt_add_arg(args, "stagefs") < 0 || fuse_opt_add_arg(args, "-o") < 0 ||
        fuse_opt_add_arg(args, list) < 0)
        return sfs_fail_memory(err);
    return 0;
}

/* libfuse mounts by itself where that is allowed, and else starts fusermount3, of which it says
 * nothing if there is none. */
static int explain_mounting(const char *path, const struct sfs_error *words, struct sfs_error *err)
{
    bool is_root = geteuid() == 0;
    if (!*words->text && !sfs_mountpoint_has_helper())
        return sfs_fail(err, ENOENT, "mounting on %s: %s" SFS_NO_HELPER, path,
                        is_root ? "this process may not mount (CAP_SYS_ADMIN), and " : "");
    return sfs_fail(err, EIO, "mounting on %s: %s", path,
                    *words->text ? words->text : "libfuse gives no reason");
}

static int mount_session(struct mount_session *session, struct sfs_error *err)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct sfs_error words = { .text = "" };
    int r = add_options(&args, session->server->options, err);
    if (r == 0) {
        log_listener = &words;
        const struct fuse_lowlevel_ops *ops = session->server->flat ? &sfs_flat_ops : &sfs_ops;
        session->fuse = fuse_session_new(&args, ops, sizeof *ops, session->server);
        bool mounted = session->fuse && fuse_session_mount(session->fuse, session->path) == 0;
        log_listener = NULL;
        session->server->fuse = session->fuse;
        if (!mounted)
            r = explain_mounting(session->path, &words, err);
    }
    fuse_opt_free_args(&args);
    return r;
}

static unsigned thread_count(const struct sfs_mount_options *options)
{
    if (options->threads > 0)
        return options->threads;
    unsigned threads = sfs_cpus() * THREADS_A_CPU;
    if (threads < MIN_THREADS)
        return MIN_THREADS;
    return threads < MAX_THREADS ? threads : MAX_THREADS;
}

/* Answers requests until the end. Each worker has a device file of its own, which saves a lock. 0
 * or -errno. */
static int run_loop(struct mount_session *session)
{
    unsigned threads = thread_count(session->server->options);
#if FUSE_USE_VERSION >= 312
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    if (!config)
        return -ENOMEM;
    fuse_loop_cfg_set_max_threads(config, threads);
    fuse_loop_cfg_set_clone_fd(config, 1);
    int r = fuse_session_loop_mt(session->fuse, config);
    fuse_loop_cfg_destroy(config);
#else
    struct fuse_loop_config config = { .clone_fd = 1, .max_idle_threads = threads };
    int r = fuse_session_loop_mt(session->fuse, &config);
#endif
    return r < 0 ? r : 0;
}

/* The kernel keeps 128 KiB for mounts of FUSE and lets their servers ask only for less. Without the
 * right to write there the mount is slower, not worse. */
static void set_read_ahead(dev_t device, unsigned kb)
{
    char name[64], value[24];
    snprintf(name, sizeof name, "/sys/class/bdi/%u:%u/read_ahead_kb", major(device), minor(device));
    int size = snprintf(value, sizeof value, "%u\n", kb);
    AUTO(sfs_close_fd) int fd = open(name, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, value, (size_t)size) < 0)
        return;
}

static unsigned choose_read_ahead(const struct sfs_mount_options *options)
{
    if (options->read_ahead_kb)
        return options->read_ahead_kb;
    return options->trace_pages ? TRACE_READ_AHEAD_KB : DEFAULT_READ_AHEAD_KB;
}

static bool knows_start(const struct sfs_server *server)
{
    return server->pack || (server->replay && sfs_replay_is_remote(server->replay));
}

static void start_read_ahead(const struct mount_session *session)
{
    const struct sfs_server *server = session->server;
    /* With no_read_ahead sfs_op_init() has told the kernel, which takes no rights. */
    if (!server->options->no_read_ahead)
        set_read_ahead(session->device, knows_start(server) ? KNOWN_READ_AHEAD_KB
                                                            : choose_read_ahead(server->options));
}

/* The start is over. (EROFS asks the row of all files for what it wants, and has a read-ahead of
 * its own.) */
static void end_start(void *user)
{
    const struct mount_session *session = user;
    const struct sfs_server *server = session->server;
    if (server->flat)
        sfs_front_end_start(server);
    else if (!server->options->no_read_ahead)
        set_read_ahead(session->device, choose_read_ahead(server->options));
}

static int stat_mount(struct mount_session *session, struct stat *ret_stat)
{
    if (stat(session->path, ret_stat) == 0)
        return 0;
    return sfs_fail_errno(&session->err, errno, "the mount on %s does not answer", session->path);
}

struct trial {
    struct mount_session *session;
    int result;
};

static int put_upper_on(struct mount_session *session)
{
    char name[SFS_FRONT_NAME];
    struct stat st;
    sfs_front_name(session->server, name);
    int r = sfs_upper_mount(session->server->upper, name, session->path, &session->err);
    return r < 0 ? r : stat_mount(session, &st);
}

/* What the thread runs that asks the mount, and waits for answers of this very session. */
static void *ask_mount(void *arg)
{
    struct trial *trial = arg;
    struct mount_session *session = trial->session;
    struct stat st;
    if (session->server->flat)
        session->kept = open(session->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    sfs_io_own_files();
    int r = stat_mount(session, &st);
    if (r == 0) {
        session->device = st.st_dev;
        start_read_ahead(session);
    }
    if (r == 0 && session->server->flat) {
        r = sfs_front_mount(session->server, session->path, &session->err);
        session->server->front_failed = r < 0 && r != -EBUSY;
        if (r == 0)
            r = stat_mount(session, &st);
    }
    if (r == 0 && session->server->upper)
        r = put_upper_on(session);
    trial->result = r;
    return NULL;
}

static int try_in_thread(struct mount_session *session)
{
    pthread_t thread;
    struct trial trial = { .session = session };
    int code = pthread_create(&thread, NULL, ask_mount, &trial);
    if (code != 0)
        return sfs_fail_errno(&session->err, code, "starting a thread");
    pthread_join(thread, NULL);
    return trial.result;
}

/* Has somebody wait until it is quiet, which ends the start, and then make the pack of a profile,
 * NULL: none. */
static void open_packer(struct mount_session *session, const struct sfs_profile *profile)
{
    struct sfs_server *server = session->server;
    const struct sfs_mount_options *options = server->options;
    struct sfs_error err;
    const struct sfs_packer_options packer = { .tree = server->forest.trees[0],
                                               .store = options->store,
                                               .key = server->pack_key,
                                               .profile = profile,
                                               .limit = options->pack_limit,
                                               .before = server->pack,
                                               .first = server->forest.first[0],
                                               .stats = &server->stats,
                                               .end_start = knows_start(server) ? end_start : NULL,
                                               .session = session,
                                               .warn = options->warn,
                                               .user = options->user };
    if (sfs_packer_open(&packer, &server->packer, &err) < 0 && options->warn)
        options->warn(options->user, err.text);
}

/* A start has ended, and there may be no pack of what is known now, or one of what is not used any
 * more. Called on the learner's thread, which has ended when the packer is closed. */
static void renew_pack(void *user, struct sfs_profile *known)
{
    struct mount_session *session = user;
    struct sfs_server *server = session->server;
    if (!*server->pack_key ||
        (server->pack && sfs_pack_fits(server->pack, server->forest.trees[0], known)))
        return;
    sfs_packer_close(&server->packer);
    server->pack_profile = *known;
    *known = (struct sfs_profile){ 0 };
    open_packer(session, &server->pack_profile);
}

/* What was learned is packed when it is known (renew_pack()), what profiles say in any case. */
static void start_packer(struct mount_session *session)
{
    const struct sfs_server *server = session->server;
    if (!server->pack && *server->pack_key && !server->learner)
        open_packer(session, &server->pack_profile);
    else if (knows_start(server))
        open_packer(session, NULL);
}

/* The `look` of the learner, where EROFS reads the pack without this process. */
static bool look_at_front(void *user,
                          bool (*is_left)(void *learner, sfs_ino ino, struct sfs_range range),
                          void (*seen)(void *learner, sfs_ino ino, struct sfs_range range),
                          void *learner)
{
    const struct mount_session *session = user;
    return sfs_replay_look(session->server->replay, is_left, seen, learner);
}

static void start_learner(struct mount_session *session)
{
    struct sfs_learner *learner = session->server->learner;
    if (!learner)
        return;
    const struct sfs_server *server = session->server;
    const bool reads_pack = server->replay && server->names.patch_count > 0;
    const struct sfs_learner_watcher watcher = { .look = reads_pack ? look_at_front : NULL,
                                                 .ended = renew_pack,
                                                 .user = session };
    sfs_learner_watch(learner, &watcher);
    (void)sfs_learner_start(learner, NULL);
}

/* The pack's bytes are looked through, so that EROFS may read them from its file. Not before the
 * mount answers: what that needs of the disk would stand behind the pack. */
static void start_check(const struct sfs_server *server)
{
    if (server->names.patch_count > 0)
        (void)sfs_pack_check_all(server->pack, NULL); /* else all is read through this process */
}

/* Does the mount answer? True when a question has gone through the kernel and its answer come
 * back. */
static bool try_mount(struct mount_session *session)
{
    const struct sfs_server *server = session->server;
    const struct sfs_mount_options *options = server->options;
    struct sfs_error err;
    session->failure = try_in_thread(session);
    if (session->failure < 0)
        return false;
    /* The mount is of use also if its socket cannot be had. */
    bool hands_on_ioctls = !server->flat && !server->upper;
    if (!hands_on_ioctls && sfs_control_open(session->server, &session->control, &err) < 0 &&
        options->warn)
        options->warn(options->user, err.text);
    if (server->passthrough && sfs_backing_start(session->server, session->fuse, &err) < 0 &&
        options->warn)
        options->warn(options->user, err.text);
    start_check(server);
    start_packer(session);
    start_learner(session); /* of what cannot be learned nobody has to be told */
    if (options->ready)
        options->ready(options->user);
    if (server->replay &&
        sfs_replay_start(server->replay, server->ahead, session->path, &err) < 0 && options->warn)
        options->warn(options->user, err.text);
    return true;
}

static void tell_statistics(struct sfs_server *server)
{
    const struct sfs_mount_options *options = server->options;
    struct sfs_buf buf = { 0 };
    struct sfs_error err;
    int r = sfs_stats_print(&server->stats, options->cache, server->pack, &buf);
    if (r == 0 && options->stats_path) {
        r = sfs_io_write_output(options->stats_path, buf.data, buf.size, 0644, &err);
        if (r < 0 && options->warn)
            options->warn(options->user, err.text);
    } else if (r == 0 && options->warn) {
        buf.data[buf.size - 1] = 0; /* a text, not a line */
        options->warn(options->user, buf.data);
    }
    sfs_buf_close(&buf);
}

/* What the trace's file holds already, joined with what was recorded. */
static int join_trace(const char *path, const struct sfs_buf *recorded, struct sfs_buf *joined,
                      struct sfs_error *err)
{
    AUTO(sfs_free) char *text = NULL;
    AUTO(sfs_profile_done) struct sfs_profile more = { 0 };
    size_t size;
    int r = sfs_io_read_file(AT_FDCWD, path, SFS_MAX_PROFILE, &text, &size, err);
    if (r == 0)
        r = sfs_profile_parse(&more, path, recorded->data, recorded->size, err);
    return r < 0 ? r : sfs_profile_join_text(path, text, size, &more, joined, err);
}

static int write_trace(struct sfs_server *server, struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf buf = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf joined = { 0 };
    const char *path = server->trace_path;
    struct stat st;
    bool joins = server->options->trace_append && strcmp(path, "-") != 0 && stat(path, &st) == 0 &&
                 S_ISREG(st.st_mode);
    int r = sfs_recorder_print(server->recorder, &buf);
    if (r < 0)
        return sfs_fail_memory(err);
    r = joins ? join_trace(path, &buf, &joined, err) : 0;
    const struct sfs_buf *text = joins ? &joined : &buf;
    return r < 0 ? r : sfs_io_write_output(path, text->data, text->size, 0644, err);
}

/* Does what SIGUSR1 asks for: statistics, and the trace so far. */
static void tell(struct sfs_server *server)
{
    struct sfs_error err;
    const struct sfs_mount_options *options = server->options;
    tell_statistics(server);
    if (server->trace_path && write_trace(server, &err) < 0 && options->warn)
        options->warn(options->user, err.text);
}

/* Signals the loop again and again until it has seen it: a signal that comes before it waits is
 * lost. */
static void stop_loop(struct mount_session *session)
{
    fuse_session_exit(session->fuse);
    struct timespec pause = { .tv_nsec = 2000000 };
    while (!atomic_load(&session->loop_done)) {
        pthread_kill(session->loop_thread, SIGUSR2);
        nanosleep(&pause, NULL);
    }
}

/* Stops what works beside the loop. What is stored ahead may wait for a page whose reader waits for
 * an answer, so it is stopped while requests are still answered. */
static void stop_serving(struct mount_session *session)
{
    sfs_server_end_soon(session->server);
    sfs_pack_stop(session->server->pack);
    if (session->server->ahead)
        sfs_fill_stop(session->server->ahead);
    stop_loop(session);
}

static void *watch(void *arg)
{
    struct mount_session *session = arg;
    if (!try_mount(session))
        stop_loop(session);
    while (!atomic_load(&session->loop_done)) {
        int number;
        if (sigwait(&session->waited, &number) != 0)
            continue;
        if (number == SIGUSR1)
            tell(session->server);
        else if (number != SIGUSR2)
            stop_serving(session);
    }
    return NULL;
}

/* The watcher's mask has SIGUSR2 blocked, this thread's not; see the top. */
static int start_watcher(struct mount_session *session, struct sfs_error *err)
{
    sigset_t before;
    session->loop_thread = pthread_self();
    pthread_sigmask(SIG_BLOCK, &session->waited, &before);
    int code = pthread_create(&session->watcher, NULL, watch, session);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code == 0 ? 0 : sfs_fail_errno(err, code, "starting a thread");
}

/* Starts the helper of abort.h. It is needed only where something is stored ahead; if it cannot be
 * had, the mount goes on without it. The watcher puts EROFS over what is looked up here, so it must
 * not have begun. */
static void guard_against_death(struct mount_session *session)
{
    struct sfs_mounted mounted;
    session->abort.fd = -1;
    if (session->server->ahead && sfs_mountpoint_find(session->path, &mounted, NULL) == 0)
        (void)sfs_abort_open(&session->abort, mounted.device, NULL);
}

/* Ends the connection, since nobody answers any more, so that whoever waits for an answer is told.
 * libfuse takes an ended connection for an unmounted one. */
static void end_connection(struct mount_session *session)
{
    sfs_mountpoint_detach(session->path, true, NULL);
    sfs_abort_now(&session->abort);
}

static int serve_mounted(struct mount_session *session, struct sfs_error *err)
{
    guard_against_death(session);
    int r = start_watcher(session, err);
    if (r < 0) {
        sfs_abort_close(&session->abort);
        fuse_session_unmount(session->fuse);
        return r;
    }
    const struct sfs_server *server = session->server;
    if (server->ahead)
        sfs_fill_start(server->ahead, session->fuse);
    int loop = run_loop(session);
    atomic_store(&session->loop_done, true);
    sfs_close_fd(&session->kept);
    if (loop < 0)
        end_connection(session);
    if (server->replay)
        sfs_replay_stop(server->replay);
    if (server->ahead)
        sfs_fill_stop(server->ahead);
    if (server->passthrough)
        sfs_passthrough_stop(server->passthrough);
    fuse_session_unmount(session->fuse); /* lazily: also when it is in use */
    pthread_kill(session->watcher, SIGUSR2);
    pthread_join(session->watcher, NULL);
    sfs_pack_stop(server->pack); /* the packer may wait for that */
    if (server->learner)
        sfs_learner_stop(server->learner);
    sfs_packer_close(&session->server->packer);
    sfs_control_close(&session->control);
    sfs_abort_close(&session->abort);
    if (loop < 0)
        return sfs_fail_errno(err, -loop, "serving %s", session->path);
    if (session->failure < 0)
        return sfs_fail(err, -session->failure, "%s", session->err.text);
    return 0;
}

int sfs_session_run(struct sfs_server *server, const char *path, struct sfs_error *err)
{
    struct mount_session session = { .server = server, .path = path, .kept = -1 };
    take_signals(&session);
    fuse_set_log_func(listen_to_log);
    int r = mount_session(&session, err);
    if (r == 0)
        r = serve_mounted(&session, err);
    bool was_used = !server->options->was_used || server->options->was_used(server->options->user);
    if (r == 0 && server->learner && was_used)
        sfs_learner_finish(server->learner);
    if (r == 0 && server->trace_path && was_used)
        r = write_trace(server, err);
    if (r == 0 && server->options->missing && was_used)
        sfs_recorder_missing(server->recorder, server->options->missing, server->options->user);
    if (server->options->ret_bytes)
        *server->options->ret_bytes =
            atomic_load(&server->stats.bytes_read) + atomic_load(&server->stats.bytes_stored);
    if (session.fuse)
        fuse_session_destroy(session.fuse);
    fuse_set_log_func(NULL);
    give_signals_back(&session);
    return r;
}
