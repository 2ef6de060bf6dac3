/* --chmod and --chown values, as BuildKit reads them. */
#ifndef STAGEFS_CHMOD_H
#define STAGEFS_CHMOD_H

#include <stagefs/tree.h>

struct sfs_chmod; /* a parsed --chmod */
/* Reads a --chmod: octal 0..07777, or symbolic (BSD setmode(3) with umask 0). The caller closes
 * *ret_chmod. EINVAL: "invalid chmod parameter ...". */
int sfs_chmod_open(const char *text, struct sfs_chmod **ret_chmod, struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. */
void sfs_chmod_close(struct sfs_chmod **chmod);
/* Was it written as an octal number? */
bool sfs_chmod_is_octal(const struct sfs_chmod *chmod);
/* The permission bits (07777) that a file of this mode gets; `mode` has its type, and a symlink's
 * bits stay. */
uint32_t sfs_chmod_apply(const struct sfs_chmod *chmod, uint32_t mode);

struct sfs_owner {
    uint32_t uid, gid;
    /* A name was not found. Where it was the user, both are 0; where it was the group, the user's
     * group stays. */
    bool missing;
    char missing_name[64]; /* the first one that was not found */
};
/* Reads a --chown: "U[:G]", with names looked up in etc/passwd and etc/group of `tree` (read inside
 * the tree, regular files of at most 10 MiB). tree NULL: no names but root (EINVAL for others). */
int sfs_owner_parse(const char *text, const struct sfs_tree *tree, struct sfs_owner *ret_owner,
                    struct sfs_error *err);

#endif
