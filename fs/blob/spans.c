/* Requests for decoded bytes: who decodes, who waits, and what is decoded ahead. */
#include "blob/spans.h"

#include "base/thread.h"
#include "base/wanted.h"
#include "blob/slots.h"
#include <errno.h>
#include <time.h>

/* A reader is lent at most so many bytes at once. */
#define MAX_LENT (1u << 20)
/* Where it is known what will be read, a reader that is not expected has to read so much in a row
 * before anything is brought ahead of it from another machine. */
#define UNEXPECTED (32ull << 20)
/* Who comes so long after another has begun to read a span does not share its failure: the other
 * may have waited for a machine that did not answer, and have come to the end of its patience. */
#define LATE_NS 2000000000ull

void sfs_slice_release(struct sfs_slice *slice)
{
    if (slice->release)
        slice->release(slice->owner);
    *slice = (struct sfs_slice){ 0 };
}

void sfs_slice_spend(struct sfs_slice *slice)
{
    if (slice->spend)
        slice->spend(slice->owner);
    sfs_slice_release(slice);
}

int sfs_spans_open(struct sfs_cache *cache, struct sfs_blob **blob,
                   const struct sfs_seek_table *table, const char *label,
                   struct sfs_spans **ret_spans, struct sfs_error *err)
{
    int r = sfs_seek_check(table, (*blob)->size, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", label);
    AUTO(sfs_free) struct sfs_spans *spans = calloc(1, sizeof *spans);
    AUTO(sfs_free) char *copy = strdup(label);
    AUTO(sfs_free) struct sfs_slot **slots = calloc(table->count + 1ull, sizeof(struct sfs_slot *));
    if (!spans || !copy || !slots || sfs_nearby_open(&spans->nearby, table->count) < 0)
        return sfs_fail_memory(err);
    spans->cache = cache;
    spans->table = *table;
    spans->label = TAKE(copy);
    spans->slots = TAKE(slots);
    spans->blob = TAKE(*blob);
    pthread_cond_init(&spans->idle, NULL);
    *ret_spans = TAKE(spans);
    return 0;
}

/* Jobs that wait for another machine end now. */
static void stop_jobs(struct sfs_spans *spans)
{
    {
        LOCK(&spans->cache->lock);
        spans->closing = true;
    }
    sfs_blob_stop(spans->blob);
    if (spans->table.windows_blob)
        sfs_blob_stop(spans->table.windows_blob);
}

/* Frees the slots, once no job decodes any of them. */
static void drop_slots(struct sfs_spans *spans)
{
    struct sfs_cache *cache = spans->cache;
    LOCK(&cache->lock);
    while (spans->jobs > 0)
        pthread_cond_wait(&spans->idle, &cache->lock);
    sfs_slots_drop(spans);
}

void sfs_spans_close(struct sfs_spans **spans_ptr)
{
    struct sfs_spans *spans = *spans_ptr;
    if (!spans)
        return;
    *spans_ptr = NULL;
    stop_jobs(spans);
    drop_slots(spans);
    pthread_cond_destroy(&spans->idle);
    sfs_blob_close(&spans->blob);
    free(spans->label);
    free(spans->slots);
    sfs_nearby_close(&spans->nearby);
    free(spans);
}

const struct sfs_seek_table *sfs_spans_table(const struct sfs_spans *spans)
{
    return &spans->table;
}

struct sfs_blob *sfs_spans_blob(struct sfs_spans *spans)
{
    return spans->blob;
}

const char *sfs_spans_label(const struct sfs_spans *spans)
{
    return spans->label;
}

static void release_slice(void *owner)
{
    struct sfs_slot *slot = owner;
    struct sfs_cache *cache = slot->spans->cache;
    LOCK(&cache->lock);
    sfs_slot_release(cache, slot);
}

/* The `spend` of a slice. */
static void spend_slice(void *owner)
{
    struct sfs_slot *slot = owner;
    LOCK(&slot->spans->cache->lock);
    slot->is_spent = slot->filled == slot->size;
}

/* Makes the first `wanted` bytes of a span be decoded in the background, unless they are there.
 * Returns false if there is no memory for it. The lock is held. */
static bool fill_span(struct sfs_spans *spans, uint32_t span, uint64_t wanted,
                      enum sfs_slot_reason reason, enum sfs_pool_priority priority)
{
    struct sfs_slot *there = spans->slots[span];
    if (wanted == 0 || (there && (there->state != SFS_SLOT_IDLE || there->filled >= wanted)))
        return true;
    if (there && there->has_job) {
        there->wanted = there->wanted < wanted ? (size_t)wanted : there->wanted;
        return true;
    }
    struct sfs_slot *slot = sfs_slot_get(spans, span, there ? SFS_SLOT_FILL : reason);
    if (!slot)
        return false;
    sfs_slot_submit(spans->cache, slot, (size_t)wanted, priority);
    return true;
}

/* What a reader's going on comes to. */
struct spans_plan {
    uint32_t first, count; /* spans to be decoded ahead */
    bool has_fetch;        /* some are to be fetched before: these */
    uint32_t fetch_first, fetch_last;
};

/* As many spans as the cores can make use of and half of the budget holds, and none behind where
 * the reader stops. The lock is held, as below. */
static struct spans_plan plan_ahead(struct sfs_spans *spans, uint64_t offset, uint64_t size,
                                    uint32_t span, uint64_t end, uint64_t remote)
{
    struct spans_plan plan = { 0 };
    uint64_t from, to;
    uint32_t max = 4 * sfs_pool_threads(spans->cache->pool);
    uint32_t left = sfs_seek_find(&spans->table, end - 1) - span;
    plan.count = sfs_readahead_note(&spans->readahead, offset, size, span, left < max ? left : max,
                                    &plan.first);
    if (remote && spans->is_planned && sfs_readahead_run(&spans->readahead) < UNEXPECTED)
        return (struct spans_plan){ 0 };
    /* Compressed bytes are never fewer than half of the decoded ones by much, where it matters. */
    if (remote && sfs_readahead_fetch(&spans->readahead, 2 * remote, end, &from, &to)) {
        plan.has_fetch = true;
        plan.fetch_first = sfs_seek_find(&spans->table, from);
        plan.fetch_last = sfs_seek_find(&spans->table, to - 1);
    }
    return plan;
}

/* Windows that lie on another machine are small, and follow one another as their spans do: one by
 * one each would cost a round trip. Where an index has them elsewhere, they come one by one. */
static void fetch_windows(const struct sfs_spans *spans, uint32_t first, uint32_t last)
{
    const struct sfs_point *points = spans->table.points;
    while (first < last && points[first].window_size == 0)
        first++;
    uint64_t start = points[first].window, end = points[last].window + points[last].window_size;
    uint64_t most = (last - first + 1ull) * SFS_WINDOW_STORED_MAX;
    if (spans->table.windows_blob && start < end && end - start <= most)
        sfs_blob_fetch(spans->table.windows_blob, start, end - start, SFS_POOL_AHEAD);
}

static void fetch_ahead(const struct sfs_spans *spans, const struct spans_plan *plan)
{
    uint64_t start, end, unused;
    fetch_windows(spans, plan->fetch_first, plan->fetch_last);
    sfs_seek_input(&spans->table, plan->fetch_first, &start, &unused);
    sfs_seek_input(&spans->table, plan->fetch_last, &unused, &end);
    if (start < end)
        sfs_blob_fetch(spans->blob, start, end - start, SFS_POOL_AHEAD);
}

static void read_ahead(struct sfs_spans *spans, const struct spans_plan *plan)
{
    for (uint32_t i = 0; i < plan->count; i++)
        if (!fill_span(spans, plan->first + i, sfs_seek_size(&spans->table, plan->first + i),
                       SFS_SLOT_AHEAD, SFS_POOL_AHEAD))
            break;
}

static void wait_for(struct sfs_cache *cache, struct sfs_slot *slot)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    slot->waiting++;
    if (sfs_wanted_may_end()) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += SFS_WANTED_TICK * 1000000l;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&slot->changed, &cache->lock, &until);
    } else {
        pthread_cond_wait(&slot->changed, &cache->lock);
    }
    slot->waiting--;
    clock_gettime(CLOCK_MONOTONIC, &end);
    cache->stats.wait_ns +=
        (uint64_t)((end.tv_sec - begin.tv_sec) * 1000000000ll + end.tv_nsec - begin.tv_nsec);
}

