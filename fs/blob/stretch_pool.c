/* Which stretches are decoded ahead, which are kept, and which give their memory to the next. */
#include "blob/stretch_pool.h"

#include "base/pool.h"
#include "base/thread.h"
#include <errno.h>
#include <sys/queue.h>

#define BUCKETS  1024u
#define OVERHEAD 4096u /* bytes that an entry is charged beside its buffers */
#define PASSED   4u    /* so many entries that the reader took last are kept: it may come back */
#define SPARES   4u    /* so many memories are kept for the next entries, */
#define SPARE    (64u << 10) /* and only those of at least so many bytes */

enum stretch_state { QUEUED, RUNNING, READY, FAILED };

struct entry {
    struct sfs_stretch stretch; /* must be first; only the running thread uses it until READY */
    struct sfs_frames *frames;
    struct sfs_spans *spans;
    uint32_t first;
    uint64_t charged;
    /* guarded by the lock: */
    enum stretch_state state;
    uint32_t refs;   /* its job's, and one for each time that it is lent */
    uint64_t number; /* its place in the order of asking; 0: nobody asked for it ahead */
    uint64_t taken;  /* the count `takes` when the reader took it last; 0: not yet */
    int failure;
    struct sfs_error failure_text;
    LIST_ENTRY(entry) bucket;
    TAILQ_ENTRY(entry) age;
};

struct idle {
    struct idle *next;
    struct sfs_stretch_decoder *decoder;
};

struct sfs_frames {
    struct sfs_pool *pool;
    uint64_t budget;
    struct sfs_stretch_wish wish;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    LIST_HEAD(, entry) buckets[BUCKETS];
    TAILQ_HEAD(entries, entry) entries; /* oldest first */
    uint64_t used;                      /* bytes of all entries */
    uint64_t made;                      /* how many entries were ever asked for ahead */
    uint64_t reached;                   /* the highest number among those that the reader took */
    uint64_t takes;                     /* how often the reader went on to another entry */
    struct idle *idle;                  /* decoders at rest */
    struct sfs_stretch spares[SPARES];  /* memory only; what was used last is still near the core */
    unsigned spare_count;
};

int sfs_frames_open(unsigned threads, uint64_t budget, const struct sfs_stretch_wish *wish,
                    struct sfs_frames **ret_frames, struct sfs_error *err)
{
    AUTO(sfs_free) struct sfs_frames *frames = calloc(1, sizeof *frames);
    if (!frames)
        return sfs_fail_memory(err);
    int r = sfs_pool_open(threads, &frames->pool, err);
    if (r < 0)
        return r;
    frames->budget = budget;
    frames->wish = *wish;
    pthread_mutex_init(&frames->lock, NULL);
    pthread_cond_init(&frames->changed, NULL);
    TAILQ_INIT(&frames->entries);
    *ret_frames = TAKE(frames);
    return 0;
}

static void drop_entry(struct sfs_frames *frames, struct entry *entry)
{
    struct sfs_stretch *stretch = &entry->stretch;
    LIST_REMOVE(entry, bucket);
    TAILQ_REMOVE(&frames->entries, entry, age);
    frames->used -= entry->charged;
    if (stretch->memory_size >= SPARE && frames->spare_count < SPARES) {
        frames->spares[frames->spare_count++] =
            (struct sfs_stretch){ .memory = stretch->memory,
                                  .memory_size = stretch->memory_size,
                                  .in_memory = stretch->in_memory,
                                  .in_memory_size = stretch->in_memory_size };
        stretch->memory = stretch->in_memory = NULL;
    }
    sfs_stretch_done(stretch);
    free(entry);
}

void sfs_frames_close(struct sfs_frames **frames_ptr)
{
    struct sfs_frames *frames = *frames_ptr;
    if (!frames)
        return;
    *frames_ptr = NULL;
    sfs_pool_close(&frames->pool);
    for (struct entry *entry; (entry = TAILQ_FIRST(&frames->entries));)
        drop_entry(frames, entry);
    while (frames->spare_count > 0)
        sfs_stretch_done(&frames->spares[--frames->spare_count]);
    for (struct idle *idle; (idle = frames->idle);) {
        frames->idle = idle->next;
        sfs_stretch_decoder_close(&idle->decoder);
        free(idle);
    }
    pthread_cond_destroy(&frames->changed);
    pthread_mutex_destroy(&frames->lock);
    free(frames);
}

/* ---- entries; with the lock held ---- */

static unsigned bucket_of(const struct sfs_spans *spans, uint32_t first)
{
    return (unsigned)(((uintptr_t)spans >> 6) + first) % BUCKETS;
}

