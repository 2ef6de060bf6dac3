/* The bytes that some uses name, in the order in which they lie in the blobs. */
#include "mount/replay_parts.h"

#include "tree/tree_inner.h"
#include <unistd.h>

/* Fewer bytes than this between two ranges of a file are cheaper to bring along than to leave
 * out. */
#define GAP (64u << 10)

static int compare_places(const void *left, const void *right)
{
    const struct sfs_replay_part *a = left, *b = right;
    uintptr_t x = (uintptr_t)a->blob, y = (uintptr_t)b->blob;
    if (x != y)
        return (x > y) - (x < y);
    return (a->position > b->position) - (a->position < b->position);
}

uint64_t sfs_replay_bytes_of(const struct sfs_use *use)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < use->ranges.count; i++)
        if (__builtin_add_overflow(bytes, use->ranges.items[i].size, &bytes))
            return UINT64_MAX;
    return bytes;
}

/* Adds the pieces that the pack has of a file. Returns how many. */
static size_t collect_pieces(const struct sfs_replay *replay, sfs_ino ino,
                             struct sfs_replay_part *parts)
{
    size_t count = sfs_pack_count(replay->pack, ino);
    for (size_t i = 0; i < count; i++) {
        parts[i] = (struct sfs_replay_part){ .part.ino = ino, .blob = replay->pack };
        parts[i].part.range = sfs_pack_piece(replay->pack, ino, i, &parts[i].position);
    }
    return count;
}

static size_t collect_parts(struct sfs_replay *replay, size_t first, size_t end,
                            struct sfs_replay_part *parts)
{
    size_t count = 0;
    for (size_t i = first; i < end; i++) {
        struct sfs_place place;
        struct sfs_use *use = &replay->profile.uses[i];
        if (!replay->inos[i] || !sfs_forest_locate(replay->forest, replay->inos[i], &place) ||
            !place.tree)
            continue;
        if (sfs_pack_count(replay->pack, replay->inos[i]) > 0) {
            /* It has all of a file in one place, and so all of it is brought at once. */
            if (!replay->is_later[i])
                count += collect_pieces(replay, replay->inos[i], parts + count);
            continue;
        }
        sfs_ranges_merge(&use->ranges, GAP);
        for (size_t j = 0; j < use->ranges.count; j++) {
            struct sfs_replay_part *part = &parts[count++];
            part->part = (struct sfs_fill_part){ replay->inos[i], use->ranges.items[j] };
            sfs_tree_locate(place.tree, place.node, part->part.range.offset, &part->blob,
                            &part->position);
        }
    }
    return count;
}

struct sfs_replay_part *sfs_replay_sort_parts(struct sfs_replay *replay, size_t first, size_t end,
                                              size_t *ret_count)
{
    size_t most = 0;
    for (size_t i = first; i < end; i++)
        most +=
            replay->profile.uses[i].ranges.count + sfs_pack_count(replay->pack, replay->inos[i]);
    struct sfs_replay_part *sorted = most > 0 ? calloc(most, sizeof *sorted) : NULL;
    if (!sorted)
        return NULL;
    *ret_count = collect_parts(replay, first, end, sorted);
    qsort(sorted, *ret_count, sizeof *sorted, compare_places);
    return sorted;
}

uint64_t sfs_replay_most_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGE_SIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size / 2 : SFS_REPLAY_BATCH;
}

size_t sfs_replay_end_batch(const struct sfs_replay *replay, size_t first, uint64_t batch,
                            uint64_t *left)
{
    uint64_t bytes = 0;
    size_t end = first;
    while (end < replay->profile.count && bytes < batch) {
        uint64_t more = sfs_replay_bytes_of(&replay->profile.uses[end++]);
        bytes = more < UINT64_MAX - bytes ? bytes + more : UINT64_MAX;
    }
    *left -= bytes < *left ? bytes : *left;
    return end;
}
