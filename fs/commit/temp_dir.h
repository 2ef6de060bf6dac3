/* A directory under a temporary name, beside the place where it will appear. Locked (flock) while
 * it is filled, so that a sweep can tell one that is in use from one that was left behind. */
#ifndef STAGEFS_TEMP_DIR_H
#define STAGEFS_TEMP_DIR_H

#include "base/io.h"

struct sfs_temp_dir { /* { .fd = -1 } before use */
    char *path;       /* owned */
    int fd;
};

/* Also removes those in `parent` whose maker is gone. Mode 0700. */
int sfs_temp_dir_open(struct sfs_temp_dir *temp, const char *parent, struct sfs_error *err);
/* Writes all to disk and renames it to `path`, which may be an empty directory. EEXIST: it is not
 * empty. */
int sfs_temp_dir_commit(struct sfs_temp_dir *temp, const char *path, struct sfs_error *err);
/* Removes it and all in it if it was not committed. */
void sfs_temp_dir_close(struct sfs_temp_dir *temp);

/* The directory that `path` is in; the caller frees. */
char *sfs_parent_of(const char *path);

#endif
