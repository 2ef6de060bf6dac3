/* Which names of a tree are kept, and why: each kept name has a reason and the name that caused it,
 * and stands in a work list, so that rules can look at it and keep more because of it.
 *
 * A name is a place in the tree's array of names, not a node: of a file with several names only
 * those that are needed are kept. Directories above a kept name are kept with it. */
#ifndef STAGEFS_KEPT_H
#define STAGEFS_KEPT_H

#include "base/buf.h"
#include "tree/tree_inner.h"
#include <stagefs/slim.h>

typedef uint32_t
    sfs_name; /* a place in the tree's array of names; SFS_NO_NAME: the root, or none */
#define SFS_NO_NAME UINT32_MAX

struct sfs_kept_name { /* 12 bytes */
    sfs_node dir;      /* the directory that the name is in */
    uint32_t cause;    /* an sfs_name; of SFS_WHY_USED and SFS_WHY_PATTERN which profile or glob */
    uint8_t reason;    /* enum sfs_why; SFS_WHY_NOT: it is not kept */
    bool is_dropped;   /* it cannot be kept */
    bool is_opened;    /* a profile says that it was opened, not only looked for */
    bool is_own : 1;   /* the base lacks it, or has another there */
    bool is_changed : 1; /* the base has another there, which is back if this is not kept */
};

/* All-zero before sfs_kept_open(). Nothing that keeps returns an error: `failed` tells at the end.
 * One thread at a time; what only reads may be used by several. */
struct sfs_kept {
    const struct sfs_tree *tree;
    struct sfs_kept_name *names;
    uint32_t count;      /* of the tree's names */
    sfs_name *dir_names; /* by node: the name of a directory */
    sfs_name *queue;     /* what was kept, in that order */
    uint32_t kept_count, done_count;
    bool failed;           /* memory ran out on the way: what is here is not whole */
    struct sfs_buf passed; /* sfs_name of the way of the last resolution */
    sfs_name last;         /* what sfs_kept_add_path() found last */
};

/* Makes an empty set over the names of `tree`, which is borrowed; base: whose names are not the
 * stage's own. The caller closes it, after a failure too. E2BIG: more names than an sfs_name has.
 */
int sfs_kept_open(struct sfs_kept *kept, const struct sfs_tree *base, const struct sfs_tree *tree,
                  struct sfs_error *err);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_kept_done(struct sfs_kept *kept);

/* The entry of a name: its text, and its node. */
const struct sfs_dirent *sfs_kept_entry(const struct sfs_kept *kept, sfs_name name);
/* The place of an entry of the tree's array. */
sfs_name sfs_kept_place(const struct sfs_kept *kept, const struct sfs_dirent *entry);
/* Type and permissions of what the name stands for. */
uint32_t sfs_kept_mode(const struct sfs_kept *kept, sfs_name name);
/* Is it one that a profile has, and no directory? */
bool sfs_kept_is_used_file(const struct sfs_kept *kept, sfs_name name);
/* Appends the path of a name, with a '/' in front. 0 or -ENOMEM. */
int sfs_kept_path(const struct sfs_kept *kept, sfs_name name, struct sfs_buf *path);
/* Finds the name of a path as it stands, symlinks not followed. SFS_NO_NAME: there is none, or it
 * is the root. */
sfs_name sfs_kept_find(const struct sfs_kept *kept, const char *path);

/* Keeps a name, unless it is dropped, and the directories above it. The first reason stays, but a
 * better one takes the place of SFS_WHY_PARENT. */
void sfs_kept_add(struct sfs_kept *kept, sfs_name name, enum sfs_why why, uint32_t cause);

/* Keeps what a path leads to from directory `dir` on, and every symlink on the way. Without
 * SFS_RESOLVE_FOLLOW a symlink at the end stays the end. ENOENT: it leads nowhere (nothing is
 * kept). Sets `failed` where memory runs out, as do those below. */
int sfs_kept_add_path(struct sfs_kept *kept, sfs_node dir, const char *path, unsigned flags,
                      enum sfs_why why, uint32_t cause);

/* Keeps what a glob names from directory `dir` on: "*" and "?" inside of a name, "**" at the end
 * for all that is below, ".." for the directory above. Returns how many names it found, kept before
 * or not. */
size_t sfs_kept_add_glob(struct sfs_kept *kept, sfs_node dir, const char *glob, enum sfs_why why,
                         uint32_t cause);

/* Keeps all that is below a directory, and the directory. */
void sfs_kept_add_below(struct sfs_kept *kept, sfs_node dir, enum sfs_why why, uint32_t cause);

#endif
