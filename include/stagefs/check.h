/* Running commands in a narrowed stage before it is trusted: what they look for there in vain,
 * though the whole stage has it, and keeping that too. */
#ifndef STAGEFS_CHECK_H
#define STAGEFS_CHECK_H

#include <stagefs/progress.h>
#include <stagefs/run.h>

#define SFS_CHECK_ROUNDS 20

struct sfs_check_command {
    const char *text;        /* what messages call it */
    const char *const *args; /* ended by NULL */
};

/* Borrowed during a call. */
struct sfs_check_spec {
    const struct sfs_check_command *commands;
    size_t command_count;
    const struct sfs_runner *runner;
    /* How they run. Its tree, args, trace_path, missing and user are not looked at. */
    const struct sfs_run_request *request;
    const struct sfs_tree *whole, *tree; /* before and after it was narrowed; may be the same */
    /* Narrows the stage anew, so that what the profile of this name tells is kept, too, and gives
     * the tree that is left, which lives as long as the first one. NULL: nothing is added. */
    int (*narrow)(void *user, const char *profile, const struct sfs_tree **ret_tree,
                  struct sfs_error *err);
    void *user;
    /* What was added is also written to this file, joined with the profile that it has. NULL:
     * nowhere. */
    const char *heal_path;
    const struct sfs_progress *progress; /* for warn(); may be NULL */
};

struct sfs_check_result {
    unsigned rounds; /* how often the commands ran */
    size_t added;    /* how many paths were added */
    uint64_t bytes;  /* of files that all commands read in the last round, decoded */
    size_t missing;  /* how many paths that the whole tree has were looked for in vain at last */
};

/* Runs the commands one after another in the tree. Where one fails, or looks in vain for what the
 * whole tree has, and `narrow` is there, what was missed is added and all run again, until all
 * succeed and nothing new is missed. As programs list directories, and so may miss what they never
 * look for, one that failed is also run in the whole tree, and what it uses there is added; if it
 * fails still, all names in the directories that it lists.
 * Without `narrow`, warn is told what was missed.
 * ECANCELED: a command failed, or there was no end of it in SFS_CHECK_ROUNDS; the words name the
 * command, its status and what it missed first. Else as sfs_runner.run and narrow fail. */
int sfs_check_run(const struct sfs_check_spec *check, struct sfs_check_result *ret_result,
                  struct sfs_error *err);

#endif
