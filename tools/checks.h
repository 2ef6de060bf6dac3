/* Checks: commands that are run in a stage before it is written. */
#ifndef STAGEFS_CHECKS_H
#define STAGEFS_CHECKS_H

#include "run_request.h"

#include <stagefs/check.h>

struct check_args { /* zero it before use; the first ones are the options' targets */
    struct text_list commands;
    bool heal;
    const char *heal_profile;
    struct run_setup setup;
    struct sfs_check_result result; /* what they came to */
};
/* Adds the options of checks to those of a command, which has --user and --env of its own. */
void check_options(struct check_args *args, struct option_set *set);
/* Runs the checks in the session's stage, if there are any; with --heal the stage is narrowed anew
 * until they miss nothing. EINVAL: options that do not go together. ECANCELED: a check failed. */
int checks_run(struct check_args *args, struct session *session, struct sfs_error *err);
/* Frees what is in it. */
void check_args_done(struct check_args *args);

/* The words that run `text` in the stage: it is for the stage's shell, or a JSON array of words.
 * An array ended by NULL, which the caller frees. It borrows from `text` and from *ret_json, which
 * is the caller's to json_decref() after use. */
int command_words(const struct sfs_stage *stage, const char *text, const char ***ret_words,
                  struct json_t **ret_json, struct sfs_error *err);

#endif
