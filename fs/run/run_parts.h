/* The inside of running a command: what its files share. All paths of `struct run` are relative to
 * the space's directory, which is the working directory of the thread that does it all. */
#ifndef STAGEFS_RUN_PARTS_H
#define STAGEFS_RUN_PARTS_H

#include "base/temp_dir.h"
#include "base/buf.h"
#include <poll.h>
#include <pthread.h>
#include <stagefs/run.h>
#include <time.h>

/* A temporary directory, locked as long as its process lives. */
struct sfs_run_space {
    struct sfs_temp_dir temp;
    const char *path; /* temp.path, absolute */
    char *upper;      /* PATH/upper; owned */
    int fd;           /* temp.fd */
};
/* Makes one in `dir`, with the directories that a run needs. */
int sfs_run_space_open(const char *dir, struct sfs_run_space **ret_space, struct sfs_error *err);
/* Removes it with all in it, frees, and sets NULL; NULL is fine. */
void sfs_run_space_close(struct sfs_run_space **space);

struct run;

/* A name that had to be made for something to be mounted on it. */
struct run_stub {
    int parent; /* open directory; -1 after it was removed */
    char name[256];
    bool is_dir;
    struct timespec before, after; /* the parent's mtime around the making */
};

/* What init.c is started with; each is an open file, or -1. */
struct run_init {
    int program, spec;    /* memory files: init itself, and what it is told */
    int channel, far_end; /* the socket's two ends: ours, and init's */
    int log;              /* a file for what the runtime says */
};

/* The filter of system calls that a command may make, while a thread makes it. */
struct run_filter {
    struct sfs_store *store; /* where it is kept; NULL: it is not */
    pthread_t thread;
    bool runs; /* the thread is to be joined */
    int r;     /* what the thread came to: 0, or a negative errno with words in `err` */
    struct sfs_error err;
    struct sfs_buf program; /* an array of struct sock_filter */
    bool holds_cores;       /* `cores` is to be made: the limit of core dumps stays as it is */
    struct sfs_buf cores;   /* as `program`, and loaded before it */
};

/* The control group of a command whose runtime sets no limit by itself, while a thread makes it. */
struct run_group {
    pthread_t thread;
    bool runs;      /* the thread is to be joined */
    int r;          /* what the thread came to: 0, or a negative errno */
    unsigned limit; /* processes */
    int dir;        /* open, and locked (flock) so that nobody sweeps it; -1: there is none */
    int parent;     /* the group that it was made in, open */
    char name[32];  /* its name there */
};

/* One stream that is passed on by way of a pipe. */
struct run_copy {
    int own;      /* our end of the pipe; -1: there is none, or it has ended */
    int from, to; /* one of them is `own`, the other one the caller's */
    char data[16384];
    size_t start, size; /* of what was read and not yet written */
};

#define SFS_RUN_STREAMS 3
struct sfs_run_streams {
    int given[SFS_RUN_STREAMS]; /* the command's, until it is started; each open, or -1 */
    struct run_copy copies[SFS_RUN_STREAMS];
    int code; /* errno of the first that could not be passed on; 0: none */
};

struct run_runtime {
    const char *name;
    int (*run)(struct run *run, const char *program); /* starts the command and waits for it */
    bool ends_by_parent; /* it does not tell the command's process: that has to end with it */
    bool has_cgroups;    /* it sets the limits that config.json says by itself, where it can */
};

struct run {
    const struct sfs_run_request *request;
    struct sfs_run_space *space;
    struct sfs_error *err;
    const struct sfs_tree **trees; /* the root's first; their numbers are names under fuse/ */
    size_t tree_count;
    int events[2];    /* a pipe for bytes: 'R' the mount answers, 'E' serving has ended */
    bool has_ended;   /* 'E' was read */
    pthread_t server; /* valid if has_server */
    bool has_server;
    struct sfs_error server_err; /* the words of server_r */
    uint64_t server_bytes;       /* as ret_bytes of sfs_mount_options */
    int server_r;                /* what serving came to */
    size_t made_count;           /* how many names were made in memory/: the next one's number */
    struct run_stub *stubs;
    size_t stub_count;
    int root; /* merged/, open */
    const struct run_runtime *runtime;
    char *program;   /* the runtime's path */
    bool sets_limit; /* the runtime limits how many processes there are; else `group` does */
    struct run_init init;
    struct sfs_run_streams *streams; /* NULL: not made yet */
    struct run_filter filter;
    struct run_group group;
    int signals;     /* signalfd of the signals that are handed on, or that end everything */
    bool is_ready;   /* the sandbox stands: what happens from now on is the command's */
    bool has_failed; /* the command could not be started; `not_started` says why */
    struct sfs_error not_started;
    pid_t command;  /* 0: not known yet */
    int command_fd; /* the same process, opened by itself; -1: not known yet */
    int killed_by;  /* the signal that ended a command deaf to it; 0: none */
    int terminal;   /* the host's end; -1: none */
    int status;     /* as in struct sfs_run_result */
    int result;     /* 0 or a negative errno, with words in `err` */
};

