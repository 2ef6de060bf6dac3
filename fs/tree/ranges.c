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

void sfs_ranges_done(struct sfs_ranges *ranges)
{
    free(ranges->items);
    *ranges = (struct sfs_ranges){ 0 };
}
