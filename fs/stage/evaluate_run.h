/* One RUN: shared by evaluate_run.c and evaluate_run_mounts.c. */
#ifndef STAGEFS_EVALUATE_RUN_H
#define STAGEFS_EVALUATE_RUN_H

#include "stage/evaluate.h"
#include "dockerfile/run_mount.h"
#include <stagefs/run.h>

struct run_job {
    struct eval *eval;
    struct eval_stage *stage;
    const struct sfs_instruction *instruction;
    json_t *args;
    const char **argv; /* texts of args, ended by NULL */
    struct sfs_vars env;
    struct sfs_run_user user;
    struct sfs_run_mount script; /* of a heredoc with "#!"; target NULL: none */
    struct mount_options *options;
    size_t option_count;
    struct sfs_run_mount *mounts;
    size_t mount_count;
    int *locks; /* of caches, held until the command has ended */
    size_t lock_count;
    const char *work_dir;
};

/* Fills job->mounts from the instruction's --mount flags; secrets may add to job->env. */
int sfs_eval_run_mounts(struct run_job *job);

#endif
