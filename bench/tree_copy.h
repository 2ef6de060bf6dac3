/* The shared libraries of a directory that is somebody's root, and what each needs of the others.
 * Symbolic links are followed as a process with that root would. */
#ifndef BENCH_TREE_H
#define BENCH_TREE_H

#include "bench.h"

struct bench_tree {
    char *root;             /* real path, no '/' at the end */
    int fd;                 /* the root, open */
    struct bench_list libs; /* paths of files with ".so" in their names, relative, sorted */
};

/* Walks the whole directory, but not what is mounted in it. The caller closes *tree. -1: the reason
 * says why not. */
int bench_tree_open(struct bench_tree *tree, const char *path, struct bench_reason *reason);
/* Frees what is in it. */
void bench_tree_close(struct bench_tree *tree);

/* Where `path` leads inside the root, relative to it; the caller frees. NULL: nowhere. */
char *bench_tree_resolve(const struct bench_tree *tree, const char *path);

/* Adds to `found` the ELF libraries that match, each file once, however many names it has. */
int bench_tree_find(const struct bench_tree *tree, const char *glob, struct bench_list *found,
                    struct bench_reason *reason);

/* Fills `plan` with `lib` and what it needs from the tree, needed ones first. What the tree lacks,
 * and the C library's own parts (which must be those of the running process), are left to the
 * loader. */
int bench_tree_plan(const struct bench_tree *tree, const char *lib, struct bench_list *plan,
                    struct bench_reason *reason);

#endif
