/* Handlers that hand SIGINT and SIGTERM on to the child at work. */
#include "ending.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

static volatile sig_atomic_t came, at_work;

/* A child that is told twice (the terminal tells it too) ends once. */
static void end(int number)
{
    int code = errno;
    if (!came)
        came = number;
    if (at_work > 0)
        kill(at_work, number);
    errno = code;
}

static void handle(void (*handler)(int number))
{
    struct sigaction action = { .sa_handler = handler };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void ending_watch(void)
{
    handle(end);
}

void ending_unwatch(void)
{
    handle(SIG_DFL);
    came = at_work = 0;
}

int ending_signal(void)
{
    return came;
}

void ending_begin(pid_t child)
{
    at_work = child;
    if (came && child > 0) /* before it was known whom to tell */
        kill(child, came);
}

int ending_finish(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    at_work = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int ending_wait(pid_t child)
{
    ending_begin(child);
    return ending_finish(child);
}
