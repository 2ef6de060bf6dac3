#include <criterion/criterion.h>

#include "mount/blocks.h"

#define MIB ((uint64_t)SFS_BLOCK)

static uint32_t blocks[SFS_BLOCKS_AT];

static unsigned touch(struct sfs_blocks **state, uint64_t offset, uint64_t size)
{
    return sfs_blocks_touch(state, 7, 64 * MIB, (struct sfs_range){ offset, size }, blocks);
}

Test(blocks, asks_for_the_block_that_is_read_and_for_each_of_two)
{
    struct sfs_blocks *state = NULL;
    cr_assert_eq(touch(&state, 20 * MIB + 5, 4096), 1);
    cr_assert_eq(blocks[0], 20);
    cr_assert_eq(touch(&state, 50 * MIB - 10, 20), 2);
    cr_assert_eq(blocks[0], 49);
    cr_assert_eq(blocks[1], 50);
    sfs_blocks_close(&state);
}

Test(blocks, asks_for_a_block_once_until_it_is_done)
{
    struct sfs_blocks *state = NULL;
    cr_assert_eq(touch(&state, 20 * MIB, 4096), 1);
    cr_assert_eq(touch(&state, 20 * MIB + 65536, 4096), 0);
    sfs_blocks_done(state, 7, 20);
    cr_assert_eq(touch(&state, 20 * MIB + 131072, 4096), 1);
    sfs_blocks_close(&state);
}

Test(blocks, goes_ahead_of_leaps_in_either_direction)
{
    struct sfs_blocks *state = NULL;
    touch(&state, 40 * MIB, 4096);
    cr_assert_eq(touch(&state, 38 * MIB, 4096), 2);
    cr_assert_eq(blocks[0], 38);
    cr_assert_eq(blocks[1], 37);
    cr_assert_gt(touch(&state, 36 * MIB, 4096), 2);
    cr_assert_eq(blocks[0], 36);
    cr_assert_eq(blocks[1], 35);
    sfs_blocks_close(&state);
    touch(&state, 10 * MIB, 4096);
    cr_assert_eq(touch(&state, 12 * MIB, 4096), 2);
    cr_assert_eq(blocks[1], 13);
    sfs_blocks_close(&state);
}

Test(blocks, leaves_reading_in_sequence_to_the_kernel)
{
    struct sfs_blocks *state = NULL;
    cr_assert_eq(touch(&state, 0, MIB), 1);
    for (uint64_t at = MIB; at < 64 * MIB; at += MIB)
        cr_assert_eq(touch(&state, at, MIB), 0);
    sfs_blocks_close(&state);
}

Test(blocks, never_asks_for_more_than_fits_or_than_there_is)
{
    struct sfs_blocks *state = NULL;
    cr_assert_eq(touch(&state, 0, 64 * MIB), SFS_BLOCKS_AT);
    sfs_blocks_close(&state);
    touch(&state, 62 * MIB, 1);
    cr_assert_eq(touch(&state, 63 * MIB, 1), 1);
    touch(&state, 3 * MIB, 1);
    touch(&state, 2 * MIB, 1);
    cr_assert_eq(touch(&state, 0, 1), 1);
    sfs_blocks_done(state, 7, 1000);
    sfs_blocks_done(state, 8, 1);
    sfs_blocks_close(&state);
}
