/* Reading a blob that is fetched: waiting and looking ahead. (What becomes of it when all is there
 * is in range_whole.c.) */
#include "blob/blob_range.h"

#include "base/wanted.h"
#include "blob/range_parts.h"
#include <errno.h>
#include <stagefs/format.h>

#define PATIENCE_MS 60000
#define PIECE       (4ull << 20)  /* bytes that are brought, and then copied, at once */
#define NEAR        (1ull << 20)  /* so far from where a reader stopped, it is the same reader */
#define LONG        (8ull << 20)  /* who has read so many bytes in a row reads on */
#define AHEAD       (32ull << 20) /* bytes that are brought ahead of a reader, at most */
#define TRY_AGAIN   1000          /* ms between tries while the other machine does not answer */
#define SILENCE     5000          /* ms without a byte, after which a reader says so */
#define TAKEN       16u           /* kept blocks that are compared before others get the lock */
#define LONGEST     1000 /* ms: a tick counts for no more, since then it was us who stood still */

/* A range to be brought by the pool, for whoever reads it, or for nobody yet. */
struct range_job {
    struct sfs_range_blob *range;
    struct sfs_range_wish wish;
    unsigned users; /* the pool, and the reader that waits for it */
    bool is_done;
    int result;
    struct sfs_error err; /* of the result */
};

/* How a reader waits. */
struct patience {
    bool has_begun;        /* to wait for that block */
    uint32_t block, least; /* least: how many blocks a request of its gets at least */
    int64_t silent_ms;     /* so long it has waited for nothing */
    uint64_t received;     /* what had come from the other machine at the last look */
    int64_t again_ms;      /* when the next try is due; 0: at once */
    struct range_job *job; /* of this reader; NULL: none is under way */
    struct sfs_error why;  /* the last try failed; empty: none did */
};

/* What a reader still wants: bytes from some place in a block on. */
struct range_part {
    uint32_t block, last; /* last: of the blocks that it wants */
    size_t from, size;    /* from: in the first block */
    char *to;
};

/* ---- waiting for bytes */

void sfs_range_warn(const struct sfs_range_blob *range, const char *text)
{
    const struct sfs_progress *progress = range->progress;
    if (progress && progress->warn)
        progress->warn(progress->user, text);
}

static void note_stall(struct sfs_range_blob *range, const struct sfs_error *why)
{
    char text[sizeof why->text + 200];
    if (!range->is_stalled || atomic_exchange(range->is_stalled, true))
        return;
    atomic_fetch_add(&sfs_range_counters.stalls, 1);
    snprintf(text, sizeof text, "%s: reads wait until it answers, each up to %u seconds: %s",
             range->where, range->patience_ms / 1000, why->text);
    sfs_range_warn(range, text);
}

static void note_answer(struct sfs_range_blob *range)
{
    char text[400];
    if (!range->is_stalled || !atomic_load(range->is_stalled) ||
        !atomic_exchange(range->is_stalled, false))
        return;
    snprintf(text, sizeof text, "%.300s answers again", range->where);
    sfs_range_warn(range, text);
}

/* Ends the reader's part in a job. The lock is held, as below. */
static void leave_job(struct range_job **job)
{
    if (*job && --(*job)->users == 0)
        free(*job);
    *job = NULL;
}

static void run_job(void *arg)
{
    struct range_job *job = arg;
    struct sfs_range_blob *range = job->range;
    LOCK(&range->lock);
    for (uint32_t block = job->wish.first; block <= job->wish.last && !range->closing;) {
        bool is_pending = (range->states[block] & SFS_BLOCK_STATE) == SFS_BLOCK_PENDING;
        if (is_pending || sfs_range_has(range, block) || sfs_range_take_kept(range, block)) {
            block++;
            continue;
        }
        struct sfs_range_wish wish = job->wish;
        wish.first = block;
        int r = sfs_range_fetch(range, &wish, &job->err);
        if (r == 0)
            note_answer(range);
        if (r < 0) {
            job->result = r;
            sfs_range_forget_plan(range, block, job->wish.last);
            break;
        }
    }
    job->is_done = true;
    leave_job(&job);
    range->jobs--;
    pthread_cond_broadcast(&range->changed);
}

static bool is_stalled(const struct sfs_range_blob *range)
{
    return range->is_stalled && atomic_load(range->is_stalled);
}

/* Has blocks brought by the pool. NULL: no memory, or nothing to do. Where `has_reader`, the job is
 * the caller's too, until leave_job(). */
