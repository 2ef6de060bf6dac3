/* What commit and slim share: a stage that is checked and written, by the same options. */
#ifndef STAGEFS_COMMITTING_H
#define STAGEFS_COMMITTING_H

#include "checks.h"

#include <stagefs/commit.h>

struct commit_args { /* zero it before use, but for timestamp */
    struct session session;
    const char *destination, *compression;
    enum sfs_compression format; /* that `compression` names */
    long level, timestamp;       /* timestamp -1: not given */
    bool squash, dry_run, index;
    struct check_args checks;
    struct text_list env, labels, annotations, profiles;
    const char *entrypoint, *cmd, *user, *workingdir, *author;
    struct sfs_edit *edits; /* owned: what the options above come to */
    size_t edit_count;
    char **texts; /* owned: values out of the environment */
    size_t text_count;
};

/* Options of slim alone; zero it before use. */
struct slim_args {
    struct text_list commands; /* that are traced */
    const char *profile;       /* where the profile is kept; NULL: nowhere */
    bool no_heal, fast;
    char *path;            /* of the profile; owned */
    bool is_temporary;     /* it is removed at the end */
    uint64_t traced_bytes; /* of files that the commands read in the whole stage */
};
/* Adds them to the set. */
void slim_options(struct slim_args *slim, struct option_set *set);
/* With a stage that was opened and not narrowed: traces the commands in it, and narrows it. The
 * checks are those commands, unless there are others. ECANCELED: a command failed. */
int slim_prepare(struct slim_args *slim, struct commit_args *args, struct sfs_error *err);
/* Prints the table: what was, and what was written (`written`). Measures what it does not know yet,
 * by commits that write nothing. An exit status, or -errno. */
int slim_report(struct slim_args *slim, struct commit_args *args,
                const struct sfs_commit_result *written, struct sfs_error *err);
/* Frees what is in it, and removes a profile that nobody keeps. */
void slim_args_done(struct slim_args *slim);

/* Makes a setup run commands as the image will say: with what the options of commit set, unless
 * they remove it. */
int commit_setup(const struct commit_args *args, struct run_setup *setup, struct sfs_error *err);
/* Writes the stage, or measures it and writes nothing. Fails as sfs_commit(). */
int commit_stage(const struct commit_args *args, bool dry_run, struct sfs_commit_result *ret_result,
                 struct sfs_error *err);
/* Bytes of the blobs of what the selection was taken from; 0: it cannot be told. */
uint64_t commit_builder_size(const struct commit_args *args);
/* The commands' common body; slim NULL: commit. */
int commit_command(const struct command *command, struct slim_args *slim, int argc, char **argv);

#endif
