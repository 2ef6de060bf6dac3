/* The first place that fits is taken, so that what is free comes together at the end. */
#include "blob/arena.h"

#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE (2u << 20)
/* A smaller arena has small pages: of huge ones it would have too few. */
#define LEAST_HUGE (64u << 20)

static size_t page_size(const struct sfs_arena *arena)
{
    return arena->page_units * SFS_ARENA_UNIT;
}

static void reset(struct sfs_arena *arena)
{
    free(arena->taken);
    free(arena->users);
    *arena = (struct sfs_arena){ .page_units = 1 };
}

/* Huge pages begin at multiples of their size, so a part before the first is given back. */
static uint8_t *map(size_t size, size_t align)
{
    void *space = mmap(NULL, size + align, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        return NULL;
    uint8_t *start = space, *base = start + (align - (uintptr_t)start % align) % align;
    if (base > start)
        munmap(start, (size_t)(base - start));
    if (base + size < start + size + align)
        munmap(base + size, (size_t)(start + align - base));
    return base;
}

void sfs_arena_open(struct sfs_arena *arena, uint64_t size)
{
    *arena = (struct sfs_arena){ .page_units = 1 };
    if (size > SIZE_MAX / 2)
        return;
    if (size >= LEAST_HUGE)
        arena->page_units = HUGE_PAGE / SFS_ARENA_UNIT;
    size_t pages = (size_t)size / page_size(arena);
    size_t units = pages * arena->page_units;
    arena->taken = calloc(units + 1, sizeof *arena->taken);
    arena->users = calloc(pages + 1, sizeof *arena->users);
    if (pages > 0 && arena->taken && arena->users)
        arena->base = map(units * SFS_ARENA_UNIT, page_size(arena));
    if (!arena->base) {
        reset(arena);
        return;
    }
    arena->units = units;
    if (arena->page_units > 1)
        madvise(arena->base, units * SFS_ARENA_UNIT, MADV_HUGEPAGE);
}

void sfs_arena_close(struct sfs_arena *arena)
{
    if (arena->base)
        munmap(arena->base, arena->units * SFS_ARENA_UNIT);
    reset(arena);
}

static size_t page_of(const struct sfs_arena *arena, size_t unit)
{
    return unit / arena->page_units;
}

static uint8_t *take(struct sfs_arena *arena, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        arena->taken[i] = true;
        arena->users[page_of(arena, i)]++;
    }
    return arena->base + first * SFS_ARENA_UNIT;
}

size_t sfs_arena_cost(const struct sfs_arena *arena, size_t size)
{
    size_t page = page_size(arena);
    return (size + page - 1) / page * page;
}

uint8_t *sfs_arena_find(struct sfs_arena *arena, size_t size)
{
    const size_t count = size / SFS_ARENA_UNIT;
    size_t free_units = 0;
    for (size_t i = 0; i < arena->units && count > 0; i++) {
        bool is_room = !arena->taken[i] && arena->users[page_of(arena, i)] > 0;
        free_units = is_room ? free_units + 1 : 0;
        if (free_units == count)
            return take(arena, i + 1 - count, count);
    }
    return NULL;
}

uint8_t *sfs_arena_make(struct sfs_arena *arena, size_t size)
{
    const size_t wanted = sfs_arena_cost(arena, size) / page_size(arena);
    size_t free_pages = 0;
    for (size_t i = 0; i < page_of(arena, arena->units) && wanted > 0; i++) {
        free_pages = arena->users[i] == 0 ? free_pages + 1 : 0;
        if (free_pages == wanted)
            return take(arena, (i + 1 - wanted) * arena->page_units, size / SFS_ARENA_UNIT);
    }
    return NULL;
}

bool sfs_arena_give(struct sfs_arena *arena, uint8_t *data, size_t size, size_t *ret_freed)
{
    *ret_freed = 0;
    uintptr_t place = (uintptr_t)data - (uintptr_t)arena->base;
    if (!arena->base || place >= arena->units * SFS_ARENA_UNIT)
        return false;
    size_t first = place / SFS_ARENA_UNIT;
    for (size_t i = first; i < first + size / SFS_ARENA_UNIT; i++) {
        size_t page = page_of(arena, i);
        arena->taken[i] = false;
        if (--arena->users[page] > 0)
            continue;
        madvise(arena->base + page * page_size(arena), page_size(arena), MADV_DONTNEED);
        *ret_freed += page_size(arena);
    }
    return true;
}