/* Waits, or decodes, until `target` bytes of the slot are there. False: nobody wants them any
 * more. */
static bool bring(struct sfs_cache *cache, struct sfs_slot *slot, size_t target)
{
    bool has_decoded = false, has_waited = false;
    while (slot->filled < target && slot->state != SFS_SLOT_FAILED) {
        if ((has_decoded || has_waited) && !sfs_wanted_is())
            return false;
        if (slot->state == SFS_SLOT_IDLE) {
            sfs_slot_run(cache, slot, target, true);
            has_decoded = true;
        } else {
            wait_for(cache, slot);
            has_waited = true;
        }
    }
    *(has_decoded  ? &cache->stats.misses
      : has_waited ? &cache->stats.waits
                   : &cache->stats.hits) += 1;
    return true;
}

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* The slot of a span with `target` bytes, or FAILED; the caller releases it. ENOMEM. EINTR: nobody
 * waits any more. The lock is held. */
static int bring_slot(struct sfs_spans *spans, uint32_t span, size_t target,
                      struct sfs_slot **ret_slot, struct sfs_error *err)
{
    uint64_t came_ns = now_ns();
    for (;;) {
        struct sfs_slot *slot = sfs_slot_get(spans, span, SFS_SLOT_DEMAND);
        if (!slot)
            return sfs_fail(err, ENOMEM, "%s: out of memory", spans->label);
        if (!bring(spans->cache, slot, target)) {
            sfs_slot_release(spans->cache, slot);
            return sfs_fail(err, EINTR, "%s: nobody waits for it any more", spans->label);
        }
        if (slot->filled >= target || came_ns < slot->began_ns + LATE_NS) {
            *ret_slot = slot;
            return 0;
        }
        sfs_slot_release(spans->cache, slot);
    }
}

