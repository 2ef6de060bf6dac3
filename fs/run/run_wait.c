/* Starting a runtime and waiting for the end of its command: between this process and the runtime
 * stands a supervisor, which ends the command when this process ends, in whatever way. */
#include "run/run_parts.h"

#include "run/init_spec.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define KEYCTL_JOIN_SESSION_KEYRING 1
#define FIRST_FREE                  32 /* above all that a runtime is given */

/* What the supervisor needs. It is forked off a process with threads, and so may neither allocate
 * nor lock. */
struct start {
    char *const *argv;
    int streams[3];                                /* the runtime's own */
    int given[SFS_INIT_FD_END - SFS_INIT_PROGRAM]; /* init's */
    int life;                                      /* reads its end when this process ends */
    int space;
    bool holds_cores;       /* no core dump is to leave the sandbox */
    struct run_group group; /* what is open of it is a copy */
};

/* Executes the runtime, if it could be put into its group. Its standard error goes to its log; the
 * command's is one of init's descriptors. */
static _Noreturn void become_runtime(const struct start *start, int group_r)
{
    static const char refused[] = "the control group takes no processes any more\n";
    int from[SFS_INIT_FD_END];
    if (group_r < 0) {
        (void)sfs_io_write_all(start->streams[STDERR_FILENO], refused, sizeof refused - 1);
        _exit(126);
    }
    /* Of a limit of 1 the kernel starts no program with the core dump; of 0 it does (core(5)). Here
     * it can still be raised to that. */
    if (start->holds_cores)
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 });
    memcpy(from, start->streams, sizeof start->streams);
    memcpy(from + 3, start->given, sizeof start->given);
    for (int i = 0; i < SFS_INIT_FD_END; i++) {
        from[i] = fcntl(from[i], F_DUPFD, FIRST_FREE);
        if (from[i] < 0)
            _exit(126);
    }
    for (int i = 0; i < SFS_INIT_FD_END; i++)
        dup2(from[i], i);
    syscall(SYS_close_range, (unsigned)SFS_INIT_FD_END, UINT_MAX, 0);
    /* The command gets no keys of the user who started this. runc and crun take care of that,
     * too. */
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    execve(start->argv[0], start->argv, environ);
    _exit(127);
}

/* Closes all other files: above all the device of the mount, which lives as long as somebody has it
 * open. */
static void close_others(struct start *start)
{
    int *const kept[] = { &start->life, &start->space, &start->group.dir, &start->group.parent };
    const int count = sizeof kept / sizeof *kept;
    for (int i = 0; i < count; i++)
        *kept[i] = *kept[i] < 0 ? -1 : fcntl(*kept[i], F_DUPFD_CLOEXEC, FIRST_FREE);
    if (start->life < 0 || start->space < 0)
        _exit(126);
    for (int i = 0; i < count; i++)
        *kept[i] = *kept[i] < 0 ? -1 : dup3(*kept[i], 3 + i, O_CLOEXEC);
    syscall(SYS_close_range, 3u + (unsigned)count, UINT_MAX, 0);
}

/* The number that a text begins with; 0: none. */
static pid_t read_number(const char *text)
{
    pid_t number = 0;
    for (; *text >= '0' && *text <= '9' && number < 100000000; text++)
        number = number * 10 + (*text - '0');
    return number;
}

/* The number that a file begins with; 0: none. */
static pid_t read_pid(int dir, const char *name)
{
    char text[24] = "";
    AUTO(sfs_close_fd) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, text, sizeof text - 1) > 0 ? read_number(text) : 0;
}

/* The parent of a process, out of "1234 (name) S 1 ..."; -1: there is no such process. */
static pid_t parent_of(pid_t pid)
{
    char path[40], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    const char *state = n > 0 ? strrchr(text, ')') : NULL;
    return state && strlen(state) > 4 ? read_number(state + 4) : -1;
}

/* The runtime ends with the command, and cleans up. runc and crun write down who that is; of
 * bubblewrap it is the only child. Its own end is the command's only where both have one user: it
 * gives its rights up, and the kernel asks whether it may kill another user's process.
 *
 * By a descriptor, since another process may have got the number meanwhile: what is open is still
 * the command if it is the runtime's child. The runtime's own number stays until it is waited
 * for. */
static void kill_command(const struct start *start, pid_t runtime)
{
    char children[64];
    snprintf(children, sizeof children, "/proc/%d/task/%d/children", (int)runtime, (int)runtime);
    pid_t pid = read_pid(start->space, "pid");
    if (pid <= 1)
        pid = read_pid(AT_FDCWD, children);
    AUTO(sfs_close_fd) int command = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (command < 0 || parent_of(pid) != runtime ||
        syscall(SYS_pidfd_send_signal, command, SIGKILL, NULL, 0) < 0)
        kill(runtime, SIGKILL);
}

