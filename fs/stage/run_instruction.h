/* One RUN: shared by run_instruction.c and run_sources.c. */
#ifndef STAGEFS_RUN_INSTRUCTION_H
#define STAGEFS_RUN_INSTRUCTION_H

#include "stage/evaluate.h"
#include "stage/run_mount.h"
#include <stagefs/run.h>

struct run_job {
    struct build *build;
    struct build_stage *stage;
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
int build_run_mounts(struct run_job *job);

#endif
