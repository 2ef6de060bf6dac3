/* What profiles name of blobs that lie on another machine: asked for in the order of use, before
 * the mount answers; and all else, where that is little. */
#include "mount/replay_parts.h"

#include "blob/blob.h"
#include "blob/seek.h"
#include "blob/spans.h"
#include "tree/tree_inner.h"

/* Fewer bytes than this between two ranges of a blob are cheaper to bring along than to leave out:
 * so many requests are under way that one more costs little. */
#define GAP (64u << 10)
/* So many bytes are fetched of a file of which the profile tells no bytes, but that it was read. */
#define GUESS (1u << 20)
/* From so many hundredths of all bytes on it is faster to bring the rest at once than to wait until
 * somebody asks for a part of it. */
#define EAGER_FROM 60u
#define MOST_BLOBS 128u /* that are fetched whole for that */

/* A range of a blob that lies on another machine, which grows while what follows is near. */
struct replay_fetch {
    struct sfs_blob *blob;
    uint64_t start, end;
    bool is_plan; /* it is only told that it will be fetched */
};

static void send_fetch(struct replay_fetch *fetch)
{
    if (fetch->blob && fetch->is_plan)
        sfs_blob_plan(fetch->blob, fetch->start, fetch->end - fetch->start);
    else if (fetch->blob)
        sfs_blob_fetch(fetch->blob, fetch->start, fetch->end - fetch->start, SFS_POOL_AHEAD);
    fetch->blob = NULL;
}

/* Joins what is near, and sends what was joined where it is not. */
static void add_bytes(struct replay_fetch *fetch, struct sfs_blob *blob, uint64_t start,
                      uint64_t end)
{
    bool is_near = fetch->blob == blob && start >= fetch->start && start <= fetch->end + GAP;
    if (!is_near) {
        send_fetch(fetch);
        *fetch = (struct replay_fetch){ blob, start, end, fetch->is_plan };
    }
    fetch->end = end > fetch->end ? end : fetch->end;
}

/* The windows of an index that came from elsewhere may be elsewhere, too. They are small, and lie
 * in the order of their spans. */
static void add_windows(struct replay_fetch *fetch, struct sfs_spans *spans, uint32_t first,
                        uint32_t last)
{
    const struct sfs_seek_table *table = sfs_spans_table(spans);
    for (uint32_t i = first; table->windows_blob && i <= last; i++)
        if (table->points[i].window_size > 0)
            add_bytes(fetch, table->windows_blob, table->points[i].window,
                      table->points[i].window + table->points[i].window_size);
}

static void add_input(struct replay_fetch *fetch, struct sfs_spans *spans, uint32_t first,
                      uint32_t last)
{
    const struct sfs_seek_table *table = sfs_spans_table(spans);
    uint64_t start, end, unused;
    sfs_spans_plan(spans);
    sfs_seek_input(table, first, &start, &unused);
    sfs_seek_input(table, last, &unused, &end);
    add_bytes(fetch, sfs_spans_blob(spans), start, end);
}

/* What is done with the spans of parts. */
struct replay_step {
    void (*add)(struct replay_fetch *fetch, struct sfs_spans *spans, uint32_t first, uint32_t last);
    bool is_plan;
};
static const struct replay_step plan_input = { add_input, true };
static const struct replay_step fetch_input = { add_input, false };
static const struct replay_step fetch_windows = { add_windows, false };

/* Takes a step with the spans of each part, in the parts' order, joining them. */
static void walk_parts(const struct sfs_replay *replay, const struct sfs_replay_part *parts,
                       size_t count, const struct replay_step *step)
{
    struct replay_fetch fetch = { .is_plan = step->is_plan };
    for (size_t i = 0; i < count; i++) {
        struct sfs_place place;
        struct sfs_range range = parts[i].part.range;
        if (parts[i].blob == replay->pack ||
            !sfs_forest_locate(replay->forest, parts[i].part.ino, &place) || !place.tree)
            continue;
        while (range.size > 0) {
            uint64_t position, size;
            struct sfs_spans *spans =
                sfs_tree_find_spans(place.tree, place.node, range.offset, &position, &size);
            if (!spans || size == 0)
                break;
            size = size < range.size ? size : range.size;
            const struct sfs_seek_table *table = sfs_spans_table(spans);
            step->add(&fetch, spans, sfs_seek_find(table, position),
                      sfs_seek_find(table, position + size - 1));
            range = (struct sfs_range){ range.offset + size, range.size - size };
        }
    }
    send_fetch(&fetch);
}

