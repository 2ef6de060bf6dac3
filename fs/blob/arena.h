/* Memory for decoded bytes, in huge pages where the kernel has them: a fault for each small page
 * costs as much as decoding a tenth of it, and most spans are smaller than a huge page. The address
 * space is taken once; the kernel has memory for a page while a buffer lies in it. The caller sees
 * to locks. */
#ifndef STAGEFS_ARENA_H
#define STAGEFS_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SFS_ARENA_UNIT (64u << 10) /* buffers are of whole units */

/* All zero: an arena that has no room. */
struct sfs_arena {
    uint8_t *base;
    size_t pages;
    size_t page_units; /* units of a page */
    bool *taken;       /* for each unit */
    uint8_t *users;    /* for each page: how many of its units are taken */
};

/* Takes address space for `size` bytes, rounded down to whole pages; of small ones, where huge
 * pages would be a large share of it. Without it, the arena has no room. */
void sfs_arena_open(struct sfs_arena *arena, uint64_t size);
/* Frees all, whatever is taken. */
void sfs_arena_close(struct sfs_arena *arena);

/* A buffer of `size` bytes, a multiple of SFS_ARENA_UNIT and not 0. NULL: no place is large
 * enough. */
uint8_t *sfs_arena_take(struct sfs_arena *arena, size_t size);
/* Gives a buffer back. False: it is not of this arena. */
bool sfs_arena_give(struct sfs_arena *arena, uint8_t *data, size_t size);

#endif