/* ---- run_stubs.c ---- */

/* Makes `target` in merged/ if it is not there, and opens it (O_PATH): what is mounted on, found
 * inside the root whatever symlinks the image has. ENOTSUP, with words: it cannot be. */
int sfs_run_stub(struct run *run, const char *target, bool is_dir, int *ret_fd);
/* Removes all that was made for mounts, as far as it is empty. */
void sfs_run_unstub(struct run *run);
/* Opens a path by openat2() so that nothing leads out of `root`. An open file, or -errno. */
int sfs_run_open_in(int root, const char *path, int flags);

/* ---- run_mounts.c ---- */

/* Mounts all that the request asks for below merged/, and makes sure that /proc, /sys and /dev can
 * be mounted on. */
int sfs_run_mount_all(struct run *run);
/* Mounts an overlay, with options by which no image can steer it. */
int sfs_run_mount_overlay(struct run *run, const char *lower, const char *upper, const char *work,
                          const char *target);

/* ---- run_dev.c ---- */

/* Makes memory/dev, the command's /dev. */
int sfs_run_make_dev(struct run *run);

/* ---- run_confine.c: what a sandbox may do, whichever runtime makes it ---- */

/* The tables below are ended by NULL. */
struct run_capability {
    const char *name;
    int number;
};
extern const struct run_capability sfs_run_capabilities[];
/* One more, for init.c alone, which needs it to load a filter where setuid programs are to work. */
#define SFS_RUN_INIT_CAPABILITY "CAP_SYS_ADMIN"
extern const char *const sfs_run_masked_paths[];
extern const char *const sfs_run_read_only_paths[];
/* How many processes a command may have; podman's limit, too. */
#define SFS_RUN_MAX_PROCESSES 2048
/* Has the host one tree of control groups (version 2)? */
bool sfs_run_has_unified_cgroups(void);
/* Would the kernel start a program of the host with a core dump of the command? */
bool sfs_run_are_cores_piped(void);
/* Are setuid programs to work? */
static inline bool sfs_run_wants_suid(const struct run *run)
{
    return run->request->suid;
}

/* ---- run_seccomp.c ---- */

/* Starts making the program of the system calls that a command may make: by the list of this
 * machine's container tools, or a short one of our own; and `cores`, if it holds_cores. */
int sfs_run_filter_start(struct run_filter *filter, struct sfs_error *err);
/* Waits for the program. EBADMSG, with words in the filter's err: that list is malformed. */
int sfs_run_filter_wait(struct run_filter *filter);
/* Waits for the thread, and frees the program. */
void sfs_run_filter_close(struct run_filter *filter);
struct json_t;
/* Compiles one list for this processor: an array of struct sock_filter. */
int sfs_run_seccomp_make(struct json_t *list, struct sfs_buf *ret_program, struct sfs_error *err);
/* Makes the program by which setting the limit of core dumps does nothing, and says that it did. */
int sfs_run_seccomp_hold_cores(struct sfs_buf *ret_program, struct sfs_error *err);

/* ---- run_group.c ---- */

/* Starts making the group, and removes those of dead processes. */
int sfs_run_group_start(struct run_group *group, struct sfs_error *err);
/* Can runc, which looks in /sys/fs/cgroup, limit processes there? It fails where it cannot. */
bool sfs_run_group_is_for_runc(void);
/* Waits for the group. Where the host lets none be made, group->dir is -1, and `progress` (may be
 * NULL) has a note why, once in a process. */
