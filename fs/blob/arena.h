/* Memory for decoded bytes, in huge pages where the kernel has them: a fault for each small page
 * costs as much as decoding a tenth of it, and most spans are smaller than a huge page. The
 * address space is taken once; a page counts from its first buffer on until its last one is given
 * back, and so long the kernel keeps memory for it. The caller sees to locks. */
#ifndef STAGEFS_ARENA_H
#define STAGEFS_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SFS_ARENA_UNIT (64u << 10) /* buffers are of whole units */

/* All zero: an arena that has no room. */
struct sfs_arena {
    uint8_t *base;
    size_t units;
    size_t page_units; /* units of a page */
    bool *taken;       /* for each unit */
    uint8_t *users;    /* for each page: how many of its units are taken */
};

/* Takes address space for `size` bytes, rounded down to whole pages; of small ones, where huge
 * pages would be a large share of it. Without it, the arena has no room. */
void sfs_arena_open(struct sfs_arena *arena, uint64_t size);
/* Frees all, whatever is taken. */
void sfs_arena_close(struct sfs_arena *arena);

/* Bytes of the pages that a buffer of `size` bytes begins, where it fits into none that counts. */
size_t sfs_arena_cost(const struct sfs_arena *arena, size_t size);
/* A buffer of `size` bytes, a multiple of SFS_ARENA_UNIT, in pages that count already. NULL: none
 * has room for it. */
uint8_t *sfs_arena_find(struct sfs_arena *arena, size_t size);
/* The same in pages of its own, which count from now on: sfs_arena_cost(). NULL: there are no such
 * pages. */
uint8_t *sfs_arena_make(struct sfs_arena *arena, size_t size);
/* Gives a buffer back. *ret_freed: bytes of pages that do not count any more. False: it is not of
 * this arena. */
bool sfs_arena_give(struct sfs_arena *arena, uint8_t *data, size_t size, size_t *ret_freed);

#endif
