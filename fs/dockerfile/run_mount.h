/* RUN --mount, as BuildKit's instructions/commands_runmount.go reads it. */
#ifndef STAGEFS_RUN_MOUNT_H
#define STAGEFS_RUN_MOUNT_H

#include "dockerfile/expand.h"
#include <stdint.h>

enum mount_type { MOUNT_BIND, MOUNT_CACHE, MOUNT_TMPFS, MOUNT_SECRET, MOUNT_SSH };
enum mount_sharing { SHARING_NONE, SHARING_SHARED, SHARING_PRIVATE, SHARING_LOCKED };

struct mount_options { /* texts are owned; NULL: not given */
    enum mount_type type;
    char *from, *source, *target, *id, *env;
    bool read_only, required, has_mode, has_uid, has_gid;
    uint64_t size;
    uint32_t mode, uid, gid;
    enum mount_sharing sharing;
};

/* Reads "type=cache,target=$HOME/.cache,...", and expands the values. The caller closes
 * *ret_options. EINVAL. */
int sfs_mount_options_parse(const char *text, char escape, const struct sfs_vars *vars,
                            struct mount_options *ret_options, struct sfs_error *err);
/* Checks for what is wrong whatever the variables hold: also done for stages that nobody needs.
 * EINVAL. */
int sfs_mount_options_check(const char *text, struct sfs_error *err);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_mount_options_close(struct mount_options *options);

/* Reads the fields of one line of comma-separated values; quotes may enclose a field. EINVAL:
 * malformed. */
int sfs_csv_parse(const char *text, struct sfs_vars *fields, struct sfs_error *err);

#endif