static struct entry *find_entry(struct sfs_frames *frames, const struct sfs_spans *spans,
                                uint32_t first)
{
    struct entry *entry;
    LIST_FOREACH(entry, &frames->buckets[bucket_of(spans, first)], bucket)
    if (entry->spans == spans && entry->first == first)
        return entry;
    return NULL;
}

/* Is the reader done with it? Those that it took last it may want again: they may hold many small
 * files. One that it never took is passed when it has taken a later one. */
static bool is_passed(const struct sfs_frames *frames, const struct entry *entry)
{
    if (entry->refs > 0)
        return false;
    return entry->taken ? entry->taken + PASSED < frames->takes : entry->number < frames->reached;
}

/* Drops the entries that the reader has passed, so that their memory is used again while it is in
 * the processor's caches. */
static void drop_passed(struct sfs_frames *frames)
{
    struct entry *entry;
    while ((entry = TAILQ_FIRST(&frames->entries)) && is_passed(frames, entry))
        drop_entry(frames, entry);
}

/* Drops what the reader has passed, oldest first, until `size` more bytes are within the budget, or
 * nothing is left to drop. */
static void make_room(struct sfs_frames *frames, uint64_t size)
{
    struct entry *entry = TAILQ_FIRST(&frames->entries);
    while (entry && frames->used + size > frames->budget) {
        struct entry *next = TAILQ_NEXT(entry, age);
        if (is_passed(frames, entry))
            drop_entry(frames, entry);
        entry = next;
    }
}

static uint64_t charge_of(const struct sfs_seek_table *table, uint32_t first)
{
    uint64_t size = OVERHEAD, start, end;
    uint32_t count = sfs_stretch_spans(table, first);
    for (uint32_t i = first; i < first + count; i++)
        size += sfs_seek_size(table, i);
    sfs_seek_input(table, first, &start, &end);
    if (table->points[first].bits & SFS_POINT_RAW) {
        uint64_t last_start;
        sfs_seek_input(table, first + count - 1, &last_start, &end);
        size += SFS_WINDOW_MAX;
    }
    return size + (end - start);
}

/* Gives the entry the memory kept last that is not far too large. */
static void take_spare(struct sfs_frames *frames, struct entry *entry)
{
    for (unsigned i = frames->spare_count; i-- > 0;) {
        struct sfs_stretch *spare = &frames->spares[i];
        uint64_t size = spare->memory_size + spare->in_memory_size;
        if (size > 2 * entry->charged)
            continue;
        entry->stretch = *spare;
        entry->charged = size > entry->charged ? size : entry->charged;
        *spare = frames->spares[--frames->spare_count];
        return;
    }
}

/* Makes the entry of a stretch. NULL: no memory, or none to spare. */
static struct entry *add_entry(struct sfs_frames *frames, struct sfs_spans *spans, uint32_t first,
                               bool is_demand)
{
    uint64_t charge = charge_of(sfs_spans_table(spans), first);
    make_room(frames, charge);
    if (!is_demand && frames->used + charge > frames->budget)
        return NULL;
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->frames = frames;
    entry->spans = spans;
    entry->first = first;
    entry->charged = charge;
    entry->number = is_demand ? 0 : ++frames->made;
    take_spare(frames, entry);
    frames->used += entry->charged;
    LIST_INSERT_HEAD(&frames->buckets[bucket_of(spans, first)], entry, bucket);
    TAILQ_INSERT_TAIL(&frames->entries, entry, age);
    return entry;
}

static struct idle *take_decoder(struct sfs_frames *frames)
{
    struct idle *idle = frames->idle;
    if (idle) {
        frames->idle = idle->next;
        return idle;
    }
    idle = calloc(1, sizeof *idle);
    if (idle)
        idle->decoder = sfs_stretch_decoder_open();
    if (idle && idle->decoder)
        return idle;
    free(idle);
    return NULL;
}

static int decode(struct entry *entry, struct sfs_stretch_decoder *decoder)
{
    struct sfs_error why;
    int r = sfs_stretch_decode(decoder, entry->spans, entry->first, &entry->frames->wish,
                               &entry->stretch, &why);
    if (r < 0 && r != -ENOMEM)
        sfs_fail(&entry->failure_text, EIO, "%s: span %u: %s", sfs_spans_label(entry->spans),
                 entry->first, why.text);
    return r == 0 || r == -ENOMEM ? r : -EIO;
}

