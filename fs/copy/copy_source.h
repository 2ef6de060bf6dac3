/* The sources of a COPY: which files of a tree the text of one stands for. */
#ifndef STAGEFS_COPY_SOURCE_H
#define STAGEFS_COPY_SOURCE_H

#include <stagefs/tree.h>

struct copy_hit {
    char *path;       /* "/opt/conda"; of a wildcard: below what its prefix resolves to; owned */
    sfs_node node;    /* where the path leads, with symlinks followed */
    const char *base; /* the last component of `path`; points into it */
};

struct copy_hits {
    struct copy_hit *items;
    size_t count, capacity;
    bool is_wild;      /* the source has a wildcard: there may be no hit */
    bool is_malformed; /* the wildcard is one that never matches */
};

/* Finds what `path`, which is absolute and clean, stands for. The caller calls
 * sfs_copy_hits_done(). ENOENT: there is no such path. Of one with wildcards, what comes before the
 * first wildcard must exist, and what a symlink among the hits leads to. */
int sfs_copy_hits_find(const struct sfs_tree *tree, const char *path, struct copy_hits *ret_hits,
                       struct sfs_error *err);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_copy_hits_done(struct copy_hits *hits);

#endif
