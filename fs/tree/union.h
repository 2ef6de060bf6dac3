/* The names of several sorted directories, as one sorted sequence of groups of equal names. */
#ifndef STAGEFS_UNION_H
#define STAGEFS_UNION_H

#include "tree/stack.h"

struct sfs_union_run { /* what is left of one directory */
    const struct sfs_tables *tables;
    const char *name; /* the next name */
    uint32_t name_size;
    uint32_t layer;
    sfs_entry at, end;
};

struct sfs_union_key {
    uint64_t key; /* the first bytes of the run's next name behind the common start */
    uint32_t run;
};

struct sfs_union {
    struct sfs_union_run *runs; /* topmost first */
    struct sfs_union_key *heap; /* the run with the smallest next name is [0] */
    struct sfs_part *group;     /* what sfs_union_next() found */
    size_t capacity, left;      /* left: runs that are not at their end */
    size_t skip;                /* bytes that all names begin with */
};

/* Starts over with these directories, topmost first. 0 or -ENOMEM. */
int sfs_union_start(struct sfs_union *set, const struct sfs_stack *stack,
                    const struct sfs_part *dirs, size_t count);
/* The next name's entries, topmost first, in set->group. Returns how many; 0 at the end. */
size_t sfs_union_next(struct sfs_union *set);
void sfs_union_done(struct sfs_union *set);

#endif