/* Decodes a QUEUED entry. The caller has the lock (by LOCK); it is dropped meanwhile. */
static void run_entry(struct sfs_frames *frames, struct entry *entry)
{
    entry->state = RUNNING;
    struct idle *idle = take_decoder(frames);
    pthread_mutex_unlock(&frames->lock);
    int r = idle ? decode(entry, idle->decoder) : -ENOMEM;
    pthread_mutex_lock(&frames->lock);
    if (idle) {
        idle->next = frames->idle;
        frames->idle = idle;
    }
    entry->failure = r;
    entry->state = r < 0 ? FAILED : READY;
    pthread_cond_broadcast(&frames->changed);
}

/* ---- asking and taking ---- */

static void run_job(void *arg)
{
    struct entry *entry = arg;
    struct sfs_frames *frames = entry->frames;
    LOCK(&frames->lock);
    if (entry->state == QUEUED)
        run_entry(frames, entry);
    entry->refs--;
}

/* Makes an entry for a job to decode, unless the stretch has one. False: there is no room. */
static bool queue_one(struct sfs_frames *frames, struct sfs_spans *spans, uint32_t first,
                      struct entry **ret_new)
{
    LOCK(&frames->lock);
    *ret_new = NULL;
    if (find_entry(frames, spans, first))
        return true;
    struct entry *entry = add_entry(frames, spans, first, false);
    if (!entry)
        return false;
    entry->refs++;
    *ret_new = entry;
    return true;
}

static void drop_ref(struct entry *entry)
{
    LOCK(&entry->frames->lock);
    entry->refs--;
}

/* Begins a stretch in the background, unless it has an entry. False: there is no room. */
static bool ask_one(struct sfs_frames *frames, struct sfs_spans *spans, uint32_t first)
{
    struct entry *entry;
    if (!queue_one(frames, spans, first, &entry))
        return false;
    if (entry && sfs_pool_submit(frames->pool, SFS_POOL_AHEAD, run_job, entry) < 0)
        drop_ref(entry); /* whoever needs it runs it */
    return true;
}

bool sfs_frames_ask(struct sfs_frames *frames, struct sfs_spans *spans, uint64_t offset,
                    uint64_t size)
{
    const struct sfs_seek_table *table = sfs_spans_table(spans);
    uint64_t end = offset + size;
    while (offset < end) {
        uint32_t first = sfs_stretch_first(table, sfs_seek_find(table, offset));
        uint32_t next = first + sfs_stretch_spans(table, first);
        if (!ask_one(frames, spans, first))
            return false;
        offset = next < table->count ? table->points[next].out : end;
    }
    return true;
}

static int fail_entry(const struct entry *entry, struct sfs_error *err)
{
    if (entry->failure == -ENOMEM)
        return sfs_fail_memory(err);
    if (err)
        *err = entry->failure_text;
    return entry->failure;
}

/* Brings the entry to READY or FAILED, by decoding or waiting. The lock is held, and dropped
 * meanwhile. */
static void bring(struct sfs_frames *frames, struct entry *entry)
{
    entry->refs++;
    if (entry->state == QUEUED)
        run_entry(frames, entry);
    while (entry->state == RUNNING)
        pthread_cond_wait(&frames->changed, &frames->lock);
    if (entry->number > frames->reached)
        frames->reached = entry->number;
    if (frames->takes == 0 || entry->taken != frames->takes)
        entry->taken = ++frames->takes;
    drop_passed(frames);
}

int sfs_frames_get(struct sfs_frames *frames, struct sfs_spans *spans, uint64_t offset,
                   const struct sfs_stretch **ret_stretch, struct sfs_error *err)
{
    const struct sfs_seek_table *table = sfs_spans_table(spans);
    uint32_t first = sfs_stretch_first(table, sfs_seek_find(table, offset));
    LOCK(&frames->lock);
    struct entry *entry = find_entry(frames, spans, first);
    if (!entry)
        entry = add_entry(frames, spans, first, true);
    if (!entry)
        return sfs_fail_memory(err);
    bring(frames, entry);
    if (entry->state == FAILED) {
        entry->refs--;
        return fail_entry(entry, err);
    }
    *ret_stretch = &entry->stretch;
    return 0;
}

/* The stretch is the entry's first member, and only lent as const. */
static struct entry *entry_of(const struct sfs_stretch *stretch)
{
    return (struct entry *)(uintptr_t)stretch;
}

void sfs_stretch_hold(const struct sfs_stretch *stretch)
{
    struct entry *entry = entry_of(stretch);
    LOCK(&entry->frames->lock);
    entry->refs++;
}

void sfs_stretch_release(const struct sfs_stretch *stretch)
{
    drop_ref(entry_of(stretch));
}
