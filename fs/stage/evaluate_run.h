/* One RUN: shared by evaluate_run.c, evaluate_run_mounts.c, run_key.c and run_kept.c
 * (together with run_kept.h: what is kept of it). */
#ifndef STAGEFS_EVALUATE_RUN_H
#define STAGEFS_EVALUATE_RUN_H

#include "stage/evaluate.h"
#include "dockerfile/run_mount.h"
#include <stagefs/run.h>

struct run_job {
    struct eval *eval;
    struct eval_stage *stage;
    const struct sfs_instruction *instruction;
    const struct sfs_tree *tree; /* what the command sees; borrowed from the stage */
    json_t *args;                /* the command, as a JSON array; owned */
    const char **argv;           /* the texts of args, ended by NULL */
    struct sfs_vars env;         /* its environment */
    struct sfs_run_user user;
    struct sfs_run_mount script;   /* the file of a heredoc with "#!"; target NULL: none */
    struct mount_options *options; /* of each --mount */
    size_t option_count;
    struct sfs_run_mount *mounts; /* what the runner is to mount */
    size_t mount_count;
    int *locks; /* open files that lock caches; closed when the command has ended */
    size_t lock_count;
    const char *work_dir;  /* sfs_store_work_dir() */
    bool has_key;          /* `key` is set */
    struct sfs_digest key; /* of all that the result depends on */
};

/* ---- evaluate_run_mounts.c ---- */

/* Reads the instruction's --mount flags into job->options: nothing is made, locked or looked up. */
int sfs_eval_run_options(struct run_job *job);
/* Finds what a mount of type bind shows; evaluates the stage that it is from. */
int sfs_eval_run_bind(struct run_job *job, const struct mount_options *options,
                      const struct sfs_tree **ret_tree, const char **ret_path, sfs_node *ret_node);
/* Fills job->mounts from job->options, for the command to be run: caches are made and locked,
 * secrets are read, and may add to job->env. */
int sfs_eval_run_mounts(struct run_job *job);

/* ---- evaluate_run.c ---- */

/* May the command reach this machine's network? */
bool sfs_eval_run_has_network(const struct run_job *job);

#endif
