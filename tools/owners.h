/* Names of users and groups, as a stage's own etc/passwd and etc/group have them. */
#ifndef STAGEFS_OWNERS_H
#define STAGEFS_OWNERS_H

#include "tool.h"

/* One user or group. */
struct owner {
    uint32_t id;
    char *name;
};

struct owners { /* all-zero is empty: everybody is a number */
    struct owner *users, *groups;
    size_t user_count, group_count;
};

/* Reads both files, where they are there. Waits for their bytes. EIO and others: one could not be
 * read; what was read until then is kept. */
int owners_read(struct owners *owners, const struct sfs_tree *tree, struct sfs_error *err);
/* Frees what is in it. Fine on an all-zero struct. */
void owners_close(struct owners *owners);

/* The name of a user, borrowed; if there is none, the number, which is written into `number`. */
const char *owners_user(const struct owners *owners, uint32_t uid, char number[12]);
/* The same of a group. */
const char *owners_group(const struct owners *owners, uint32_t gid, char number[12]);

#endif
