/* Copying one source into a draft: what BuildKit's copier does to each name. */
#ifndef STAGEFS_COPY_WALK_H
#define STAGEFS_COPY_WALK_H

#include "copy/chmod.h"
#include "copy/copy_draft.h"
#include "copy/pattern.h"

struct copy_rules { /* borrowed, all of it */
    struct draft *draft;
    const struct sfs_tree *source;
    const struct sfs_chmod *chmod; /* NULL: the source's modes */
    bool has_owner;                /* uid and gid replace the source's */
    uint32_t uid, gid;
    int64_t epoch;                       /* mtime of directories that COPY makes, seconds */
    const struct sfs_patterns *includes; /* NULL: all */
    const struct sfs_patterns *excludes; /* NULL: none */
    uint64_t *copied;                    /* counts the names that were put */
};

/* Makes the directories that are missing at `place`, but not the last `spare` of them (0 or 1), and
 * moves `place` there. ENOTDIR: what is there is no directory. */
int sfs_copy_make_dirs(const struct copy_rules *rules, struct draft_place *place, unsigned spare,
                       struct sfs_error *err);

/* Puts one file (or link, device, ...) as `name` in `dir`. EISDIR: "cannot replace to
 * directory". */
int sfs_copy_file(const struct copy_rules *rules, sfs_node source, struct draft_node *dir,
                  const char *name, struct sfs_error *err);

/* Copies what is in directory `source` into the directory `target`. ENOTDIR, EISDIR as above. */
int sfs_copy_directory(const struct copy_rules *rules, sfs_node source, struct draft_node *target,
                       struct sfs_error *err);

#endif