static struct range_job *submit(struct sfs_range_blob *range, struct sfs_range_wish wish,
                                bool has_reader)
{
    static const enum sfs_pool_priority as[] = { [SFS_REMOTE_DEMAND] = SFS_POOL_DEMAND,
                                                 [SFS_REMOTE_PROFILE] = SFS_POOL_AHEAD,
                                                 [SFS_REMOTE_FILL] = SFS_POOL_BACKGROUND };
    while (wish.first <= wish.last && sfs_range_has(range, wish.first))
        wish.first++;
    if (wish.first > wish.last || range->closing || (!has_reader && is_stalled(range)))
        return NULL;
    struct range_job *job = malloc(sizeof *job);
    if (!job)
        return NULL;
    *job = (struct range_job){ .range = range, .wish = wish, .users = has_reader ? 2 : 1 };
    struct sfs_pool *pool = wish.priority == SFS_REMOTE_DEMAND ? range->demand_pool : range->pool;
    if (sfs_pool_submit(pool, as[wish.priority], run_job, job) < 0) {
        free(job);
        return NULL;
    }
    range->jobs++;
    return job;
}

/* Nothing came in time. */
static int give_up(struct sfs_range_blob *range, const struct patience *patience,
                   struct sfs_error *err)
{
    atomic_fetch_add(&sfs_range_counters.failed, 1);
    if (patience->why.text[0])
        return sfs_fail(err, EIO, "%s: %s", range->blob.name, patience->why.text);
    return sfs_fail(err, EIO, "%s: no answer for %u seconds", range->blob.name,
                    range->patience_ms / 1000);
}

/* The reader's job has failed. 0: it will be tried again. */
static int bear(struct sfs_range_blob *range, struct patience *patience, struct sfs_error *err)
{
    int r = patience->job->result;
    patience->why = patience->job->err;
    leave_job(&patience->job);
    if (r == -ENOMEM || r == -ECANCELED)
        return sfs_fail(err, -r, "%s", patience->why.text);
    if (r != -EAGAIN)
        return give_up(range, patience, err);
    note_stall(range, &patience->why);
    patience->again_ms = sfs_range_now_ms() + TRY_AGAIN;
    return 0;
}

static void begin_to_wait(const struct sfs_range_blob *range, uint32_t block,
                          struct patience *patience)
{
    if (patience->has_begun && patience->block == block)
        return;
    patience->has_begun = true;
    patience->block = block;
    patience->silent_ms = 0;
    patience->received = atomic_load(range->received);
    patience->why.text[0] = 0;
}

/* Waits for a tick. It wears on the patience if nothing came meanwhile: where other requests are
 * served before this one, or bytes come one by one, the machine is there. It does so in any case
 * while the reader's own requests fail. A process that was stopped, or got no processor, finds a
 * tick to have been long: the machine is not to blame for that. */
static void wait_a_tick(struct sfs_range_blob *range, struct patience *patience)
{
    int64_t begin = sfs_range_now_ms();
    sfs_range_wait(range, SFS_WANTED_TICK);
    int64_t passed = sfs_range_now_ms() - begin;
    atomic_fetch_add(&sfs_range_counters.wait_ns, (unsigned long long)passed * 1000000u);
    uint64_t received = atomic_load(range->received);
    if (received != patience->received && !patience->why.text[0])
        patience->silent_ms = 0;
    else
        patience->silent_ms += passed < LONGEST ? passed : LONGEST;
    patience->received = received;
}

/* Goes on waiting for a block that is not here: for a job of its own, or for one that has begun
 * with it. */
static int wait_for(struct sfs_range_blob *range, uint32_t block, uint32_t last,
                    struct patience *patience, struct sfs_error *err)
{
    begin_to_wait(range, block, patience);
    bool is_pending = (range->states[block] & SFS_BLOCK_STATE) == SFS_BLOCK_PENDING;
    if (patience->job && patience->job->is_done) {
        if (patience->job->result < 0)
            return bear(range, patience, err);
        leave_job(&patience->job);
    }
    if (!sfs_wanted_is())
        return sfs_fail(err, EINTR, "%s: nobody waits for it any more", range->blob.name);
    if (patience->silent_ms > range->patience_ms)
        return give_up(range, patience, err);
    if (is_pending)
        sfs_range_hurry(range, block);
    if (!is_pending && !patience->job && sfs_range_now_ms() >= patience->again_ms) {
        const struct sfs_range_wish wish = { block, last, patience->least, SFS_REMOTE_DEMAND };
        patience->job = submit(range, wish, true);
        if (!patience->job)
            return range->closing ? sfs_fail(err, ECANCELED, "cancelled") : sfs_fail_memory(err);
    }
    wait_a_tick(range, patience);
    if (patience->silent_ms > SILENCE && !is_stalled(range)) {
        const struct sfs_error why = { .text = "no answer for some seconds" };
        note_stall(range, &why);
    }
    return 0;
}

