/* Starting a fresh process, reading its report, and ending it when its time is over. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define MAX_REPORT 8192u
#define MAX_STDERR 65536u

/* ---- the child's side */

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void tell(const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    size_t size = n < 0 ? 0 : (size_t)n < sizeof line - 1 ? (size_t)n : sizeof line - 2;
    for (size_t i = 0; i < size; i++)
        if (line[i] == '\n')
            line[i] = ' ';
    line[size] = '\n';
    ssize_t written = write(BENCH_REPORT_FD, line, size + 1);
    (void)written;
}

void bench_tell_value(const char *name, double seconds)
{
    tell("value %s %.9f", name, seconds);
}

void bench_tell_left_out(const char *name, const char *reason)
{
    tell("left %s %s", name, reason);
}

void bench_tell_failed(const char *reason)
{
    tell("failed %s", reason);
}

double bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void bench_tell_start(void)
{
    tell("start %.9f", bench_now());
}

/* ---- the parent's side */

struct tail {
    int fd;
    char *data;
    size_t size, room;
};

/* Reads what is there and keeps the last `room` bytes. Returns what read() did. */
static ssize_t read_tail(struct tail *tail)
{
    char buf[4096];
    ssize_t n = read(tail->fd, buf, sizeof buf);
    if (n <= 0)
        return n;
    size_t size = (size_t)n;
    if (tail->size + size >= tail->room) {
        size_t drop = tail->size + size + 1 - tail->room;
        if (drop > tail->size)
            drop = tail->size;
        memmove(tail->data, tail->data + drop, tail->size - drop);
        tail->size -= drop;
    }
    memcpy(tail->data + tail->size, buf, size);
    tail->size += size;
    tail->data[tail->size] = 0;
    return n;
}

static void add_value(struct bench_result *result, const char *name, double seconds)
{
    if (result->count == BENCH_MAX_VALUES)
        return;
    snprintf(result->values[result->count].name, sizeof result->values[0].name, "%.31s", name);
    result->values[result->count++].seconds = seconds;
}

static void add_left_out(struct bench_result *result, const char *name, const char *reason)
{
    unsigned i = result->left_out_count;
    if (i == BENCH_MAX_VALUES)
        return;
    snprintf(result->left_out[i].name, sizeof result->left_out[i].name, "%.31s", name);
    bench_fail(&result->left_out[i].reason, "%s", reason);
    result->left_out_count++;
}

static void take_line(char *line, struct bench_result *result, double *ret_start)
{
    char *rest = line;
    const char *kind = strsep(&rest, " ");
    if (!rest)
        return;
    if (strcmp(kind, "start") == 0) {
        *ret_start = strtod(rest, NULL);
    } else if (strcmp(kind, "failed") == 0) {
        result->failed = true;
        bench_fail(&result->reason, "%s", rest);
    } else {
        const char *name = strsep(&rest, " ");
        if (rest && strcmp(kind, "value") == 0)
            add_value(result, name, strtod(rest, NULL));
        else if (rest && strcmp(kind, "left") == 0)
            add_left_out(result, name, rest);
    }
}

/* The last line that says something. */
static const char *last_line(char *text)
{
    size_t size = strlen(text);
    while (size && strchr(" \n\r", text[size - 1]))
        text[--size] = 0;
    char *newline = strrchr(text, '\n');
    return newline ? newline + 1 : text;
}

static void judge_end(int status, bool timed_out, char *err_text, struct bench_result *result)
{
    if (result->failed)
        return;
    const char *said = last_line(err_text);
    result->failed = true;
    if (timed_out)
        bench_fail(&result->reason, "took longer than the time limit");
    else if (WIFSIGNALED(status))
        bench_fail(&result->reason, "crashed: %s%s%.150s", strsignal(WTERMSIG(status)),
                   *said ? ": " : "", said);
    else if (WEXITSTATUS(status) != 0)
        bench_fail(&result->reason, "exit status %d%s%.200s", WEXITSTATUS(status),
                   *said ? ": " : "", said);
    else
        result->failed = false;
}

static void set_environment(const struct bench_list *env)
{
    if (!env)
        return;
    clearenv();
    for (size_t i = 0; i < env->count; i++)
        putenv(env->items[i]);
}

