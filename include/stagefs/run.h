/* Running a command with a tree as its root file system: a writable kernel overlay over a mount of
 * the tree, in a sandbox made by an OCI runtime or bubblewrap. What RUN and `stagefs run` do. Takes
 * root.
 *
 * The mounts are made in a mount namespace of their own, so that they go with the process, whatever
 * ends it. */
#ifndef STAGEFS_RUN_H
#define STAGEFS_RUN_H

#include <stagefs/cache.h>
#include <stagefs/error.h>
#include <stagefs/mount.h>
#include <stagefs/nvidia.h>
#include <stagefs/progress.h>
#include <stagefs/tree.h>

enum sfs_run_mount_kind {
    SFS_RUN_TREE,  /* a file or directory of a tree */
    SFS_RUN_HOST,  /* a file or directory of this machine */
    SFS_RUN_TMPFS, /* an empty directory in memory */
    SFS_RUN_TEXT,  /* a file that is never on a disk */
};

struct sfs_run_mount {
    enum sfs_run_mount_kind kind;
    const char *target;          /* absolute, in the sandbox */
    bool read_only;              /* of a TREE that is not: what is written is dropped */
    const struct sfs_tree *tree; /* TREE */
    const char *source;          /* TREE: a path in it; HOST: absolute */
    uint64_t limit;              /* TMPFS: bytes; 0: the kernel's default */
    const void *data;            /* TEXT: the bytes of the file */
    size_t size;                 /* TEXT: how many they are */
    uint32_t uid, gid, mode;     /* TEXT: the owner and the permission bits of the file */
};

struct sfs_run_request {
    const struct sfs_tree *tree;
    const char *const *args; /* ended by NULL, as is env */
    const char *const *env;  /* "NAME=VALUE" each */
    const char *cwd;
    uint32_t uid, gid;      /* whom it runs as */
    const uint32_t *groups; /* supplementary groups */
    size_t group_count;
    const struct sfs_run_mount *mounts;
    size_t mount_count;
    /* GPUs that the command may use: their device files, which nothing else of /dev joins, and the
     * driver's libraries in SFS_NVIDIA_LIBRARIES, all read-only. NULL: none. */
    const struct sfs_nvidia *nvidia;
    bool no_network;     /* else this machine's */
    bool quiet_input;    /* standard input is empty, and standard output goes to standard error */
    bool suid;           /* setuid programs work, where the runtime can (bubblewrap cannot) */
    bool init;           /* a small init stays above it: it reaps orphans, and hands signals on */
    bool terminal;       /* a terminal of its own, joined to standard input and output */
    bool hand_on;        /* SIGINT, SIGTERM, SIGHUP and SIGQUIT are the command's, not the end */
    const char *runtime; /* "runc", "crun" or "bwrap"; NULL: the first that is installed */
    /* What the command used of the tree is written to this file, unless it could not be started;
     * NULL: nowhere. */
    const char *trace_path;
    bool trace_append, trace_pages; /* as in mount.h */
    /* What the command looked for in the tree in vain, as in mount.h; not called if the command
     * could not be started. May be NULL. */
    void (*missing)(void *user, const char *path, const char *who);
    void *user;                  /* handed to missing */
    const char *const *profiles; /* what it is known to use, to be fetched ahead (mount.h) */
    size_t profile_count;
    enum sfs_front front;                /* who is asked for the tree's files (mount.h) */
    bool learn;                          /* as in mount.h; needs the store */
    uint64_t pack_limit;                 /* as in mount.h */
    const char *work_dir;                /* a directory for what is written: sfs_store_work_dir() */
    struct sfs_store *store;             /* what takes time to make is kept there; may be NULL */
    const struct sfs_progress *progress; /* for warn(); may be NULL */
};

/* The user of a command that runs: "U[:G]" is looked up as runtimes do, and not as --chown does:
 * the group of a numeric user is the one that etc/passwd says, or 0, and a name must be in
 * etc/passwd. */
#define SFS_MAX_GROUPS 64
struct sfs_run_user {
    uint32_t uid, gid;
    uint32_t groups[SFS_MAX_GROUPS]; /* supplementary */
    size_t group_count;
    char home[256]; /* "/" if nothing says another */
};
/* Finds the user that `text` names in the tree's etc/passwd and etc/group; "": root. EINVAL: a name
 * that is not there. */
int sfs_run_user_find(const char *text, const struct sfs_tree *tree, struct sfs_run_user *ret_user,
                      struct sfs_error *err);

/* Does the tree have such a program: at its path, from cwd, or in `dirs` (as PATH is written; may
 * be NULL)? */
bool sfs_run_finds(const struct sfs_tree *tree, const char *program, const char *dirs,
                   const char *cwd);

/* Whoever changes what a command sees of its surroundings raises this number: results of RUN that
 * were kept with another number are not used. */
#define SFS_RUN_CONFINEMENT 3

/* What the command wrote, on disk. */
struct sfs_run_space;

struct sfs_run_result {
    /* The command's; 128 + n if signal n ended it; 127 if there is no such command, 126 if it
     * cannot be executed: the reason is then in not_started, which else is empty. */
    int status;
    struct sfs_error not_started;
    struct sfs_run_space *space; /* the caller's, for `discard`; NULL: nothing was kept */
    uint64_t bytes;    /* of files that were read of the trees, decoded, those fetched ahead too */
    const char *upper; /* the overlay's upper directory; lives as long as the space */
};

struct sfs_runner {
    /* Waits until the command ends, whatever its status; a space comes out only with 0 as status,
     * or if the request asks for nothing of it. ENOENT: no runtime is installed. EPERM: not root.
     * ENOTSUP: something cannot be mounted where it should be. EINTR: SIGINT, SIGTERM or SIGHUP
     * came (unless ignored or handed on); all is cleaned up. EIO: the runtime could not start the
     * command. */
    int (*run)(const struct sfs_run_request *request, struct sfs_run_result *ret_result,
               struct sfs_error *err);
    /* Removes what was written, and sets *space to NULL. */
    void (*discard)(struct sfs_run_space **space);
};

/* The first installed of runc, crun, bubblewrap, or the one asked for; no other one is tried after
 * it. All of them give the same confinement (docs/security.md). */
extern const struct sfs_runner sfs_sandbox;

#endif
