/* Which memory counts, and that no two buffers share any. */
#include "blob/arena.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define UNIT ((size_t)SFS_ARENA_UNIT)
#define HUGE ((size_t)2 << 20)

Test(arena, small_ones_count_by_units)
{
    struct sfs_arena arena;
    size_t freed;
    sfs_arena_open(&arena, 4 * UNIT + 1);
    cr_assert_eq(sfs_arena_cost(&arena, 3 * UNIT), 3 * UNIT);
    cr_assert_null(sfs_arena_find(&arena, UNIT)); /* nothing counts yet */
    uint8_t *first = sfs_arena_make(&arena, 3 * UNIT);
    cr_assert_not_null(first);
    cr_assert_null(sfs_arena_make(&arena, 2 * UNIT));
    uint8_t *second = sfs_arena_make(&arena, UNIT);
    cr_assert_eq(second, first + 3 * UNIT);
    cr_assert(sfs_arena_give(&arena, first, 3 * UNIT, &freed));
    cr_assert_eq(freed, 3 * UNIT);
    cr_assert_eq(sfs_arena_make(&arena, UNIT), first);
    sfs_arena_close(&arena);
}

Test(arena, what_is_left_of_a_huge_page_is_found)
{
    struct sfs_arena arena;
    size_t freed;
    sfs_arena_open(&arena, 64 << 20);
    cr_assert_eq(sfs_arena_cost(&arena, UNIT), HUGE);
    cr_assert_eq(sfs_arena_cost(&arena, HUGE + UNIT), 2 * HUGE);
    uint8_t *first = sfs_arena_make(&arena, HUGE + UNIT);
    cr_assert_not_null(first);
    cr_assert_eq((uintptr_t)first % HUGE, 0);
    uint8_t *second = sfs_arena_find(&arena, HUGE - UNIT);
    cr_assert_eq(second, first + HUGE + UNIT);
    cr_assert_null(sfs_arena_find(&arena, UNIT));
    cr_assert(sfs_arena_give(&arena, second, HUGE - UNIT, &freed));
    cr_assert_eq(freed, 0); /* the other one has its last unit there */
    cr_assert(sfs_arena_give(&arena, first, HUGE + UNIT, &freed));
    cr_assert_eq(freed, 2 * HUGE);
    sfs_arena_close(&arena);
}

Test(arena, without_room_or_for_others)
{
    struct sfs_arena arena = { 0 };
    uint8_t other;
    size_t freed;
    sfs_arena_open(&arena, UNIT - 1);
    cr_assert_null(sfs_arena_make(&arena, UNIT));
    cr_assert_null(sfs_arena_find(&arena, UNIT));
    cr_assert_not(sfs_arena_give(&arena, &other, UNIT, &freed));
    sfs_arena_close(&arena);
    sfs_arena_open(&arena, UINT64_MAX); /* nobody has so much */
    cr_assert_null(sfs_arena_make(&arena, UNIT));
    sfs_arena_close(&arena);
    sfs_arena_close(&arena);
}

Test(arena, buffers_share_nothing)
{
    enum { MOST = 200, ROUNDS = 20000 };
    struct buffer {
        uint8_t *data, mark;
        size_t size;
    } buffers[MOST] = { 0 };
    struct sfs_arena arena;
    size_t counted = 0, freed;
    srand(1);
    sfs_arena_open(&arena, 64 << 20);
    for (int i = 0; i < ROUNDS; i++) {
        struct buffer *b = &buffers[rand() % MOST];
        if (b->data) {
            cr_assert_eq(b->data[0], b->mark);
            cr_assert_eq(b->data[b->size - 1], b->mark);
            cr_assert(sfs_arena_give(&arena, b->data, b->size, &freed));
            counted -= freed;
            b->data = NULL;
            continue;
        }
        b->size = (1 + (size_t)rand() % 40) * UNIT;
        b->mark = (uint8_t)rand();
        b->data = sfs_arena_find(&arena, b->size);
        if (!b->data && (b->data = sfs_arena_make(&arena, b->size)))
            counted += sfs_arena_cost(&arena, b->size);
        if (b->data)
            b->data[0] = b->data[b->size - 1] = b->mark;
        cr_assert_leq(counted, 64 << 20);
    }
    for (int i = 0; i < MOST; i++)
        if (buffers[i].data) {
            cr_assert(sfs_arena_give(&arena, buffers[i].data, buffers[i].size, &freed));
            counted -= freed;
        }
    cr_assert_eq(counted, 0);
    sfs_arena_close(&arena);
}
