/* The side on which more was asked for is where a reader comes from, and it goes on to the other
 * one. Two spans on one side are a direction, one on each side a gap that is being filled; less
 * than that says nothing: of sections that are touched at a place here and there, such as those
 * with few relocations, all that were guessed would be wrong. */
#include "blob/nearby.h"

#include "base/banned.h"
#include <errno.h>
#include <stdlib.h>

#define NEAR   4u /* spans to each side that count */
#define ENOUGH 2u /* of them, to guess */

int sfs_nearby_open(struct sfs_nearby *nearby, uint32_t count)
{
    nearby->touched = calloc(count + 1ull, sizeof *nearby->touched);
    nearby->count = count;
    return nearby->touched ? 0 : -ENOMEM;
}

void sfs_nearby_close(struct sfs_nearby *nearby)
{
    free(nearby->touched);
    *nearby = (struct sfs_nearby){ 0 };
}

static void count_near(const struct sfs_nearby *nearby, uint32_t span, unsigned *ret_below,
                       unsigned *ret_above)
{
    *ret_below = *ret_above = 0;
    for (uint32_t i = 1; i <= NEAR; i++) {
        *ret_below += span >= i && nearby->touched[span - i];
        *ret_above += nearby->count - span > i && nearby->touched[span + i];
    }
}

/* Takes the spans of one side that nobody has asked for. */
static uint32_t take(const struct sfs_nearby *nearby, uint32_t span, bool upwards, uint32_t most,
                     uint32_t *ret_spans)
{
    uint32_t found = 0;
    for (uint32_t i = 1; i <= most; i++) {
        if (upwards ? nearby->count - span <= i : span < i)
            break;
        uint32_t other = upwards ? span + i : span - i;
        if (!nearby->touched[other])
            ret_spans[found++] = other;
    }
    return found;
}

uint32_t sfs_nearby_touch(struct sfs_nearby *nearby, uint32_t span,
                          uint32_t ret_spans[SFS_NEARBY_AHEAD])
{
    unsigned below, above;
    if (nearby->touched[span])
        return 0;
    nearby->touched[span] = true;
    count_near(nearby, span, &below, &above);
    if (below + above < ENOUGH)
        return 0;
    if (below != above)
        return take(nearby, span, below > above, SFS_NEARBY_AHEAD, ret_spans);
    uint32_t found = take(nearby, span, true, 1, ret_spans);
    return found + take(nearby, span, false, 1, ret_spans + found);
}
