/* Several runs as one: where each path comes is the mean of where it came in the runs that used it,
 * and what fewer of them used comes later, so that what all need is fetched first. */
#include "tree/profile_merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A path of a run. */
struct placed {
    struct sfs_use *use;
    size_t run;
    double place; /* in its run: 0 first, 1 last; of the merged one: what it is sorted by */
};

static int compare_paths(const void *a, const void *b)
{
    const struct placed *left = a, *right = b;
    int order = strcmp(left->use->path, right->use->path);
    if (order != 0)
        return order;
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

static int join_ranges(struct sfs_ranges *ranges, const struct sfs_ranges *more)
{
    for (size_t i = 0; i < more->count; i++)
        if (sfs_ranges_add(ranges, more->items[i].offset, more->items[i].size) < 0)
            return -ENOMEM;
    return 0;
}

/* Joins the uses of one path, those of each run together, into the first one. */
static int join_path(struct placed *placed, size_t count, size_t runs)
{
    struct sfs_use *use = placed[0].use;
    double sum = 0;
    size_t users = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || placed[i].run != placed[i - 1].run) {
            sum += placed[i].place;
            users++;
        }
        if (placed[i].use->kind > use->kind)
            use->kind = placed[i].use->kind;
        if (i > 0 && join_ranges(&use->ranges, &placed[i].use->ranges) < 0)
            return -ENOMEM;
    }
    sfs_ranges_merge(&use->ranges, 0);
    placed[0].place = sum / (double)users + 1 - (double)users / (double)runs;
    return 0;
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
    qsort(placed, total, sizeof *placed, compare_paths);
    for (size_t i = 0, end; i < total; i = end) {
        for (end = i + 1; end < total && strcmp(placed[end].use->path, placed[i].use->path) == 0;)
            end++;
        if (join_path(placed + i, end - i, count) < 0)
            return sfs_fail_memory(err);
        placed[kept++] = placed[i];
    }
    qsort(placed, kept, sizeof *placed, compare_places);
    for (size_t i = 0; i < kept; i++)
        if (sfs_use_print(placed[i].use, text) < 0)
            return sfs_fail_memory(err);
    return 0;
}
