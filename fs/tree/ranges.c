/* Lists of byte ranges: adding, sorting, joining. */
#include "tree/profile.h"
#include "base/array.h"

#include <errno.h>

int sfs_ranges_add(struct sfs_ranges *ranges, uint64_t offset, uint64_t size)
{
    struct sfs_range *last = ranges->count > 0 ? &ranges->items[ranges->count - 1] : NULL;
    if (last && offset >= last->offset && offset - last->offset <= last->size) {
        uint64_t until = offset - last->offset + size;
        last->size = until > last->size ? until : last->size;
        return 0;
    }
    if (SFS_ARRAY_GROW(ranges->items, ranges->count, ranges->capacity, 4) < 0)
        return -ENOMEM;
    ranges->items[ranges->count++] = (struct sfs_range){ offset, size };
    return 0;
}

static int compare(const void *left, const void *right)
{
    const struct sfs_range *a = left, *b = right;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

void sfs_ranges_merge(struct sfs_ranges *ranges, uint64_t gap)
{
    if (ranges->count < 2)
        return;
    qsort(ranges->items, ranges->count, sizeof *ranges->items, compare);
    struct sfs_range *last = ranges->items;
    for (size_t i = 1; i < ranges->count; i++) {
        const struct sfs_range *next = &ranges->items[i];
        uint64_t distance = next->offset - last->offset;
        if (distance > last->size && distance - last->size > gap) {
            *++last = *next;
        } else {
            uint64_t until = distance + next->size;
            last->size = until > last->size ? until : last->size;
        }
    }
    ranges->count = (size_t)(last - ranges->items) + 1;
}

int sfs_ranges_join(struct sfs_ranges *ranges, const struct sfs_ranges *more)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < more->count; i++)
        r = sfs_ranges_add(ranges, more->items[i].offset, more->items[i].size);
    sfs_ranges_merge(ranges, 0);
    return r;
}

int sfs_ranges_subtract(struct sfs_ranges *ranges, const struct sfs_ranges *less)
{
    struct sfs_ranges left = { 0 };
    int r = 0;
    for (size_t i = 0, k = 0; r == 0 && i < ranges->count; i++) {
        uint64_t at = ranges->items[i].offset, end = at + ranges->items[i].size;
        while (k < less->count && less->items[k].offset + less->items[k].size <= at)
            k++;
        for (size_t j = k; r == 0 && j < less->count && less->items[j].offset < end; j++) {
            const struct sfs_range *hole = &less->items[j];
            if (hole->offset > at)
                r = sfs_ranges_add(&left, at, hole->offset - at);
            at = hole->offset + hole->size;
        }
        if (r == 0 && at < end)
            r = sfs_ranges_add(&left, at, end - at);
    }
    if (r < 0) {
        sfs_ranges_done(&left);
        return r;
    }
    sfs_ranges_done(ranges);
    *ranges = left;
    return 0;
}

void sfs_ranges_done(struct sfs_ranges *ranges)
{
    free(ranges->items);
    *ranges = (struct sfs_ranges){ 0 };
}
