/* The sources of a COPY: what is written, and what that stands for in a tree. */
#ifndef STAGEFS_COPY_SOURCE_H
#define STAGEFS_COPY_SOURCE_H

#include <stagefs/tree.h>

struct copy_hit {
    char *path;       /* "/opt/conda"; of a wildcard: below what its prefix resolves to */
    sfs_node node;    /* symlinks followed */
    const char *base; /* last component of path */
};

struct copy_hits {
    struct copy_hit *items;
    size_t count, capacity;
    bool is_wild;
    bool is_malformed; /* a wildcard that never matches */
};

/* `path` is absolute and clean. ENOENT: no such path, if it has no wildcard; also what comes before
 * the first wildcard, and what a symlink found leads to, has to exist. */
int sfs_copy_hits_find(const struct sfs_tree *tree, const char *path, struct copy_hits *ret_hits,
                       struct sfs_error *err);
void sfs_copy_hits_done(struct copy_hits *hits);

#endif
