/* Several runs as one: what a path is used for first is joined with what it is used for first in
 * the others, and so on, since a path may come again with what it is used for later. Where each
 * comes is the mean of where it came in the runs that used it, and what fewer of them used comes
 * later, so that what all need is fetched first. */
#include "tree/profile_merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A path of a run. */
struct placed {
    struct sfs_use *use;
    size_t run, turn; /* turn: how often the path came before in its run */
    double place;     /* in its run: 0 first, 1 last; of the merged one: what it is sorted by */
};

static int compare_paths(const void *a, const void *b)
{
    const struct placed *left = a, *right = b;
    int order = strcmp(left->use->path, right->use->path);
    if (order != 0)
        return order;
    if (left->turn != right->turn)
        return left->turn < right->turn ? -1 : 1;
    if (left->run != right->run)
        return left->run < right->run ? -1 : 1;
    return left->place < right->place ? -1 : left->place > right->place;
}

static int compare_places(const void *a, const void *b)
{
    const struct placed *left = a, *right = b;
    if (left->place != right->place)
        return left->place < right->place ? -1 : 1;
    return strcmp(left->use->path, right->use->path);
}

/* Joins what several runs use a path for in one turn, into the first one. */
static int join_turn(struct placed *placed, size_t count, size_t runs)
{
    struct sfs_use *use = placed[0].use;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += placed[i].place;
        if (placed[i].use->kind > use->kind)
            use->kind = placed[i].use->kind;
        if (i > 0 && sfs_ranges_join(&use->ranges, &placed[i].use->ranges) < 0)
            return -ENOMEM;
    }
    sfs_ranges_merge(&use->ranges, 0);
    placed[0].place = sum / (double)count + 1 - (double)count / (double)runs;
    return 0;
}

/* Has a later turn tell only what earlier ones do not. Where those tell no ranges, it becomes part
 * of the first. 1: it tells something by itself. */
static int tell_rest(struct sfs_use *first, struct sfs_use *use, struct sfs_ranges *told)
{
    if (use->kind > first->kind)
        first->kind = use->kind;
    if (sfs_ranges_subtract(&use->ranges, told) < 0 || sfs_ranges_join(told, &use->ranges) < 0)
        return -ENOMEM;
    if (first->ranges.count > 0)
        return use->ranges.count > 0;
    return sfs_ranges_join(&first->ranges, &use->ranges);
}

/* Joins the uses of one path into one a turn, which are the first ones then. Returns how many are
 * left, or -ENOMEM. */
static ssize_t join_path(struct placed *placed, size_t count, size_t runs)
{
    AUTO(sfs_ranges_done) struct sfs_ranges told = { 0 };
    size_t kept = 0;
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && placed[end].turn == placed[i].turn;)
            end++;
        int r = join_turn(placed + i, end - i, runs);
        if (r == 0)
            r = kept > 0 ? tell_rest(placed[0].use, placed[i].use, &told)
                         : sfs_ranges_join(&told, &placed[i].use->ranges);
        if (r < 0)
            return r;
        if (kept == 0 || r == 1)
            placed[kept++] = placed[i];
    }
    return (ssize_t)kept;
}

static size_t list_uses(struct sfs_profile *profiles, size_t count, struct placed *placed)
{
    size_t n = 0;
    for (size_t run = 0; run < count; run++)
        for (size_t i = 0; i < profiles[run].count; i++)
            placed[n++] = (struct placed){ .use = &profiles[run].uses[i],
                                           .run = run,
                                           .place = (double)i / (double)profiles[run].count };
    return n;
}

/* Sorts by paths, and those by turns. */
static void sort_turns(struct placed *placed, size_t count)
{
    qsort(placed, count, sizeof *placed, compare_paths);
    for (size_t i = 1; i < count; i++)
        if (placed[i].run == placed[i - 1].run &&
            strcmp(placed[i].use->path, placed[i - 1].use->path) == 0)
            placed[i].turn = placed[i - 1].turn + 1;
    qsort(placed, count, sizeof *placed, compare_paths);
}

/* Where the uses of the same path end. */
static size_t end_path(const struct placed *placed, size_t first, size_t count)
{
    size_t end = first + 1;
    while (end < count && strcmp(placed[end].use->path, placed[first].use->path) == 0)
        end++;
    return end;
}

int sfs_profile_merge(struct sfs_profile *profiles, size_t count, struct sfs_buf *text,
                      struct sfs_error *err)
{
    size_t total = 0, kept = 0;
    for (size_t i = 0; i < count; i++)
        total += profiles[i].count;
    AUTO(sfs_free) struct placed *placed = calloc(total + 1, sizeof *placed);
    if (!placed)
        return sfs_fail_memory(err);
    total = list_uses(profiles, count, placed);
    sort_turns(placed, total);
    for (size_t i = 0, end; i < total; i = end) {
        end = end_path(placed, i, total);
        ssize_t turns = join_path(placed + i, end - i, count);
        if (turns < 0)
            return sfs_fail_memory(err);
        memmove(placed + kept, placed + i, (size_t)turns * sizeof *placed);
        kept += (size_t)turns;
    }
    qsort(placed, kept, sizeof *placed, compare_places);
    for (size_t i = 0; i < kept; i++)
        if (sfs_use_print(placed[i].use, text) < 0)
            return sfs_fail_memory(err);
    return 0;
}
