/* USER of a command that runs: "U[:G]" looked up as runtimes do, which is not as --chown does: a
 * number's group is the one that passwd says, or 0, and a name has to be there. */
#ifndef STAGEFS_RUN_USER_H
#define STAGEFS_RUN_USER_H

#include <stagefs/tree.h>

#define SFS_MAX_GROUPS 64

struct sfs_run_user {
    uint32_t uid, gid;
    uint32_t groups[SFS_MAX_GROUPS]; /* supplementary */
    size_t group_count;
    char home[256]; /* "/" if nothing says another */
};
/* text "": root. EINVAL: a name that is not there. */
int sfs_run_user_find(const char *text, const struct sfs_tree *tree, struct sfs_run_user *ret_user,
                      struct sfs_error *err);

#endif