/* Waits until a block is here. EIO: the other machine does not give it. EINTR: nobody wants it any
 * more. The lock is held. */
static int bring(struct sfs_range_blob *range, uint32_t block, uint32_t last,
                 struct patience *patience, struct sfs_error *err)
{
    int r = 0;
    while (r == 0 && !sfs_range_has(range, block) && !sfs_range_take_kept(range, block))
        r = range->closing ? sfs_fail(err, ECANCELED, "cancelled")
                           : wait_for(range, block, last, patience, err);
    return r;
}

static const char *find_loose(const struct sfs_range_blob *range, uint32_t block)
{
    if ((range->states[block] & SFS_BLOCK_STATE) != SFS_BLOCK_LOOSE)
        return NULL;
    for (unsigned i = 0; i < SFS_RANGE_LOOSE; i++)
        if (range->loose[i].data && range->loose[i].block == block)
            return range->loose[i].data;
    return NULL;
}

static void enlist(struct sfs_range_blob *range, struct sfs_range_waiter *waiter)
{
    waiter->next = range->waiters;
    range->waiters = waiter;
}

static void leave(struct sfs_range_blob *range, const struct sfs_range_waiter *waiter)
{
    struct sfs_range_waiter **at = &range->waiters;
    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
}

/* How many bytes of the part lie in the file, from its first block on, which does. The lock is
 * held. */
static size_t count_ready(struct sfs_range_blob *range, const struct range_part *part)
{
    size_t ready = SFS_RANGE_BLOCK - part->from;
    unsigned taken = 0;
    for (uint32_t block = part->block + 1; block <= part->last && ready < part->size; block++) {
        taken += taken < TAKEN && sfs_range_take_kept(range, block);
        if ((range->states[block] & SFS_BLOCK_STATE) != SFS_BLOCK_READY)
            break;
        ready += SFS_RANGE_BLOCK;
    }
    return ready < part->size ? ready : part->size;
}

/* Reads the part's first block, and what follows it as far as that is here; how many bytes, or
 * -errno. What is in memory alone is copied as soon as it is here, and is not pushed out before:
 * else readers that come late to a processor would have it fetched for ever. */
static ssize_t read_some(struct sfs_range_blob *range, const struct range_part *part,
                         struct patience *patience, struct sfs_error *err)
{
    size_t room = SFS_RANGE_BLOCK - part->from, size = room < part->size ? room : part->size;
    {
        struct sfs_range_waiter waiter = { .block = part->block };
        LOCK(&range->lock);
        enlist(range, &waiter);
        int r = bring(range, part->block, part->last, patience, err);
        leave(range, &waiter);
        const char *loose = r == 0 ? find_loose(range, part->block) : NULL;
        if (loose)
            memcpy(part->to, loose + part->from, size);
        if (r < 0 || loose)
            return r < 0 ? r : (ssize_t)size;
        size = count_ready(range, part);
    }
    ssize_t n = sfs_io_read_at(sfs_range_file_data(range->file), part->to, size,
                               (uint64_t)part->block * SFS_RANGE_BLOCK + part->from);
    return n == (ssize_t)size
               ? n
               : sfs_fail(err, EIO, "%s: what was kept of it in the cache cannot be read",
                          range->blob.name);
}

/* ---- ahead of readers */

/* In pieces of one request each, so that several are under way. */
static void submit_pieces(struct sfs_range_blob *range, uint64_t offset, uint64_t end,
                          enum sfs_remote_priority priority)
{
    uint32_t first = (uint32_t)(offset / SFS_RANGE_BLOCK);
    uint32_t last = (uint32_t)((end - 1) / SFS_RANGE_BLOCK);
    while (first <= last) {
        uint32_t part = last - first < SFS_RANGE_MOST ? last - first : SFS_RANGE_MOST - 1;
        submit(range, (struct sfs_range_wish){ first, first + part, 1, priority }, false);
        first += part + 1;
    }
}

