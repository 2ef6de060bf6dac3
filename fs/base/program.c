#include "base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

static int add_streams(posix_spawn_file_actions_t *actions, const int streams[3])
{
    int code = 0;
    /* Those that are given first: /dev/null must not take the place of one. */
    for (int i = 0; i < 3 && code == 0; i++)
        if (streams[i] >= 0)
            code = posix_spawn_file_actions_adddup2(actions, streams[i], i);
    for (int i = 0; i < 3 && code == 0; i++)
        if (streams[i] < 0)
            code = posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0);
    return code;
}

int sfs_program_start(const char *const argv[], const int streams[3], pid_t *ret_pid)
{
    union {
        const char *const *from;
        char *const *argv; /* posix_spawnp() takes it so, and changes nothing */
    } words = { .from = argv };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int code = add_streams(&actions, streams);
    if (code == 0)
        code = posix_spawnp(ret_pid, argv[0], &actions, &attributes, words.argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -code;
}

int sfs_program_wait(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
