/* Which spans are guessed from those that were asked for near them. */
#include "blob/nearby.h"
#include <criterion/criterion.h>

#define SPANS 40u

static struct sfs_nearby nearby;
static uint32_t next[SFS_NEARBY_AHEAD];

static void set_up(void)
{
    cr_assert_eq(sfs_nearby_open(&nearby, SPANS), 0);
}

static void tear_down(void)
{
    sfs_nearby_close(&nearby);
    sfs_nearby_close(&nearby);
}

TestSuite(nearby, .init = set_up, .fini = tear_down);

static void touch_all(const uint32_t *spans, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(sfs_nearby_touch(&nearby, spans[i], next), 0, "at %u", spans[i]);
}

Test(nearby, guesses_nothing_of_a_reader_that_leaps_far)
{
    touch_all((const uint32_t[]){ 0, 39, 20, 10, 30, 5, 15 }, 7);
}

Test(nearby, a_single_neighbour_is_no_direction)
{
    touch_all((const uint32_t[]){ 10, 11 }, 2);
}

Test(nearby, follows_a_reader_forwards)
{
    touch_all((const uint32_t[]){ 10, 11 }, 2);
    cr_assert_eq(sfs_nearby_touch(&nearby, 12, next), 4);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(next[i], 13 + i);
}

Test(nearby, follows_a_reader_backwards_that_leaves_some_out)
{
    touch_all((const uint32_t[]){ 30, 28 }, 2);
    cr_assert_eq(sfs_nearby_touch(&nearby, 26, next), 4);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(next[i], 25 - i);
}

Test(nearby, follows_two_readers_that_take_turns)
{
    touch_all((const uint32_t[]){ 5, 35, 6, 34 }, 4);
    cr_assert_eq(sfs_nearby_touch(&nearby, 7, next), 4);
    cr_assert_eq(next[0], 8);
    cr_assert_eq(sfs_nearby_touch(&nearby, 33, next), 4);
    cr_assert_eq(next[0], 32);
}

Test(nearby, fills_the_gap_that_is_left)
{
    touch_all((const uint32_t[]){ 10, 14 }, 2);
    cr_assert_eq(sfs_nearby_touch(&nearby, 12, next), 2);
    cr_assert_eq(next[0], 13);
    cr_assert_eq(next[1], 11);
}

Test(nearby, never_guesses_what_was_asked_for)
{
    touch_all((const uint32_t[]){ 10, 11, 15 }, 3);
    cr_assert_eq(sfs_nearby_touch(&nearby, 12, next), 3);
    cr_assert_eq(next[2], 16);
}

Test(nearby, guesses_once)
{
    touch_all((const uint32_t[]){ 10, 11 }, 2);
    cr_assert_eq(sfs_nearby_touch(&nearby, 12, next), 4);
    cr_assert_eq(sfs_nearby_touch(&nearby, 12, next), 0);
}

Test(nearby, ends_where_the_spans_do)
{
    touch_all((const uint32_t[]){ 3, 2, 36, 37 }, 4);
    cr_assert_eq(sfs_nearby_touch(&nearby, 1, next), 1);
    cr_assert_eq(next[0], 0);
    cr_assert_eq(sfs_nearby_touch(&nearby, 0, next), 0);
    cr_assert_eq(sfs_nearby_touch(&nearby, 38, next), 1);
    cr_assert_eq(next[0], 39);
    cr_assert_eq(sfs_nearby_touch(&nearby, 39, next), 0);
}
