/* The names of several sorted directories, as one sorted sequence of groups of equal names. */
#ifndef STAGEFS_UNION_H
#define STAGEFS_UNION_H

#include "tree/stack.h"

/* The names of one directory that are still to come. */
struct sfs_union_run {
    const struct sfs_tables *tables;
    const char *name; /* the next name */
    uint32_t name_size;
    uint32_t layer;    /* number of the directory's layer */
    sfs_entry at, end; /* the entry of the next name, and the one behind the last */
};

struct sfs_union_key {
    uint64_t key; /* the first bytes of the run's next name behind the common start */
    uint32_t run; /* number of the run */
};

struct sfs_union {
    struct sfs_union_run *runs; /* topmost first */
    struct sfs_union_key *heap; /* the run with the smallest next name is [0] */
    struct sfs_part *group;     /* what sfs_union_next() found */
    size_t capacity;            /* of the three arrays */
    size_t left;                /* how many runs are not at their end */
    size_t skip;                /* how many bytes all names have in common at their start */
};

/* Starts over with these directories, topmost first. 0 or -ENOMEM. */
int sfs_union_start(struct sfs_union *set, const struct sfs_stack *stack,
                    const struct sfs_part *dirs, size_t count);
/* The next name's entries, topmost first, in set->group. Returns how many; 0 at the end. */
size_t sfs_union_next(struct sfs_union *set);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_union_done(struct sfs_union *set);

#endif