static int lend(struct sfs_cache *cache, struct sfs_slot *slot, size_t from, size_t to,
                struct sfs_slice *ret_slice, struct sfs_error *err)
{
    if (slot->filled < to) {
        int r = slot->failure;
        if (err && slot->failure_text)
            *err = *slot->failure_text;
        else
            sfs_fail_memory(err);
        sfs_slot_release(cache, slot);
        return r;
    }
    cache->stats.served += to - from;
    *ret_slice = (struct sfs_slice){ .data = slot->data + from,
                                     .size = to - from,
                                     .release = release_slice,
                                     .spend = to == slot->size ? spend_slice : NULL,
                                     .owner = slot };
    return 0;
}

int sfs_spans_pin(struct sfs_spans *spans, uint64_t offset, size_t size,
                  struct sfs_slice *ret_slice, struct sfs_error *err)
{
    struct sfs_cache *cache = spans->cache;
    if (offset >= spans->table.out_size || size == 0)
        return sfs_fail(err, EINVAL, "%s: nothing at byte %llu", spans->label,
                        (unsigned long long)offset);
    uint32_t span = sfs_seek_find(&spans->table, offset);
    size_t from = (size_t)(offset - spans->table.points[span].out);
    size_t left = (size_t)sfs_seek_size(&spans->table, span) - from;
    size_t part = size < MAX_LENT ? size : MAX_LENT;
    if (part > left)
        part = left;

    LOCK(&cache->lock);
    struct sfs_slot *slot = NULL;
    int r = bring_slot(spans, span, from + part, &slot, err);
    return r < 0 ? r : lend(cache, slot, from, from + part, ret_slice, err);
}

