/* Inside of running a command: what its files share. All paths of `struct run` are relative to the
 * space's directory, which is the working directory of the thread that does it all. */
#ifndef STAGEFS_RUN_PARTS_H
#define STAGEFS_RUN_PARTS_H

#include "base/temp_dir.h"
#include <pthread.h>
#include <stagefs/run.h>
#include <time.h>

/* A temporary directory, locked as long as its process lives. */
struct sfs_run_space {
    struct sfs_temp_dir temp;
    const char *path; /* temp's, absolute */
    char *upper;      /* path/upper */
    int fd;           /* temp's */
};
int sfs_run_space_open(const char *dir, struct sfs_run_space **ret_space, struct sfs_error *err);
void sfs_run_space_close(struct sfs_run_space **space);

/* A name that had to be made for something to be mounted on it. */
struct run_stub {
    int parent; /* open directory; -1 after it was removed */
    char name[256];
    bool is_dir;
    struct timespec before, after; /* the parent's mtime around the making */
};

struct run_mount { /* of the sandbox */
    const char *target;
    char *source; /* absolute; NULL: tmpfs */
    bool is_dir, read_only;
    uint64_t limit; /* tmpfs */
};

struct run {
    const struct sfs_run_request *request;
    struct sfs_run_space *space;
    struct sfs_error *err;
    const struct sfs_tree **trees; /* the root's first; their numbers are names under fuse/ */
    size_t tree_count;
    int events[2];    /* pipe: 'R' the mount answers, 'E' serving has ended */
    bool has_ended;   /* 'E' was read */
    pthread_t server; /* valid if has_server */
    bool has_server;
    struct sfs_error server_err;
    int server_r;
    struct run_mount *mounts;
    size_t mount_count;
    struct run_stub *stubs;
    size_t stub_count;
    int root; /* merged/, open */
    int status;
    int result;
};

/* ---- run_stubs.c ---- */

/* Makes `target` in merged/ if it is not there. */
int sfs_run_stub(struct run *run, const char *target, bool is_dir);
/* Takes all of them away again, as far as they are empty. */
void sfs_run_unstub(struct run *run);
/* openat2() within a root. fd or -errno. */
int sfs_run_open_in(int root, const char *path, int flags);

/* ---- run_config.c ---- */

/* Writes bundle/config.json. */
int sfs_run_write_config(struct run *run);

/* ---- run_exec.c ---- */

/* Starts the command and waits for it: run->status. */
int sfs_run_exec(struct run *run);
/* Reads one event, waiting at most timeout_ms (-1: for ever); 0: none came. */
char sfs_run_wait_event(struct run *run, int timeout_ms);

#endif