static void be_child(const struct bench_child *child, int report, int err_end)
{
    struct bench_reason reason;
    /* A group of its own, so that a time-out ends all that it started. */
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(err_end, 2);
    dup2(report, BENCH_REPORT_FD); /* both ends are above 3: see open_pipe() */
    if (child->prepare && child->prepare(child->user, &reason) < 0) {
        bench_tell_failed(reason.text);
        _exit(1);
    }
    set_environment(child->env);
    if (child->prepare)
        bench_tell_start();
    execv(child->argv[0], child->argv);
    bench_fail(&reason, "%s: %s", child->argv[0], strerror(errno));
    bench_tell_failed(reason.text);
    _exit(127);
}

/* Ends that stay clear of 0..3, which the child's side wants. */
static int open_pipe(int ends[2])
{
    int raw[2];
    if (pipe2(raw, O_CLOEXEC) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        ends[i] = fcntl(raw[i], F_DUPFD_CLOEXEC, BENCH_REPORT_FD + 1);
        close(raw[i]);
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return ends[0] < 0 || ends[1] < 0 ? -1 : 0;
}

/* For kernels without pidfd_open. */
static bool has_ended(pid_t pid)
{
    siginfo_t info = { 0 };
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == pid;
}

/* Until the child ends; what it started may hold the pipes longer, and is not waited for. Returns
 * when it ended. */
static double wait_for_end(pid_t pid, struct tail *tails, unsigned timeout_s, int *ret_status,
                           bool *ret_timed_out)
{
    AUTO(sfs_close_fd) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    double deadline = bench_now() + timeout_s;
    struct pollfd polls[4] = { { .fd = pidfd, .events = POLLIN },
                               { .fd = tails[0].fd, .events = POLLIN },
                               { .fd = tails[1].fd, .events = POLLIN },
                               { .fd = bench_stop_fd(), .events = POLLIN } };
    *ret_timed_out = false;
    while (!(polls[0].revents & POLLIN) && !(pidfd < 0 && has_ended(pid))) {
        double left = deadline - bench_now();
        if (left <= 0 || bench_stopped()) {
            *ret_timed_out = true;
            kill(-pid, SIGKILL);
            kill(pid, SIGKILL);
            break;
        }
        if (poll(polls, 4, pidfd < 0 ? 1 : (int)(left * 1000) + 1) < 0)
            polls[0].revents = 0;
        for (int i = 1; i < 3 && !(polls[0].revents & POLLIN); i++)
            if (polls[i].revents && read_tail(&tails[i - 1]) == 0)
                polls[i].fd = -1;
    }
    double end = bench_now();
    while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
        ;
    kill(-pid, SIGKILL); /* what it left behind would disturb the next run */
    return end;
}

static void take_report(char *text, struct bench_result *result, double *ret_start)
{
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n")))
        take_line(line, result, ret_start);
}

void bench_child_run(const struct bench_child *child, struct bench_result *result)
{
    char report_text[MAX_REPORT] = "";
    AUTO(sfs_free) char *err_text = calloc(1, MAX_STDERR);
    int report[2] = { -1, -1 }, err[2] = { -1, -1 };
    *result = (struct bench_result){ 0 };
    if (!err_text || open_pipe(report) < 0 || open_pipe(err) < 0) {
        result->failed = true;
        bench_fail(&result->reason, "starting a process: %s", strerror(errno));
        return;
    }
    pid_t pid = fork();
    if (pid == 0)
        be_child(child, report[1], err[1]);
    close(report[1]);
    close(err[1]);
    struct tail tails[2] = { { report[0], report_text, 0, MAX_REPORT },
                             { err[0], err_text, 0, MAX_STDERR } };
    if (pid < 0) {
        result->failed = true;
        bench_fail(&result->reason, "fork: %s", strerror(errno));
    } else {
        int status;
        bool timed_out;
        double start = 0, end = wait_for_end(pid, tails, child->timeout_s, &status, &timed_out);
        /* Bounded: something that it left behind may write for ever. */
        for (int i = 0; i < 2; i++)
            for (int reads = 0; reads < 64 && read_tail(&tails[i]) > 0; reads++)
                ;
        take_report(report_text, result, &start);
        judge_end(status, timed_out, err_text, result);
        if (start > 0 && !result->failed)
            add_value(result, "total", end - start);
    }
    close(report[0]);
    close(err[0]);
}
