/* Directories under temporary names. They are made, swept and removed by descriptors: whoever may
 * write beside them cannot have anything else followed or removed. Locked (flock) while they are
 * filled, so that a sweep can tell one that is in use from one that a killed process left. */
#ifndef STAGEFS_TEMP_DIR_H
#define STAGEFS_TEMP_DIR_H

#include "base/io.h"

struct sfs_temp_dir { /* { .fd = -1, .parent = -1 } before use */
    char *path;       /* absolute if the parent's was; owned */
    int fd;           /* the directory itself, open and locked */
    int parent;       /* the directory that it is in, open */
    char name[64];    /* its name there */
};

/* Makes a directory in `parent`, mode 0700; the caller closes it. Where
 * `parent` is this user's alone to write to, those whose maker is gone are removed first; elsewhere
 * nothing is. Waits for the disk. */
int sfs_temp_dir_open(struct sfs_temp_dir *temp, const char *parent, struct sfs_error *err);
/* Writes all to disk and renames it to `path`, which may be an empty directory. EEXIST: it is not
 * empty. */
int sfs_temp_dir_commit(struct sfs_temp_dir *temp, const char *path, struct sfs_error *err);
/* Removes it and all in it if it was not committed. */
void sfs_temp_dir_close(struct sfs_temp_dir *temp);

/* A directory of this user's alone in one that others may write to too: DIR/stagefs-UID, mode 0700,
 * made if it is not there. The caller frees *ret_path, which is absolute. EPERM: others could put
 * another one in its place, or have. */
int sfs_temp_dir_home(const char *dir, char **ret_path, struct sfs_error *err);

/* rm -rf of a name in an open directory, within one mount, however deep. Follows no symlink. What
 * cannot be removed stays; nothing is told. */
void sfs_temp_remove(int dirfd, const char *name);

/* The directory that `path` is in, as text; "." where there is no '/'. The caller frees; NULL: out
 * of memory. */
char *sfs_parent_of(const char *path);

#endif