/* Gives the uses that were of bytes, and do not tell which, the first ones of their files: small
 * files whole, and of libraries what a loader reads first. */
static void guess_ranges(struct sfs_replay *replay, size_t index)
{
    struct sfs_use *use = &replay->profile.uses[index];
    struct sfs_place place;
    struct sfs_attr attr;
    if (!sfs_use_has_ranges(use->kind) || use->ranges.count > 0 || !replay->inos[index] ||
        !sfs_forest_locate(replay->forest, replay->inos[index], &place) || !place.tree)
        return;
    sfs_tree_attr(place.tree, place.node, &attr);
    if (S_ISREG(attr.mode) && attr.size > 0)
        (void)sfs_ranges_add(&use->ranges, 0, attr.size < GUESS ? attr.size : GUESS);
}

/* The blob that the first bytes of a use lie in, if it is on another machine; else NULL. */
static struct sfs_blob *find_remote(const struct sfs_replay *replay, size_t index)
{
    const struct sfs_use *use = &replay->profile.uses[index];
    struct sfs_place place;
    uint64_t position, size;
    if (!replay->inos[index] || use->ranges.count == 0 ||
        !sfs_forest_locate(replay->forest, replay->inos[index], &place) || !place.tree)
        return NULL;
    struct sfs_spans *spans =
        sfs_tree_find_spans(place.tree, place.node, use->ranges.items[0].offset, &position, &size);
    struct sfs_blob *blob = spans ? sfs_spans_blob(spans) : NULL;
    return blob && sfs_blob_is_remote(blob) ? blob : NULL;
}

unsigned sfs_replay_is_eager(struct sfs_replay *replay)
{
    struct sfs_forest_sums sums;
    double named = 0;
    for (size_t i = 0; i < replay->profile.count; i++) {
        guess_ranges(replay, i);
        named += (double)sfs_replay_bytes_of(&replay->profile.uses[i]);
        replay->has_remote = replay->has_remote || find_remote(replay, i);
    }
    if (!replay->has_remote)
        return 0;
    sfs_forest_sum(replay->forest, &sums);
    double hundredths = sums.blocks > 0 ? 100 * named / (512.0 * (double)sums.blocks) : 0;
    replay->is_eager = hundredths >= EAGER_FROM;
    return !replay->is_eager ? 0 : hundredths < 100 ? (unsigned)hundredths : 100;
}

void sfs_replay_fetch_rest(const struct sfs_replay *replay)
{
    const struct sfs_blob *done[MOST_BLOBS];
    size_t count = 0;
    for (size_t i = 0; i < replay->profile.count && count < MOST_BLOBS; i++) {
        struct sfs_blob *blob = find_remote(replay, i);
        bool is_new = blob != NULL;
        for (size_t k = 0; k < count; k++)
            is_new = is_new && done[k] != blob;
        if (!is_new)
            continue;
        done[count++] = blob;
        sfs_blob_fetch(blob, 0, blob->size, SFS_POOL_BACKGROUND);
    }
}

static void step_batch(struct sfs_replay *replay, size_t first, size_t end,
                       const struct replay_step *step)
{
    size_t count;
    AUTO(sfs_free)
    struct sfs_replay_part *sorted = sfs_replay_sort_parts(replay, first, end, &count);
    if (sorted)
        walk_parts(replay, sorted, count, step);
}

bool sfs_replay_is_remote(const struct sfs_replay *replay)
{
    return replay->has_remote;
}

/* All at once: what is decoded of it has to fit into memory, and comes little by little. Nothing is
 * decoded without its windows; they are small, so those of many batches come together. */
void sfs_replay_fetch(struct sfs_replay *replay)
{
    uint64_t most = replay->has_remote ? sfs_replay_most_bytes() : 0, left = most, unused = most;
    step_batch(replay, 0, sfs_replay_end_batch(replay, 0, most, &unused), &plan_input);
    for (size_t first = 0, last, end; first < replay->profile.count && left > 0; first = last) {
        unused = left;
        last = sfs_replay_end_batch(replay, first, SFS_REPLAY_BATCH, &unused);
        step_batch(replay, first, last, &fetch_windows);
        for (; first < last && left > 0; first = end) {
            end = sfs_replay_end_batch(replay, first, SFS_REPLAY_REMOTE_BATCH, &left);
            end = end < last ? end : last;
            step_batch(replay, first, end, &fetch_input);
        }
    }
}
