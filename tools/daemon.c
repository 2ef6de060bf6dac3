/* Going to the background. The child keeps terminal and process group until it reports, so that
 * until then both processes look like one from outside. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child ended without a word on the line; perhaps it said some on stderr. */
static int status_of_dead(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 1;
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return WEXITSTATUS(status);
    if (WIFSIGNALED(status))
        dprintf(STDERR_FILENO, "stagefs: the mount's process was killed by signal %d (%s)\n",
                WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        dprintf(STDERR_FILENO, "stagefs: the mount ended before it answered\n");
    return 1;
}

static _Noreturn void wait_for_report(pid_t pid, int fd)
{
    unsigned char status;
    ssize_t got;
    do
        got = read(fd, &status, 1);
    while (got < 0 && errno == EINTR);
    _exit(got == 1 ? status : status_of_dead(pid));
}

int daemon_start(int *ret_fd, struct sfs_error *err)
{
    /* A socket rather than a pipe: writing to it when the parent is gone need not be a signal. */
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return sfs_fail_errno(err, errno, "making a socket pair");
    fflush(NULL);
    pid_t pid = fork();
    if (pid > 0) {
        close(fds[1]);
        wait_for_report(pid, fds[0]);
    }
    int code = errno;
    close(fds[0]);
    if (pid < 0) {
        close(fds[1]);
        return sfs_fail_errno(err, code, "starting a process");
    }
    *ret_fd = fds[1];
    return 0;
}

/* Nothing of the terminal or of where the command was started is held any longer. */
static void detach(void)
{
    setsid();
    if (chdir("/") < 0) {
        /* Then that directory stays in use: no reason to give up a working mount. */
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = STDIN_FILENO; null >= 0 && i <= STDERR_FILENO; i++)
        dup2(null, i);
    if (null > STDERR_FILENO)
        close(null);
}

void daemon_report(int fd, int status)
{
    unsigned char byte = (unsigned char)status;
    fflush(NULL);
    if (status == 0)
        detach();
    ssize_t sent;
    do
        sent = send(fd, &byte, 1, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    /* Whoever ended the command before the mount answered wants no mount. */
    if (sent < 0)
        kill(getpid(), SIGTERM);
    close(fd);
}