static void range_fetch(struct sfs_blob *blob, uint64_t offset, uint64_t size,
                        enum sfs_pool_priority priority)
{
    struct sfs_range_blob *range = (struct sfs_range_blob *)blob;
    static const enum sfs_remote_priority as[] = { [SFS_POOL_DEMAND] = SFS_REMOTE_DEMAND,
                                                   [SFS_POOL_AHEAD] = SFS_REMOTE_PROFILE,
                                                   [SFS_POOL_BACKGROUND] = SFS_REMOTE_FILL };
    LOCK(&range->lock);
    submit_pieces(range, offset, offset + size, as[priority]);
}

/* What is in memory alone must not push itself out. */
static uint64_t most_ahead(const struct sfs_range_blob *range)
{
    return range->file && !range->room_asked_ms ? AHEAD : AHEAD / 8;
}

static uint64_t range_ahead(struct sfs_blob *blob)
{
    struct sfs_range_blob *range = (struct sfs_range_blob *)blob;
    LOCK(&range->lock);
    return range->is_settled ? 0 : most_ahead(range);
}

/* How far ahead of a reader that has read so much in a row: little while it may stop anywhere, as
 * those do that look into a file; as far as it has read, once it will hardly stop. A pass never
 * does. */
static uint64_t window_of(const struct sfs_range_blob *range, uint64_t read)
{
    uint64_t most = most_ahead(range);
    if (range->in_pass)
        return most;
    if (read < NEAR)
        return 0;
    uint64_t window = read >= LONG ? read : read / 4 > NEAR ? read / 4 : NEAR;
    return window < most ? window : most;
}

/* Is this where a reader goes on? Then what comes next is brought while it works. */
static void look_ahead(struct sfs_range_blob *range, uint64_t offset, uint64_t size)
{
    uint64_t end = offset + size;
    LOCK(&range->lock);
    for (unsigned i = 0; i < SFS_RANGE_READERS; i++) {
        struct sfs_range_reader *reader = &range->readers[i];
        /* Several threads decode for one reader, so its reads come out of order. */
        if (reader->next == 0 || offset > reader->ahead + NEAR || offset + NEAR < reader->begin)
            continue;
        reader->read += size;
        reader->next = end > reader->next ? end : reader->next;
        reader->ahead = reader->ahead > reader->next ? reader->ahead : reader->next;
        uint64_t window = window_of(range, reader->read);
        uint64_t until = reader->next + window;
        until = until < range->blob.size ? until : range->blob.size;
        /* By whole requests, but for the end. */
        if (until > reader->ahead &&
            (until - reader->ahead >= window / 4 || until == range->blob.size)) {
            submit_pieces(range, reader->ahead, until, SFS_REMOTE_PROFILE);
            reader->ahead = until;
        }
        return;
    }
    range->readers[range->next_reader++ % SFS_RANGE_READERS] =
        (struct sfs_range_reader){ .begin = offset, .read = size, .next = end, .ahead = end };
}

/* ---- the vtable */

/* Little is widened, since a round trip costs as much as what it brings. Who wants more has said
 * what is worth having: the start of the next span helps nobody. */
static int read_piece(struct sfs_range_blob *range, char *buf, size_t size, uint64_t offset,
                      struct sfs_error *err)
{
    uint32_t first = (uint32_t)(offset / SFS_RANGE_BLOCK);
    uint32_t last = (uint32_t)((offset + size - 1) / SFS_RANGE_BLOCK);
    struct patience patience = { .least = last - first < SFS_RANGE_LITTLE ? SFS_RANGE_LEAST : 1 };
    ssize_t n = 0;
    for (size_t done = 0; done < size && n >= 0; done += n > 0 ? (size_t)n : 0) {
        const struct range_part part = { .block = (uint32_t)((offset + done) / SFS_RANGE_BLOCK),
                                         .last = last,
                                         .from = (size_t)((offset + done) % SFS_RANGE_BLOCK),
                                         .size = size - done,
                                         .to = buf + done };
        n = read_some(range, &part, &patience, err);
    }
    LOCK(&range->lock);
    leave_job(&patience.job);
    return n < 0 ? (int)n : 0;
}

static ssize_t range_pick_at(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                             struct sfs_error *err)
{
    struct sfs_range_blob *range = (struct sfs_range_blob *)blob;
    struct sfs_error own;
    if (size > PIECE) { /* the rest comes while the first piece does */
        LOCK(&range->lock);
        submit_pieces(range, offset + PIECE, offset + size, SFS_REMOTE_DEMAND);
    }
    for (size_t at = 0; at < size;) {
        size_t part = size - at < PIECE ? size - at : PIECE;
        int r = read_piece(range, (char *)buf + at, part, offset + at, err ? err : &own);
        if (r < 0)
            return r;
        at += part;
    }
    sfs_range_settle(range);
    return (ssize_t)size;
}