void sfs_run_group_wait(struct run_group *group, const struct sfs_progress *progress);
/* As fork(), but the child is in the group that is open in `dir` (-1: wherever its parent is). In
 * the child, *ret_r is 0, or the negative errno for which it is not in there. Runs no handlers of
 * pthread_atfork(), and allocates nothing. */
pid_t sfs_run_group_fork(int dir, int *ret_r);
/* Removes the group, and closes what is open of it. Waits a moment for processes that are ending.
 * Allocates nothing. */
void sfs_run_group_remove(struct run_group *group);
/* Waits for the thread, and removes the group. */
void sfs_run_group_close(struct run_group *group);

/* ---- run_config.c ---- */

/* Writes bundle/config.json. */
int sfs_run_write_config(struct run *run);

/* ---- run_init.c ---- */

/* Makes a sealed file in memory with these bytes: an open file, or -errno with words. */
int sfs_run_memory_file(const char *name, const void *data, size_t size, struct sfs_error *err);
/* Opens all of run->init, and writes what the command is to be. */
int sfs_run_init_open(struct run *run);
/* Closes what is open of it. */
void sfs_run_init_close(struct run_init *init);
/* Takes one message of init, and answers it. False: there was none. Does not wait. */
bool sfs_run_init_hear(struct run *run);

/* ---- run_exec.c ---- */

/* Chooses the runtime: the one asked for, or the first that is installed. ENOENT: there is none. */
int sfs_run_choose(struct run *run);
/* Starts the command, and waits until it has ended: run->status. */
int sfs_run_exec(struct run *run);
/* Reads one byte of run->events; waits at most timeout_ms (-1: for ever). 0: none came. */
char sfs_run_wait_event(struct run *run, int timeout_ms);

/* ---- run_wait.c ---- */

/* Starts `argv` as the runtime and waits until it has ended: run->status. EINTR: a signal asked for
 * the end, and all has ended. */
int sfs_run_start(struct run *run, char *const *argv);

/* ---- run_streams.c: standard input, output and error of a command without a terminal ---- */

/* Makes what the command may hold (`given`): pipes, and the null device of memory/dev. `host` are
 * the caller's, borrowed until the streams are closed; -1: empty. */
int sfs_run_streams_open(const int host[SFS_RUN_STREAMS], struct sfs_run_streams **ret_streams,
                         struct sfs_error *err);
/* The command has been started: it alone holds what it was given. */
void sfs_run_streams_hand_over(struct sfs_run_streams *streams);
/* Accepts NULL. */
void sfs_run_streams_close(struct sfs_run_streams **streams);
/* What to wait for, and passing on what came. */
void sfs_run_streams_polls(const struct sfs_run_streams *streams,
                           struct pollfd polls[SFS_RUN_STREAMS]);
void sfs_run_streams_pass(struct sfs_run_streams *streams,
                          const struct pollfd polls[SFS_RUN_STREAMS]);
/* Passes on what the command left, at its end. Blocks while nobody takes it. Fails with words if
 * something of all that could not be read or written. */
int sfs_run_streams_drain(struct sfs_run_streams *streams, struct sfs_error *err);

/* ---- run_tty.c: the caller's terminal and the sandbox's ---- */

struct sfs_run_tty;
/* Joins the sandbox's terminal, which is borrowed, to the caller's, which is raw until the
 * close. */
int sfs_run_tty_open(int terminal, struct sfs_run_tty **ret_tty, struct sfs_error *err);
/* Sets back the caller's terminal. Accepts NULL. */
void sfs_run_tty_close(struct sfs_run_tty **tty);
/* To be called when the caller's window has another size: gives it to the sandbox's terminal. */
void sfs_run_tty_resize(struct sfs_run_tty *tty);

#define SFS_RUN_TTY_POLLS 2
/* Fills in what poll() is to wait for. */
void sfs_run_tty_polls(const struct sfs_run_tty *tty, struct pollfd polls[SFS_RUN_TTY_POLLS]);
/* Passes on what poll() says has come. Does not wait. */
void sfs_run_tty_pass(struct sfs_run_tty *tty, const struct pollfd polls[SFS_RUN_TTY_POLLS]);
/* Passes on what the command left, at its end. */
void sfs_run_tty_drain(struct sfs_run_tty *tty);

#endif
