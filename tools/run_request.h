/* How a command is run in a stage: what the stage's config says, and what options say instead. For
 * the commands that run something (run, trace, the checks of commit). */
#ifndef STAGEFS_RUN_REQUEST_H
#define STAGEFS_RUN_REQUEST_H

#include "tool.h"

#include <stagefs/run.h>

struct run_setup { /* all-zero is empty; the first ones are the options' targets */
    struct text_list env, writable;
    const char *user, *workdir, *runtime;
    bool gpu;
    struct session *session; /* borrowed */
    struct json_t *config; /* the stage's when it was prepared, kept alive: narrowing replaces it */
    struct sfs_run_user who;
    const char **own_command;     /* the image's, ended by NULL; the words are the config's */
    const char **envs;            /* the stage's and --env's, ended by NULL */
    struct sfs_run_mount *mounts; /* of --rw */
    struct sfs_nvidia *nvidia;    /* of --gpu; owned */
    char **kept;                  /* texts that mounts point to */
    size_t kept_count;
};

/* Makes the request for the stage of the session, which is open, but for its args. The request
 * borrows from the setup and the session. EINVAL: a user, or a GPU. ENOENT: a directory of --rw.
 * ENODEV: --gpu, and there is no GPU. */
int run_setup_prepare(struct run_setup *setup, struct session *session,
                      struct sfs_run_request *ret_request, struct sfs_error *err);
/* With a prepared setup: the command that the stage's config says, ENTRYPOINT and CMD, which the
 * setup owns. EINVAL: it says none. */
int run_setup_own_command(struct run_setup *setup, const char *const **ret_command,
                          struct sfs_error *err);
/* Makes a file's name absolute, which the setup then owns: names are given to a thread with a
 * working directory of its own. NULL and "-" stay. */
int run_setup_absolute(struct run_setup *setup, const char **path, struct sfs_error *err);
/* Frees what is in it. */
void run_setup_done(struct run_setup *setup);

#endif
