#include "daemon.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* What somebody sees who starts a command that goes to the background. */
struct seen {
    int status;
    char words[256]; /* its stderr, to the end: all that held it have let go */
};

/* `child` runs in the background half; what it returns is its exit status. */
static struct seen run_daemon(int (*child)(int fd))
{
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        struct sfs_error err;
        int fd;
        if (daemon_start(&fd, &err) < 0)
            _exit(99);
        _exit(child(fd));
    }
    close(fds[1]);
    struct seen seen = { 0 };
    size_t size = 0;
    ssize_t got;
    while ((got = read(fds[0], seen.words + size, sizeof seen.words - 1 - size)) > 0)
        size += (size_t)got;
    close(fds[0]);
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status));
    seen.status = WEXITSTATUS(status);
    return seen;
}

static int report_success(int fd)
{
    daemon_report(fd, 0);
    return 0;
}

Test(daemon, parent_exits_when_the_child_reports)
{
    struct seen seen = run_daemon(report_success);
    cr_assert_eq(seen.status, 0);
    cr_assert_str_eq(seen.words, "");
}

static int report_failure(int fd)
{
    dprintf(STDERR_FILENO, "no\n");
    daemon_report(fd, 3);
    return 0;
}

Test(daemon, parent_exits_with_the_status_reported)
{
    struct seen seen = run_daemon(report_failure);
    cr_assert_eq(seen.status, 3);
    cr_assert_str_eq(seen.words, "no\n");
}

static int fail_with_words(int fd)
{
    (void)fd;
    dprintf(STDERR_FILENO, "stagefs: no such tag\n");
    return 2;
}

Test(daemon, parent_exits_as_a_child_that_failed)
{
    struct seen seen = run_daemon(fail_with_words);
    cr_assert_eq(seen.status, 2);
    cr_assert_str_eq(seen.words, "stagefs: no such tag\n");
}

static int die(int fd)
{
    (void)fd;
    raise(SIGKILL);
    return 0;
}

Test(daemon, parent_says_that_the_child_was_killed)
{
    struct seen seen = run_daemon(die);
    cr_assert_eq(seen.status, 1);
    cr_assert_str_eq(seen.words, "stagefs: the mount's process was killed by signal 9 (Killed)\n");
}

static int leave_silently(int fd)
{
    (void)fd;
    return 0;
}

Test(daemon, parent_does_not_take_a_silent_end_for_success)
{
    struct seen seen = run_daemon(leave_silently);
    cr_assert_eq(seen.status, 1);
    cr_assert_str_eq(seen.words, "stagefs: the mount ended before it answered\n");
}

/* Tells on a file what the child is after its report. */
static char told_path[] = "/tmp/stagefs-daemon-XXXXXX";

static int tell_surroundings(int fd)
{
    int told = open(told_path, O_WRONLY | O_CLOEXEC);
    daemon_report(fd, 0);
    char cwd[64];
    struct stat null, out;
    bool nowhere = stat("/dev/null", &null) == 0;
    for (int i = 0; i < 3; i++)
        nowhere = nowhere && fstat(i, &out) == 0 && out.st_rdev == null.st_rdev;
    dprintf(told, "%s %s %s.", getcwd(cwd, sizeof cwd), getsid(0) == getpid() ? "leads" : "follows",
            nowhere ? "null" : "held");
    return 0;
}

Test(daemon, child_lets_go_of_directory_terminal_and_files)
{
    int fd = mkstemp(told_path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(run_daemon(tell_surroundings).status, 0);
    char told[128] = "";
    struct timespec pause = { .tv_nsec = 1000000 };
    while (!strchr(told, '.')) { /* the child goes on behind its report */
        nanosleep(&pause, NULL);
        cr_assert_geq(pread(fd, told, sizeof told - 1, 0), 0);
    }
    unlink(told_path);
    cr_assert_str_eq(told, "/ leads null.");
}

static volatile sig_atomic_t asked_to_end;

static void note_end(int number)
{
    (void)number;
    asked_to_end = 1;
}

/* The parent was killed while the child got ready: its report finds nobody. */
Test(daemon, child_is_asked_to_end_if_nobody_waits_for_its_report)
{
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int fd;
        if (daemon_start(&fd, NULL) < 0)
            _exit(99);
        signal(SIGTERM, note_end);
        pid_t parent = getppid();
        kill(parent, SIGKILL);
        struct timespec pause = { .tv_nsec = 1000000 };
        while (getppid() == parent)
            nanosleep(&pause, NULL);
        daemon_report(fd, 0);
        dprintf(fds[1], asked_to_end ? "ends" : "stays");
        _exit(0);
    }
    close(fds[1]);
    char told[16] = "";
    cr_assert_gt(read(fds[0], told, sizeof told - 1), 0);
    cr_assert_str_eq(told, "ends");
    waitpid(pid, NULL, 0);
}
