/* What the files of the store share; for store*.c alone. */
#ifndef STAGEFS_STORE_PARTS_H
#define STAGEFS_STORE_PARTS_H

#include "layer/store.h"

struct sfs_store {
    char *dir;
};

/* Where files of a kind are: DIR/dir/KEYsuffix. */
struct sfs_store_place {
    const char *dir, *suffix;
};
#define SFS_STORE_KINDS (SFS_STORE_PACK + 1)
extern const struct sfs_store_place sfs_store_places[SFS_STORE_KINDS];
#define SFS_STORE_KEY sizeof((struct sfs_store_item *)0)->key

/* The file's name of a key: with '-' for ':', which is no good in names that people type. EINVAL:
 * it can be no name. */
int sfs_store_make_name(const char *key, const char *suffix, char name[SFS_STORE_KEY + 8],
                        struct sfs_error *err);
/* The key of a file's name. False: it is not the name of a file of that kind. */
bool sfs_store_read_name(const char *name, const char *suffix, char key[SFS_STORE_KEY]);
/* Takes from others what they may do with a file that is this user's. EPERM: it is another user's,
 * or no regular file. */
int sfs_store_check_file(int fd, const char *path, struct sfs_error *err);
/* Is the open file still the one of that path? Another process may have given the name to a new
 * one, or removed it. */
bool sfs_store_is_named(int fd, const char *path);
/* "....part" -> "....map". The caller frees; NULL: out of memory. */
char *sfs_store_map_of(const char *part);

#endif
