/* The first place that fits is taken, so that what is free comes together at the end. Pages that
 * are full, or empty, are looked at as one. */
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
    *arena = (struct sfs_arena){ 0 };
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
    size_t pages = (size_t)size / page_size(arena), bytes = pages * page_size(arena);
    arena->taken = calloc(pages * arena->page_units + 1, sizeof *arena->taken);
    arena->users = calloc(pages + 1, sizeof *arena->users);
    if (pages > 0 && arena->taken && arena->users)
        arena->base = map(bytes, page_size(arena));
    if (!arena->base) {
        reset(arena);
        return;
    }
    arena->pages = pages;
    if (arena->page_units > 1)
        madvise(arena->base, bytes, MADV_HUGEPAGE);
}

void sfs_arena_close(struct sfs_arena *arena)
{
    if (arena->base)
        munmap(arena->base, arena->pages * page_size(arena));
    reset(arena);
}

static uint8_t *take(struct sfs_arena *arena, size_t end, size_t count)
{
    for (size_t i = end - count; i < end; i++) {
        arena->taken[i] = true;
        arena->users[i / arena->page_units]++;
    }
    return arena->base + (end - count) * SFS_ARENA_UNIT;
}

/* Goes on through a page with *free_units in front of it, until there are `count`; where it
 * stopped. */
static size_t look_through(const struct sfs_arena *arena, size_t page, size_t count,
                           size_t *free_units)
{
    size_t first = page * arena->page_units, end = first + arena->page_units, i = first;
    if (arena->users[page] == arena->page_units) {
        *free_units = 0;
        return end;
    }
    if (arena->users[page] == 0) {
        size_t more = count - *free_units;
        more = more < arena->page_units ? more : arena->page_units;
        *free_units += more;
        return first + more;
    }
    for (; i < end && *free_units < count; i++)
        *free_units = arena->taken[i] ? 0 : *free_units + 1;
    return i;
}

uint8_t *sfs_arena_take(struct sfs_arena *arena, size_t size)
{
    const size_t count = size / SFS_ARENA_UNIT;
    size_t free_units = 0;
    for (size_t page = 0; page < arena->pages; page++) {
        size_t end = look_through(arena, page, count, &free_units);
        if (free_units == count)
            return take(arena, end, count);
    }
    return NULL;
}

bool sfs_arena_give(struct sfs_arena *arena, uint8_t *data, size_t size)
{
    uintptr_t place = (uintptr_t)data - (uintptr_t)arena->base;
    if (!arena->base || place >= arena->pages * page_size(arena))
        return false;
    size_t first = place / SFS_ARENA_UNIT;
    for (size_t i = first; i < first + size / SFS_ARENA_UNIT; i++) {
        size_t page = i / arena->page_units;
        arena->taken[i] = false;
        if (--arena->users[page] == 0)
            madvise(arena->base + page * page_size(arena), page_size(arena), MADV_DONTNEED);
    }
    return true;
}