static ssize_t range_read_at(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                             struct sfs_error *err)
{
    ssize_t n = range_pick_at(blob, buf, size, offset, err);
    if (n > 0)
        look_ahead((struct sfs_range_blob *)blob, offset, size);
    return n;
}

static int range_file(const struct sfs_blob *blob)
{
    const struct sfs_range_blob *range = (const struct sfs_range_blob *)blob;
    return atomic_load(&range->is_settled) ? sfs_range_file_data(range->file) : -1;
}

static void end_all(struct sfs_range_blob *range)
{
    LOCK(&range->lock);
    range->closing = true;
    pthread_cond_broadcast(&range->changed);
    while (range->jobs > 0 || range->runs) {
        sfs_range_cancel(range);
        sfs_range_wait(range, 100);
    }
}

static void range_close(struct sfs_blob *blob)
{
    struct sfs_range_blob *range = (struct sfs_range_blob *)blob;
    end_all(range);
    for (unsigned i = 0; i < SFS_RANGE_LOOSE; i++)
        free(range->loose[i].data);
    sfs_range_file_close(&range->file);
    if (range->keeper)
        range->keeper->ops->close(range->keeper);
    range->remote->ops->close(range->remote);
    pthread_cond_destroy(&range->changed);
    pthread_mutex_destroy(&range->lock);
    free(range->states);
    free(range->scratch);
    free(range->where);
    free(range);
}

static const struct sfs_blob_ops range_ops = { .read_at = range_read_at,
                                               .pick_at = range_pick_at,
                                               .ahead = range_ahead,
                                               .fetch = range_fetch,
                                               .plan = sfs_range_plan,
                                               .fill = sfs_range_fill,
                                               .stop = sfs_range_stop,
                                               .distrust = sfs_range_distrust,
                                               .judge = sfs_range_judge,
                                               .file = range_file,
                                               .close = range_close };

int sfs_blob_open_range(struct sfs_remote *remote, struct sfs_range_file *file,
                        struct sfs_range_keeper *keeper, const struct sfs_range_options *options,
                        struct sfs_blob **ret_blob, struct sfs_error *err)
{
    bool fits = options->size <= SFS_RANGE_MAX_SIZE;
    struct sfs_range_blob *range = fits ? calloc(1, sizeof *range) : NULL;
    if (!range) {
        sfs_range_file_close(&file);
        if (keeper)
            keeper->ops->close(keeper);
        remote->ops->close(remote);
        if (!fits)
            return sfs_fail(err, E2BIG, "%s: a blob of %llu bytes, more than one can have (%llu)",
                            options->name, (unsigned long long)options->size,
                            (unsigned long long)SFS_RANGE_MAX_SIZE);
        return sfs_fail_memory(err);
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&range->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&range->lock, NULL);
    range->blob = (struct sfs_blob){ &range_ops, options->size, strdup(options->name) };
    range->remote = remote;
    range->file = file;
    range->keeper = keeper;
    range->pool = options->pool;
    range->demand_pool = options->demand_pool;
    range->progress = options->progress;
    range->digest = options->digest;
    range->where = strdup(options->where);
    range->is_stalled = options->is_stalled;
    range->received = options->received ? options->received : &range->own_received;
    range->patience_ms = options->patience_ms ? options->patience_ms : PATIENCE_MS;
    range->blocks = sfs_range_blocks(options->size);
    range->states = calloc(range->blocks + 1ull, 1);
    range->scratch = malloc(SFS_RANGE_BLOCK);
    AUTO(sfs_blob_close) struct sfs_blob *blob = &range->blob;
    if (!range->scratch || !blob->name || !range->where || !range->states)
        return sfs_fail_memory(err);
    *ret_blob = TAKE(blob);
    return 0;
}

void sfs_range_get_stats(struct sfs_range_stats *ret_stats)
{
    *ret_stats = (struct sfs_range_stats){
        .requests = atomic_load(&sfs_range_counters.requests),
        .fetched = atomic_load(&sfs_range_counters.fetched),
        .demand = atomic_load(&sfs_range_counters.demand),
        .kept = atomic_load(&sfs_range_counters.kept),
        .damaged = atomic_load(&sfs_range_counters.damaged),
        .stalls = atomic_load(&sfs_range_counters.stalls),
        .failed = atomic_load(&sfs_range_counters.failed),
        .wait_ns = atomic_load(&sfs_range_counters.wait_ns),
    };
}
