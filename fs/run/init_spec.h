/* What the program inside the sandbox (init.c) is told, and how it answers: the descriptors that it
 * is started with, the memory file that says what to run, and two messages. Both ends are of one
 * build, so this is no format to be kept. */
#ifndef STAGEFS_INIT_SPEC_H
#define STAGEFS_INIT_SPEC_H

#include <stdint.h>

/* The descriptors that are open in init from the start. The command gets none of them. */
enum sfs_init_fd {
    SFS_INIT_PROGRAM = 3, /* the program of init itself */
    SFS_INIT_SPEC,        /* struct sfs_init_spec and what follows it */
    SFS_INIT_CHANNEL,     /* a socket that keeps messages apart */
    SFS_INIT_STDERR,      /* the command's standard error; the runtime's own goes elsewhere */
    SFS_INIT_FD_END,
};

enum sfs_init_flag {
    SFS_INIT_TERMINAL = 1 << 0,        /* a terminal of the sandbox is standard input and output */
    SFS_INIT_TERMINAL_STDERR = 1 << 1, /* that terminal is standard error, too */
    SFS_INIT_REAP = 1 << 2,            /* stay as the parent of the command */
    SFS_INIT_NO_NEW_PRIVILEGES = 1 << 3, /* setuid programs are not to work */
    /* Ask the kernel to be killed with the parent: it forgets that when the user changes. */
    SFS_INIT_END_WITH_PARENT = 1 << 4,
    SFS_INIT_HOLD_CORES =
        1 << 5, /* one more filter comes first: it holds the limit of core dumps */
};

/* Followed by the groups, then by strings that end with NUL: the directory to begin in, the
 * arguments, the environment. */
struct sfs_init_spec {
    uint64_t capabilities; /* those that the command keeps, a bit each */
    uint32_t flags, uid, gid, group_count, arg_count, env_count;
};

/* What init sends: READY, with itself as an open process beside it, and with the terminal's other
 * end if one was asked for; then it waits for the program that filters system calls, or for two;
 * and one of FAILED if the command could not be started. */
#define SFS_INIT_MAX_FILTER 32768 /* bytes: as many steps as the kernel takes */
#define SFS_INIT_MAX_FDS    2     /* open files beside a message */
enum sfs_init_what {
    SFS_INIT_READY,
    SFS_INIT_FAILED_SETUP, /* the user, the terminal: not the command's fault */
    SFS_INIT_FAILED_DIRECTORY,
    SFS_INIT_FAILED_COMMAND,
};
struct sfs_init_message {
    uint32_t what, code; /* errno */
};

#endif