/* Ends what a runtime leaves that did not live to clean up. This is its parent then (a subreaper),
 * so that numbers stay until they are waited for. */
static void kill_orphans(void)
{
    char children[64];
    snprintf(children, sizeof children, "/proc/self/task/%d/children", (int)getpid());
    for (pid_t pid; (pid = read_pid(AT_FDCWD, children)) > 1;) {
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
}

/* The supervisor. It has a session of its own: signals of a terminal reach the command once, by way
 * of the process that was started in that terminal. */
static _Noreturn void supervise(struct start *start)
{
    sigset_t none;
    sigemptyset(&none);
    for (int i = 1; i < SIGRTMIN; i++)
        signal(i, SIG_DFL);
    setsid();
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    int group_r;
    pid_t runtime = sfs_run_group_fork(start->group.dir, &group_r);
    if (runtime < 0)
        _exit(126);
    if (runtime == 0) {
        sigprocmask(SIG_SETMASK, &none, NULL);
        become_runtime(start, group_r);
    }
    close_others(start);
    struct pollfd fds[2] = { { .fd = (int)syscall(SYS_pidfd_open, runtime, 0), .events = POLLIN },
                             { .fd = start->life, .events = POLLIN } };
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        continue;
    if (fds[1].revents && !fds[0].revents)
        kill_command(start, runtime);
    int status = 0;
    while (waitpid(runtime, &status, 0) < 0 && errno == EINTR)
        continue;
    kill_orphans();
    sfs_run_group_remove(&start->group);
    _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

/* ---- waiting ---- */

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

/* The signals of one kind, a bit each, out of a process's status. */
static uint64_t read_signals(const char *status, const char *kind)
{
    const char *line = strstr(status, kind);
    return line ? strtoull(line + strlen(kind), NULL, 16) : UINT64_MAX;
}

/* Would the process ignore a signal that should end it? The kernel keeps from the first process of
 * a pid namespace what it has no handler for, so that a plain program could not be ended: it is
 * killed from here instead. */
static bool is_deaf(pid_t pid, int number)
{
    char path[40];
    AUTO(sfs_free) char *text = NULL;
    size_t size;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (sfs_io_read_file(AT_FDCWD, path, 1u << 16, &text, &size, NULL) < 0)
        return false;
    const char *spaces = strstr(text, "\nNSpid:");
    if (!spaces)
        return false;
    const char *end = spaces + 1 + strcspn(spaces + 1, "\n");
    bool is_first = end[-1] == '1' && end[-2] == '\t';
    uint64_t heard = read_signals(text, "\nSigCgt:") | read_signals(text, "\nSigIgn:");
    return is_first && !(heard >> (number - 1) & 1);
}

/* Takes one signal, and hands it on. True: it asks for the end of everything. */
static bool take_signal(struct run *run, struct sfs_run_tty *tty)
{
    struct signalfd_siginfo info;
    if (read(run->signals, &info, sizeof info) != sizeof info)
        return false;
    const int number = (int)info.ssi_signo;
    if (number == SIGWINCH) {
        if (tty)
            sfs_run_tty_resize(tty);
        return false;
    }
    if (!run->request->hand_on || run->command <= 0)
        return true;
    const bool is_kept_from_it = !run->request->init && is_deaf(run->command, number);
    if (is_kept_from_it)
        run->killed_by = number;
    syscall(SYS_pidfd_send_signal, run->command_fd, is_kept_from_it ? SIGKILL : number, NULL, 0);
    return false;
}

static void hear(struct run *run, struct sfs_run_tty **tty)
{
    sfs_run_init_hear(run);
    if (run->terminal >= 0 && !*tty && sfs_run_tty_open(run->terminal, tty, NULL) < 0)
        sfs_close_fd(&run->terminal);
}

enum {
    POLL_CHILD,
    POLL_EVENTS,
    POLL_SIGNALS,
    POLL_INIT,
    POLL_STREAMS,
    POLL_TTY = POLL_STREAMS + SFS_RUN_STREAMS,
    POLL_END = POLL_TTY + SFS_RUN_TTY_POLLS
};

/* Waits until the child has ended. True: a signal asked for the end before. */
static bool watch(struct run *run, int child, struct sfs_run_tty **tty)
{
    for (;;) {
        struct pollfd fds[POLL_END] = {
            [POLL_CHILD] = { .fd = child, .events = POLLIN },
            [POLL_EVENTS] = { .fd = run->events[0], .events = POLLIN },
            [POLL_SIGNALS] = { .fd = run->signals, .events = POLLIN },
            [POLL_INIT] = { .fd = run->init.channel, .events = POLLIN },
        };
        sfs_run_streams_polls(run->streams, fds + POLL_STREAMS);
        if (*tty)
            sfs_run_tty_polls(*tty, fds + POLL_TTY);
        if (poll(fds, *tty ? POLL_END : POLL_TTY, -1) < 0 && errno != EINTR)
            return false;
        sfs_run_streams_pass(run->streams, fds + POLL_STREAMS);
        if (*tty)
            sfs_run_tty_pass(*tty, fds + POLL_TTY);
        if (fds[POLL_INIT].revents & POLLIN)
            hear(run, tty);
        else if (fds[POLL_INIT].revents)
            sfs_close_fd(&run->init.channel); /* its other end is gone */
        if (fds[POLL_CHILD].revents)
            return false;
        if ((fds[POLL_SIGNALS].revents && take_signal(run, *tty)) ||
            (fds[POLL_EVENTS].revents && sfs_run_wait_event(run, 0) == 'E'))
            return true;
    }
}

static int wait_for(struct run *run, pid_t child, int *life, int *ret_status)
{
    AUTO(sfs_close_fd) int watched = (int)syscall(SYS_pidfd_open, child, 0);
    AUTO(sfs_run_tty_close) struct sfs_run_tty *tty = NULL;
    bool interrupted = watched >= 0 && watch(run, watched, &tty);
    if (interrupted)
        sfs_close_fd(life);
    while (waitpid(child, ret_status, 0) < 0)
        if (errno != EINTR)
            return sfs_fail_errno(run->err, errno, "waiting for the command");
    while (run->init.channel >= 0 && sfs_run_init_hear(run))
        continue;
    if (tty)
        sfs_run_tty_drain(tty);
    int r = sfs_run_streams_drain(run->streams, run->err);
    return interrupted ? sfs_fail(run->err, EINTR, "interrupted") : r;
}

/* ---- starting ---- */

/* Prepares the command's streams; with a terminal of its own it gets none of ours. */
static int prepare_streams(struct run *run, struct start *start)
{
    const bool own = run->request->terminal, quiet = run->request->quiet_input;
    const int host[SFS_RUN_STREAMS] = { own || quiet ? -1 : STDIN_FILENO,
                                        own     ? -1
                                        : quiet ? STDERR_FILENO
                                                : STDOUT_FILENO,
                                        own && isatty(STDERR_FILENO) ? -1 : STDERR_FILENO };
    run->init.log = memfd_create("stagefs-log", MFD_CLOEXEC);
    if (run->init.log < 0)
        return sfs_fail_errno(run->err, errno, "making what the runtime writes to");
    int r = sfs_run_streams_open(host, &run->streams, run->err);
    if (r < 0)
        return r;
    start->streams[0] = run->streams->given[STDIN_FILENO];
    start->streams[1] = run->streams->given[STDOUT_FILENO];
    start->streams[2] = run->init.log;
    return 0;
}

int sfs_run_start(struct run *run, char *const *argv)
{
    const struct run_init *init = &run->init;
    int life[2];
    struct start start = { .argv = argv,
                           .space = run->space->fd,
                           .holds_cores = run->filter.holds_cores };
    int r = prepare_streams(run, &start);
    if (r < 0)
        return r;
    const int given[] = { init->program, init->spec, init->far_end,
                          run->streams->given[STDERR_FILENO] };
    memcpy(start.given, given, sizeof given);
    unlinkat(run->space->fd, "pid", 0);
    sfs_run_group_wait(&run->group, run->request->progress);
    start.group = run->group;
    if (pipe2(life, O_CLOEXEC) < 0)
        return sfs_fail_errno(run->err, errno, "making a pipe");
    AUTO(sfs_close_fd) int read_end = life[0];
    AUTO(sfs_close_fd) int write_end = life[1];
    start.life = read_end;
    pid_t child = fork();
    if (child < 0)
        return sfs_fail_errno(run->err, errno, "starting %s", argv[0]);
    if (child == 0)
        supervise(&start);
    sfs_close_fd(&read_end);
    sfs_close_fd(&run->init.far_end);
    sfs_run_streams_hand_over(run->streams);
    int status = 0;
    r = wait_for(run, child, &write_end, &status);
    if (r < 0)
        return r;
    run->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (run->killed_by && run->status == 128 + SIGKILL)
        run->status = 128 + run->killed_by;
    return 0;
}
