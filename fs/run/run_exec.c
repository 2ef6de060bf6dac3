/* Starting the runtimes. One that could not start the command at all (told by the file that it
 * writes the command's process id to, or by bubblewrap's status line) makes room for the next. */
#include "run/run_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct word_list { /* an argv that grows */
    char **items;
    size_t count;
    bool failed;
};

static void words_done(struct word_list *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->items[i]);
    free(words->items);
}

static void say(struct word_list *words, const char *text)
{
    char **more = reallocarray(words->items, words->count + 2, sizeof *more);
    char *copy = strdup(text);
    if (more)
        words->items = more;
    if (!more || !copy) {
        free(copy);
        words->failed = true;
        return;
    }
    more[words->count++] = copy;
    more[words->count] = NULL;
}

static void say_path(struct word_list *words, const struct run *run, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", run->space->path, name) < 0) {
        words->failed = true;
        return;
    }
    say(words, path);
    free(path);
}

/* The program in PATH; the caller frees. NULL: not there. */
static char *find_program(const char *name)
{
    const char *dirs = getenv("PATH");
    for (dirs = dirs && *dirs ? dirs : "/usr/sbin:/usr/bin:/sbin:/bin"; dirs;) {
        size_t size = strcspn(dirs, ":");
        char *path = NULL;
        if (asprintf(&path, "%.*s/%s", (int)size, dirs, name) < 0)
            return NULL;
        struct stat st;
        if (size > 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
            return path;
        free(path);
        dirs = dirs[size] ? dirs + size + 1 : NULL;
    }
    return NULL;
}

/* What the supervisor needs: a process between this one and the runtime, which ends the command
 * when this one ends, in whatever way. Made of the fork of a process with threads, neither may
 * allocate or lock. */
struct start {
    char *const *argv;
    int null;   /* open on /dev/null; -1: the command has our input and output */
    int status; /* the descriptor that the runtime is told of; -1: none */
    int life;   /* reads its end when this process ends */
    int space;
};

static _Noreturn void become_runtime(const struct start *start)
{
    if (start->null >= 0) {
        dup2(start->null, STDIN_FILENO);
        dup2(STDERR_FILENO, STDOUT_FILENO);
    }
    if (start->status >= 0)
        fcntl(start->status, F_SETFD, 0);
    execve(start->argv[0], start->argv, environ);
    _exit(127);
}

/* Above all the device of the mount: it lives as long as somebody has it open. */
static void close_others(const struct start *start)
{
    int keep[] = { start->null, start->status, start->life, start->space };
    const int count = sizeof keep / sizeof *keep;
    for (unsigned from = 3;;) {
        unsigned next = UINT_MAX;
        for (int i = 0; i < count; i++)
            if (keep[i] >= (int)from && (unsigned)keep[i] < next)
                next = (unsigned)keep[i];
        if (next > from)
            syscall(SYS_close_range, from, next == UINT_MAX ? next : next - 1, 0);
        if (next == UINT_MAX)
            return;
        from = next + 1;
    }
}

static void kill_command(const struct start *start, pid_t runtime)
{
    char text[24] = "";
    int fd = openat(start->space, "pid", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    pid_t pid = 0;
    for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9' && pid < 100000000; i++)
        pid = pid * 10 + (text[i] - '0');
    /* The runtime ends with the command, and cleans up. */
    kill(pid > 1 ? pid : runtime, SIGKILL);
}

static _Noreturn void supervise(const struct start *start)
{
    sigset_t none;
    sigemptyset(&none);
    for (int i = 1; i < SIGRTMIN; i++)
        signal(i, SIG_DFL);
    close_others(start);
    pid_t runtime = fork();
    if (runtime < 0)
        _exit(126);
    if (runtime == 0) {
        sigprocmask(SIG_SETMASK, &none, NULL);
        become_runtime(start);
    }
    /* Those are for the command; this one ends with it. */
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGTSTP, SIG_IGN);
    struct pollfd fds[2] = { { .fd = (int)syscall(SYS_pidfd_open, runtime, 0), .events = POLLIN },
                             { .fd = start->life, .events = POLLIN } };
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        continue;
    if (fds[1].revents && !fds[0].revents)
        kill_command(start, runtime);
    int status = 0;
    while (waitpid(runtime, &status, 0) < 0 && errno == EINTR)
        continue;
    _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

char sfs_run_wait_event(struct run *run, int timeout_ms)
{
    struct pollfd poll_fd = { .fd = run->events[0], .events = POLLIN };
    char event = 0;
    int n;
    do
        n = poll(&poll_fd, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    if (n <= 0 || read(run->events[0], &event, 1) != 1)
        return 0;
    run->has_ended = run->has_ended || event == 'E';
    return event;
}

/* Its wait status. That serving ended meanwhile means that a signal asked for the end. */
static int wait_for(struct run *run, pid_t child, int *life, int *ret_status)
{
    AUTO(sfs_close_fd) int watched = (int)syscall(SYS_pidfd_open, child, 0);
    bool interrupted = false;
    struct pollfd fds[2] = { { .fd = watched, .events = POLLIN },
                             { .fd = run->events[0], .events = POLLIN } };
    while (watched >= 0 && !interrupted) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        if (fds[0].revents)
            break;
        interrupted = fds[1].revents && sfs_run_wait_event(run, 0) == 'E';
    }
    if (interrupted)
        sfs_close_fd(life);
    while (waitpid(child, ret_status, 0) < 0)
        if (errno != EINTR)
            return sfs_fail_errno(run->err, errno, "waiting for the command");
    return interrupted ? sfs_fail(run->err, EINTR, "interrupted") : 0;
}

static int start(struct run *run, const struct word_list *words, int status_fd, int *ret_status)
{
    AUTO(sfs_close_fd) int null = -1;
    if (words->failed)
        return sfs_fail_memory(run->err);
    if (run->request->quiet_input)
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
    unlinkat(run->space->fd, "pid", 0);
    int life[2];
    if (pipe2(life, O_CLOEXEC) < 0)
        return sfs_fail_errno(run->err, errno, "making a pipe");
    AUTO(sfs_close_fd) int read_end = life[0];
    AUTO(sfs_close_fd) int write_end = life[1];
    const struct start how = { words->items, null, status_fd, read_end, run->space->fd };
    pid_t child = fork();
    if (child < 0)
        return sfs_fail_errno(run->err, errno, "starting %s", words->items[0]);
    if (child == 0)
        supervise(&how);
    sfs_close_fd(&read_end);
    int status = 0;
    int r = wait_for(run, child, &write_end, &status);
    if (r < 0)
        return r;
    *ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return 0;
}

/* ---- runc, crun ---- */

/* 1: the command ran, 0: the runtime could not start it. */
static int run_oci(struct run *run, const char *program, bool is_crun)
{
    AUTO(words_done) struct word_list words = { 0 };
    const char *name = strrchr(run->space->path, '/') + 1;
    say(&words, program);
    if (is_crun)
        say(&words, "--cgroup-manager=disabled");
    say(&words, "--root");
    say_path(&words, run, "state");
    say(&words, "run");
    say(&words, "--bundle");
    say_path(&words, run, "bundle");
    say(&words, "--pid-file");
    say_path(&words, run, "pid");
    say(&words, name);
    int r = start(run, &words, -1, &run->status);
    struct stat st;
    if (r < 0)
        return r;
    return run->status == 0 || (fstatat(run->space->fd, "pid", &st, 0) == 0 && st.st_size > 0);
}

static int run_runc(struct run *run, const char *program)
{
    return run_oci(run, program, false);
}

static int run_crun(struct run *run, const char *program)
{
    return run_oci(run, program, true);
}

/* ---- bubblewrap ---- */

static void say_mounts(struct word_list *words, const struct run *run)
{
    for (size_t i = 0; i < run->mount_count; i++) {
        const struct run_mount *mount = &run->mounts[i];
        if (mount->source) {
            say(words, mount->read_only ? "--ro-bind" : "--bind");
            say(words, mount->source);
        } else {
            say(words, "--tmpfs");
        }
        say(words, mount->target);
    }
}

static int run_bwrap(struct run *run, const char *program)
{
    const struct sfs_run_request *request = run->request;
    AUTO(words_done) struct word_list words = { 0 };
    AUTO(sfs_close_fd)
    int file = openat(run->space->fd, "pid-bwrap", O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    if (request->uid != 0 || request->gid != 0)
        return sfs_fail(run->err, ENOTSUP,
                        "bubblewrap cannot run a command as user %u: install runc or crun",
                        request->uid);
    if (file < 0)
        return sfs_fail_errno(run->err, errno, "pid-bwrap");
    char number[16];
    snprintf(number, sizeof number, "%d", file);
    say(&words, program);
    static const char *const first[] = { "--unshare-pid", "--unshare-ipc", "--unshare-uts",
                                         "--hostname",    "stagefs",       "--die-with-parent",
                                         "--clearenv",    "--bind" };
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        say(&words, first[i]);
    say_path(&words, run, "merged");
    static const char *const second[] = { "/",    "--proc",    "/proc", "--dev",
                                          "/dev", "--ro-bind", "/sys",  "/sys" };
    for (size_t i = 0; i < sizeof second / sizeof *second; i++)
        say(&words, second[i]);
    if (request->no_network)
        say(&words, "--unshare-net");
    say_mounts(&words, run);
    for (const char *const *env = request->env; *env; env++) {
        const char *equals = strchr(*env, '=');
        AUTO(sfs_free) char *name = equals ? strndup(*env, (size_t)(equals - *env)) : NULL;
        say(&words, "--setenv");
        say(&words, name ? name : *env);
        say(&words, equals ? equals + 1 : "");
    }
    say(&words, "--chdir");
    say(&words, request->cwd);
    say(&words, "--json-status-fd");
    say(&words, number);
    say(&words, "--");
    for (const char *const *arg = request->args; *arg; arg++)
        say(&words, *arg);
    int r = start(run, &words, file, &run->status);
    char text[1024] = "";
    if (r < 0)
        return r;
    if (pread(file, text, sizeof text - 1, 0) < 0)
        text[0] = 0;
    return run->status == 0 || strstr(text, "exit-code") != NULL;
}

int sfs_run_exec(struct run *run)
{
    static const struct {
        const char *name;
        int (*run)(struct run *run, const char *program);
    } runtimes[] = { { "runc", run_runc }, { "crun", run_crun }, { "bwrap", run_bwrap } };
    const char *wanted = run->request->runtime, *tried = NULL;
    for (size_t i = 0; i < sizeof runtimes / sizeof *runtimes; i++) {
        if (wanted && *wanted && strcmp(wanted, runtimes[i].name) != 0)
            continue;
        AUTO(sfs_free) char *program = find_program(runtimes[i].name);
        if (!program)
            continue;
        tried = runtimes[i].name;
        int r = runtimes[i].run(run, program);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    if (tried)
        return sfs_fail(run->err, EIO, "%s could not start the command (see above)", tried);
    if (wanted && *wanted)
        return sfs_fail(run->err, ENOENT,
                        "the runtime '%s' is not installed (one of runc, crun, "
                        "bwrap)",
                        wanted);
    return sfs_fail(run->err, ENOENT,
                    "no runtime is installed to run commands in: install runc, "
                    "crun or bubblewrap");
}
