/* Which memory counts, and that no two buffers share any. */
#include "blob/arena.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define UNIT ((size_t)SFS_ARENA_UNIT)
#define HUGE ((size_t)2 << 20)

Test(arena, small_ones_have_small_pages)
{
    struct sfs_arena arena;
    sfs_arena_open(&arena, 4 * UNIT + 1);
    uint8_t *first = sfs_arena_take(&arena, 3 * UNIT);
    cr_assert_not_null(first);
    cr_assert_null(sfs_arena_take(&arena, 2 * UNIT));
    uint8_t *second = sfs_arena_take(&arena, UNIT);
    cr_assert_eq(second, first + 3 * UNIT);
    memset(first, 1, 3 * UNIT);
    memset(second, 2, UNIT);
    cr_assert(sfs_arena_give(&arena, first, 3 * UNIT));
    cr_assert_eq(sfs_arena_take(&arena, UNIT), first);
    cr_assert_eq(*first, 0); /* the kernel took the memory back meanwhile */
    cr_assert_eq(second[UNIT - 1], 2);
    sfs_arena_close(&arena);
}

Test(arena, the_first_place_that_fits_goes_over_pages)
{
    struct sfs_arena arena;
    sfs_arena_open(&arena, 64 << 20);
    uint8_t *first = sfs_arena_take(&arena, HUGE + UNIT);
    cr_assert_not_null(first);
    cr_assert_eq((uintptr_t)first % HUGE, 0);
    uint8_t *second = sfs_arena_take(&arena, 2 * HUGE);
    cr_assert_eq(second, first + HUGE + UNIT);
    cr_assert_eq(sfs_arena_take(&arena, UNIT), second + 2 * HUGE);
    first[HUGE] = 3;
    cr_assert(sfs_arena_give(&arena, second, 2 * HUGE));
    cr_assert_eq(first[HUGE], 3); /* in a page that had both */
    cr_assert_eq(sfs_arena_take(&arena, UNIT), second);
    cr_assert_eq(sfs_arena_take(&arena, 2 * HUGE - UNIT), second + UNIT);
    cr_assert_eq(sfs_arena_take(&arena, UNIT), second + 2 * HUGE + UNIT);
    sfs_arena_close(&arena);
}

Test(arena, all_of_it_can_be_taken)
{
    struct sfs_arena arena;
    sfs_arena_open(&arena, 64 << 20);
    uint8_t *all = sfs_arena_take(&arena, 64 << 20);
    cr_assert_not_null(all);
    cr_assert_null(sfs_arena_take(&arena, UNIT));
    cr_assert(sfs_arena_give(&arena, all, 64 << 20));
    for (size_t i = 0; i < (64u << 20) / UNIT; i++)
        cr_assert_eq(sfs_arena_take(&arena, UNIT), all + i * UNIT);
    cr_assert_null(sfs_arena_take(&arena, UNIT));
    sfs_arena_close(&arena);
}

Test(arena, without_room_or_for_others)
{
    struct sfs_arena arena = { 0 };
    uint8_t other;
    cr_assert_null(sfs_arena_take(&arena, UNIT));
    sfs_arena_open(&arena, UNIT - 1);
    cr_assert_null(sfs_arena_take(&arena, UNIT));
    cr_assert_not(sfs_arena_give(&arena, &other, UNIT));
    sfs_arena_close(&arena);
    sfs_arena_open(&arena, UINT64_MAX); /* nobody has so much */
    cr_assert_null(sfs_arena_take(&arena, UNIT));
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
    unsigned full = 0;
    srand(1);
    sfs_arena_open(&arena, 64 << 20);
    for (int i = 0; i < ROUNDS; i++) {
        struct buffer *b = &buffers[rand() % MOST];
        if (b->data) {
            cr_assert_eq(b->data[0], b->mark);
            cr_assert_eq(b->data[b->size - 1], b->mark);
            cr_assert(sfs_arena_give(&arena, b->data, b->size));
            b->data = NULL;
            continue;
        }
        b->size = (1 + (size_t)rand() % 40) * UNIT;
        b->mark = (uint8_t)rand();
        b->data = sfs_arena_take(&arena, b->size);
        if (b->data)
            b->data[0] = b->data[b->size - 1] = b->mark;
        full += !b->data;
    }
    cr_assert_gt(full, 0);
    for (int i = 0; i < MOST; i++)
        if (buffers[i].data)
            cr_assert(sfs_arena_give(&arena, buffers[i].data, buffers[i].size));
    cr_assert_not_null(sfs_arena_take(&arena, 64 << 20));
    sfs_arena_close(&arena);
}