/* Fetches before it decodes, so that decoders find their bytes asked for in the order of the blob.
 */
void sfs_spans_follow(struct sfs_spans *spans, uint64_t offset, uint64_t size, uint64_t end)
{
    uint64_t out_size = spans->table.out_size;
    if (offset >= out_size || size == 0)
        return;
    if (end <= offset || end > out_size)
        end = out_size;
    uint64_t last = end - offset > size ? offset + size - 1 : end - 1;
    uint32_t span = sfs_seek_find(&spans->table, last);
    uint64_t remote = sfs_blob_ahead(spans->blob);
    struct sfs_cache *cache = spans->cache;
    LOCK(&cache->lock);
    struct spans_plan plan = plan_ahead(spans, offset, size, span, end, remote);
    if (plan.has_fetch) {
        pthread_mutex_unlock(&cache->lock);
        fetch_ahead(spans, &plan);
        pthread_mutex_lock(&cache->lock);
    }
    if (spans->closing)
        return;
    read_ahead(spans, &plan);
    /* The rest of the span will be wanted, more often than not, and its decoder stands where it
     * has to go on: so it is finished when there is nothing better to do. */
    if (spans->slots[span] && cache->spares.used <= cache->spares.limit)
        fill_span(spans, span, sfs_seek_size(&spans->table, span), SFS_SLOT_FILL,
                  SFS_POOL_BACKGROUND);
}

/* Has a span decoded that nobody has asked for. The lock is held. */
static void guess(struct sfs_spans *spans, uint32_t span)
{
    uint64_t size = sfs_seek_size(&spans->table, span);
    if (spans->slots[span] || !fill_span(spans, span, size, SFS_SLOT_AHEAD, SFS_POOL_AHEAD) ||
        !spans->slots[span])
        return;
    spans->slots[span]->is_guess = true;
    spans->cache->stats.guessed += size;
}

void sfs_spans_expect(struct sfs_spans *spans, uint64_t offset, uint64_t size)
{
    uint32_t near[SFS_NEARBY_AHEAD];
    uint64_t end, out_size = spans->table.out_size;
    if (offset >= out_size || size == 0)
        return;
    if (__builtin_add_overflow(offset, size, &end) || end > out_size)
        end = out_size;
    uint32_t first = sfs_seek_find(&spans->table, offset);
    uint32_t last = sfs_seek_find(&spans->table, end - 1);
    LOCK(&spans->cache->lock);
    for (uint32_t span = first; span <= last && !spans->closing; span++) {
        uint32_t count = sfs_nearby_touch(&spans->nearby, span, near);
        for (uint32_t i = 0; i < count; i++)
            guess(spans, near[i]);
    }
}

void sfs_spans_plan(struct sfs_spans *spans)
{
    LOCK(&spans->cache->lock);
    spans->is_planned = true;
}

bool sfs_spans_prefetch(struct sfs_spans *spans, uint64_t offset, uint64_t size,
                        enum sfs_pool_priority priority)
{
    uint64_t end, out_size = spans->table.out_size;
    if (offset >= out_size || size == 0)
        return true;
    if (__builtin_add_overflow(offset, size, &end) || end > out_size)
        end = out_size;
    uint32_t first = sfs_seek_find(&spans->table, offset);
    uint32_t last = sfs_seek_find(&spans->table, end - 1);
    enum sfs_slot_reason reason = priority == SFS_POOL_BACKGROUND ? SFS_SLOT_FILL : SFS_SLOT_AHEAD;
    bool has_room = true;
    LOCK(&spans->cache->lock);
    for (uint32_t span = first; span <= last && has_room && !spans->closing; span++) {
        uint64_t wanted =
            span < last ? sfs_seek_size(&spans->table, span) : end - spans->table.points[span].out;
        has_room = fill_span(spans, span, wanted, reason, priority);
    }
    return has_room;
}
