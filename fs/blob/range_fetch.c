/* How blocks come here: what one request asks for, and where its bytes go. */
#include "blob/range_parts.h"

#include <errno.h>
#include <time.h>

#define GAP       64u /* blocks: less is fetched again rather than asked around */
#define STAGE     ((size_t)SFS_RANGE_TOGETHER * SFS_RANGE_BLOCK) /* bytes */
#define ASK_AGAIN 5000  /* ms: when a full disk is looked at again */
#define LOOK_MS   10    /* how often another process's fetch is looked at */
#define OTHERS_MS 90000 /* how long that is waited for while it brings nothing */
/* The same, where a reader waits: the other may be stopped, or have put its fetch behind others. So
 * bytes may be fetched twice, and that is all. */
#define URGENT_MS 5000

struct sfs_range_counters sfs_range_counters;

/* One request. */
struct sfs_range_run {
    struct sfs_range_blob *range;
    uint32_t first, count; /* what is asked for */
    uint32_t marked;       /* so many blocks are PENDING for it; it may ask for fewer */
    uint32_t locked;       /* of these so many are locked, from the first on */
    enum sfs_remote_priority priority;
    atomic_bool is_urgent; /* a reader has come to wait for it */
    bool is_hurried;       /* and the remote was told */
    bool is_stream;        /* the other machine sends all of the blob */
    uint64_t at;           /* where the next byte belongs */
    size_t filled;         /* bytes in `stage` */
    char *stage;           /* the blocks that are coming in */
    struct sfs_range_run *next;
};

int64_t sfs_range_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void sfs_range_wait(struct sfs_range_blob *range, unsigned ms)
{
    int64_t end = sfs_range_now_ms() + ms;
    struct timespec until = { .tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000 };
    pthread_cond_timedwait(&range->changed, &range->lock, &until);
}

static bool is_urgent(const struct sfs_range_run *run)
{
    return run->priority == SFS_REMOTE_DEMAND || atomic_load(&run->is_urgent);
}

static enum sfs_block_state state_of(const struct sfs_range_blob *range, uint32_t block)
{
    return range->states[block] & SFS_BLOCK_STATE;
}

static void set_state(struct sfs_range_blob *range, uint32_t block, enum sfs_block_state state)
{
    unsigned added = range->states[block] & ~(unsigned)SFS_BLOCK_STATE;
    bool is_here = state == SFS_BLOCK_READY || state == SFS_BLOCK_LOOSE;
    if (is_here && (added & SFS_BLOCK_PLANNED)) {
        added &= ~(unsigned)SFS_BLOCK_PLANNED;
        range->planned--;
    }
    range->states[block] = (uint8_t)(added | state);
}

bool sfs_range_has(const struct sfs_range_blob *range, uint32_t block)
{
    enum sfs_block_state state = state_of(range, block);
    return state == SFS_BLOCK_READY || state == SFS_BLOCK_LOOSE;
}

bool sfs_range_take_kept(struct sfs_range_blob *range, uint32_t block)
{
    bool there = false;
    if (!range->file || (range->states[block] & ~SFS_BLOCK_PLANNED) != SFS_BLOCK_UNKNOWN)
        return false;
    sfs_range_file_look(range->file, block, 1, &there);
    if (!there)
        return false;
    if (sfs_range_file_read(range->file, block, range->scratch) < 0) {
        atomic_fetch_add(&sfs_range_counters.damaged, 1);
        range->states[block] |= SFS_BLOCK_BAD;
        return false;
    }
    range->was_kept = true;
    atomic_fetch_add(&sfs_range_counters.kept, sfs_range_block_size(range->blob.size, block));
    set_state(range, block, SFS_BLOCK_READY);
    return true;
}

/* ---- where bytes go */

void sfs_range_drop_loose(struct sfs_range_blob *range, uint32_t block)
{
    if (state_of(range, block) != SFS_BLOCK_LOOSE)
        return;
    for (unsigned i = 0; i < SFS_RANGE_LOOSE; i++)
        if (range->loose[i].data && range->loose[i].block == block)
            sfs_free(&range->loose[i].data);
}

static bool is_any_awaited(const struct sfs_range_blob *range, uint32_t first, uint32_t count)
{
    for (const struct sfs_range_waiter *it = range->waiters; it; it = it->next)
        if (it->block >= first && it->block - first < count)
            return true;
    return false;
}

/* The place of the block that came first, but for those that a reader is about to take. */
static unsigned choose_loose(struct sfs_range_blob *range)
{
    for (unsigned i = 0; i < SFS_RANGE_LOOSE; i++) {
        unsigned place = range->next_loose++ % SFS_RANGE_LOOSE;
        if (!range->loose[place].data || !is_any_awaited(range, range->loose[place].block, 1))
            return place;
    }
    return range->next_loose++ % SFS_RANGE_LOOSE;
}

int sfs_range_keep_loose(struct sfs_range_blob *range, uint32_t block, const char *data)
{
    size_t size = sfs_range_block_size(range->blob.size, block);
    char *copy = malloc(size);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, data, size);
    sfs_range_drop_loose(range, block);
    unsigned place = choose_loose(range);
    if (range->loose[place].data)
        set_state(range, range->loose[place].block, SFS_BLOCK_UNKNOWN);
    free(range->loose[place].data);
    range->loose[place].block = block;
    range->loose[place].data = copy;
    set_state(range, block, SFS_BLOCK_LOOSE);
    return 0;
}

/* Has the disk room for so many bytes, at most STAGE? The lock is held. */
static bool has_room(struct sfs_range_blob *range, size_t bytes)
{
    if (!range->file || range->is_settled)
        return false;
    if (range->room_asked_ms && sfs_range_now_ms() - range->room_asked_ms < ASK_AGAIN)
        return false;
    range->room_asked_ms = 0;
    if (range->keeper && range->keeper->ops->make_room(range->keeper, bytes) < 0) {
        range->room_asked_ms = sfs_range_now_ms();
        return false;
    }
    return true;
}

/* Blocks that came in a row, and where their bytes are. */
struct blocks {
    uint32_t first, count;
    const char *data;
};

static void unlock_blocks(struct sfs_range_run *run, const struct blocks *blocks)
{
    uint32_t begin = blocks->first, end = begin + blocks->count;
    uint32_t locked_end = run->first + run->locked;
    begin = begin > run->first ? begin : run->first;
    end = end < locked_end ? end : locked_end;
    if (begin < end)
        sfs_range_file_unlock(run->range->file, begin, end - begin);
}

/* In memory, for want of room on the disk. The lock is held. */
static int keep_loose(struct sfs_range_blob *range, const struct blocks *blocks)
{
    int r = 0;
    for (uint32_t i = 0; i < blocks->count && r == 0; i++)
        if (!sfs_range_has(range, blocks->first + i))
            r = sfs_range_keep_loose(range, blocks->first + i,
                                     blocks->data + (size_t)i * SFS_RANGE_BLOCK);
    return r;
}

/* Keeps blocks that are not here. */
static int put_missing(struct sfs_range_run *run, const struct blocks *blocks, bool is_room)
{
    struct sfs_range_blob *range = run->range;
    int r = is_room ? sfs_range_file_write(range->file, blocks->first, blocks->count, blocks->data)
                    : -ENOSPC;
    LOCK(&range->lock);
    if (r == 0) {
        for (uint32_t i = 0; i < blocks->count; i++)
            set_state(range, blocks->first + i, SFS_BLOCK_READY);
    } else {
        if (is_room)
            range->room_asked_ms = sfs_range_now_ms();
        r = keep_loose(range, blocks);
    }
    unlock_blocks(run, blocks);
    if (is_any_awaited(range, blocks->first, blocks->count)) /* others look when the run is over */
        pthread_cond_broadcast(&range->changed);
    return r;
}

static int put_blocks(struct sfs_range_run *run, struct blocks blocks)
{
    struct sfs_range_blob *range = run->range;
    int r = 0;
    while (blocks.count > 0 && r == 0) {
        struct blocks part = { blocks.first, 0, blocks.data };
        bool is_room = false;
        {
            LOCK(&range->lock);
            while (part.count < blocks.count && !sfs_range_has(range, blocks.first + part.count))
                part.count++;
            if (part.count > 0)
                is_room = has_room(range, (size_t)part.count * SFS_RANGE_BLOCK);
        }
        if (part.count > 0)
            r = put_missing(run, &part, is_room);
        else
            part.count = 1; /* it is here already */
        blocks.first += part.count;
        blocks.count -= part.count;
        blocks.data += (size_t)part.count * SFS_RANGE_BLOCK;
    }
    return r;
}

/* Has all of the blob begun to come, though a part was asked for? Then nobody asks for more. */
static void note_stream(struct sfs_range_run *run, uint64_t offset, uint64_t end)
{
    uint64_t from = (uint64_t)run->first * SFS_RANGE_BLOCK;
    uint64_t to = from + (uint64_t)run->count * SFS_RANGE_BLOCK;
    if (run->is_stream || (offset >= from && end <= to))
        return;
    LOCK(&run->range->lock);
    run->is_stream = true;
    run->range->streams++;
}

/* Keeps the whole blocks of the stage; the blob's last one may be short. */
static int put_staged(struct sfs_range_run *run)
{
    bool is_end = run->at == run->range->blob.size;
    size_t whole = is_end ? run->filled : run->filled / SFS_RANGE_BLOCK * SFS_RANGE_BLOCK;
    const struct blocks blocks = {
        .first = (uint32_t)((run->at - run->filled) / SFS_RANGE_BLOCK),
        .count = (uint32_t)((whole + SFS_RANGE_BLOCK - 1) / SFS_RANGE_BLOCK),
        .data = run->stage,
    };
    int r = put_blocks(run, blocks);
    memmove(run->stage, run->stage + whole, run->filled - whole);
    run->filled -= whole;
    return r;
}

/* The sink of a run: makes blocks of what comes. */
static int take(void *user, uint64_t offset, const void *data, size_t size)
{
    struct sfs_range_run *run = user;
    struct sfs_range_blob *range = run->range;
    const char *from = data;
    if (offset > range->blob.size || size > range->blob.size - offset)
        return -EBADMSG;
    note_stream(run, offset, offset + size);
    if (offset != run->at) { /* it begins anew */
        run->at = offset;
        run->filled = 0;
        if (offset % SFS_RANGE_BLOCK)
            return -EBADMSG;
    }
    atomic_fetch_add(&sfs_range_counters.fetched, size);
    atomic_fetch_add(range->received, size);
    if (is_urgent(run))
        atomic_fetch_add(&sfs_range_counters.demand, size);
    int r = 0;
    while (size > 0 && r == 0) {
        size_t part = size < STAGE - run->filled ? size : STAGE - run->filled;
        memcpy(run->stage + run->filled, from, part);
        run->filled += part;
        run->at += part;
        from += part;
        size -= part;
        r = put_staged(run);
    }
    return r;
}

/* ---- what is asked for */

/* How many blocks a request gets that begins with `first` and is wanted for those up to `last`: it
 * goes on where there is nothing yet, up to `least` blocks, and over gaps on the way to `last`.
 * Where it is planned what is fetched, that is what it goes on with. The lock is held. */
static uint32_t plan(struct sfs_range_blob *range, uint32_t first, uint32_t last, uint32_t least)
{
    bool there[SFS_RANGE_MOST] = { false };
    uint32_t left = range->blocks - first, most = left < SFS_RANGE_MOST ? left : SFS_RANGE_MOST;
    uint32_t end = 1;
    if (range->planned > 0)
        least = 1;
    if (range->file)
        sfs_range_file_look(range->file, first, most, there);
    for (uint32_t i = 1; i < most; i++) {
        uint32_t block = first + i;
        bool is_planned = range->states[block] & SFS_BLOCK_PLANNED;
        bool is_wanted = block <= last || (is_planned && i < SFS_RANGE_LEAST);
        bool is_bad = range->states[block] & SFS_BLOCK_BAD;
        if (state_of(range, block) == SFS_BLOCK_PENDING || (!is_wanted && i >= least))
            break;
        if (state_of(range, block) == SFS_BLOCK_UNKNOWN && (!there[i] || is_bad))
            end = i + 1;
        else if (!is_wanted || i - end >= GAP)
            break;
    }
    return end;
}

static void mark(struct sfs_range_blob *range, uint32_t first, uint32_t count,
                 enum sfs_block_state from, enum sfs_block_state to)
{
    for (uint32_t i = first; i < first + count; i++)
        if (state_of(range, i) == from)
            set_state(range, i, to);
}

/* Cuts off what others have brought. 1: it begins with that, so look again. */
static int trim(struct sfs_range_run *run)
{
    struct sfs_range_blob *range = run->range;
    bool there[SFS_RANGE_MOST];
    LOCK(&range->lock);
    sfs_range_file_look(range->file, run->first, run->count, there);
    if (there[0] && !(range->states[run->first] & SFS_BLOCK_BAD))
        return 1;
    while (run->count > 1 && there[run->count - 1] &&
           !(range->states[run->first + run->count - 1] & SFS_BLOCK_BAD))
        run->count--;
    return 0;
}

/* How another process's fetch of the first block goes on: it gives back the lock of each block that
 * it has brought. */
struct other {
    uint32_t from;    /* where its lock begins */
    int64_t since_ms; /* it has begun there */
};

/* Waits for a moment while another process fetches the first block. 0: look again. EAGAIN: it was
 * waited for long enough. */
static int wait_for_others(struct sfs_range_run *run, struct other *other, struct sfs_error *err)
{
    struct sfs_range_blob *range = run->range;
    uint32_t from = sfs_range_file_lock_start(range->file, run->first);
    LOCK(&range->lock);
    if (range->closing)
        return sfs_fail(err, ECANCELED, "cancelled");
    sfs_range_wait(range, LOOK_MS);
    int64_t now = sfs_range_now_ms();
    if (other->since_ms == 0 || other->from != from)
        *other = (struct other){ from, now };
    return now - other->since_ms < (is_urgent(run) ? URGENT_MS : OTHERS_MS) ? 0 : -EAGAIN;
}

/* Takes the right to fetch as much of the run as can be had at once, from its first block on. 1:
 * another process has brought that meanwhile. */
static int claim(struct sfs_range_run *run, struct sfs_error *err)
{
    const struct sfs_range_file *file = run->range->file;
    struct other other = { 0 };
    while (file) {
        uint32_t count = run->count;
        while (count > 1 && sfs_range_file_lock(file, run->first, count) < 0)
            count /= 2;
        if (count > 1 || sfs_range_file_lock(file, run->first, 1) == 0) {
            run->count = run->locked = count;
            return trim(run);
        }
        bool there = false;
        sfs_range_file_look(file, run->first, 1, &there);
        if (there)
            return 1;
        int r = wait_for_others(run, &other, err);
        if (r == -EAGAIN)
            return 0; /* without a lock, then */
        if (r < 0)
            return r;
    }
    return 0;
}

static int ask(struct sfs_range_run *run, struct sfs_error *err)
{
    struct sfs_range_blob *range = run->range;
    int r = claim(run, err);
    if (r != 0) {
        if (run->locked > 0) /* what was to be fetched has come meanwhile */
            sfs_range_file_unlock(range->file, run->first, run->locked);
        return r;
    }
    uint64_t offset = (uint64_t)run->first * SFS_RANGE_BLOCK, end;
    end = offset + (uint64_t)run->count * SFS_RANGE_BLOCK;
    if (end > range->blob.size)
        end = range->blob.size;
    bool whole = false;
    run->at = offset;
    atomic_fetch_add(&sfs_range_counters.requests, 1);
    r = range->remote->ops->fetch(range->remote, is_urgent(run) ? SFS_REMOTE_DEMAND : run->priority,
                                  offset, end - offset, take, run, &whole, err);
    if (run->locked > 0)
        sfs_range_file_unlock(range->file, run->first, run->locked);
    return r;
}

static void enlist(struct sfs_range_blob *range, struct sfs_range_run *run)
{
    run->next = range->runs;
    range->runs = run;
}

static void leave(struct sfs_range_blob *range, struct sfs_range_run *run)
{
    struct sfs_range_run **at = &range->runs;
    while (*at != run)
        at = &(*at)->next;
    *at = run->next;
    if (run->is_stream)
        range->streams--;
}

void sfs_range_plan(struct sfs_blob *blob, uint64_t offset, uint64_t size)
{
    struct sfs_range_blob *range = (struct sfs_range_blob *)blob;
    LOCK(&range->lock);
    uint32_t last = (uint32_t)((offset + size - 1) / SFS_RANGE_BLOCK);
    for (uint32_t block = (uint32_t)(offset / SFS_RANGE_BLOCK); block <= last; block++)
        if (!sfs_range_has(range, block) && !(range->states[block] & SFS_BLOCK_PLANNED)) {
            range->states[block] |= SFS_BLOCK_PLANNED;
            range->planned++;
        }
}

void sfs_range_forget_plan(struct sfs_range_blob *range, uint32_t first, uint32_t last)
{
    for (uint32_t block = first; block <= last; block++)
        if (range->states[block] & SFS_BLOCK_PLANNED) {
            range->states[block] &= (uint8_t)~SFS_BLOCK_PLANNED;
            range->planned--;
        }
}

int sfs_range_fetch(struct sfs_range_blob *range, const struct sfs_range_wish *wish,
                    struct sfs_error *err)
{
    if (range->closing)
        return sfs_fail(err, ECANCELED, "cancelled");
    if (range->streams > 0) {
        sfs_range_wait(range, 1000);
        return 1;
    }
    uint32_t first = wish->first, count = plan(range, first, wish->last, wish->least);
    struct sfs_range_run run = {
        .range = range, .first = first, .count = count, .marked = count, .priority = wish->priority
    };
    AUTO(sfs_free) char *stage = run.stage = malloc(STAGE);
    if (!stage)
        return sfs_fail_memory(err);
    mark(range, first, count, SFS_BLOCK_UNKNOWN, SFS_BLOCK_PENDING);
    enlist(range, &run);
    pthread_mutex_unlock(&range->lock);
    int r = ask(&run, err);
    pthread_mutex_lock(&range->lock);
    leave(range, &run);
    mark(range, first, count, SFS_BLOCK_PENDING, SFS_BLOCK_UNKNOWN);
    pthread_cond_broadcast(&range->changed);
    if (r == -EALREADY) { /* all of it comes through the sink of another run */
        sfs_range_wait(range, 200);
        return 1;
    }
    return r;
}

void sfs_range_hurry(struct sfs_range_blob *range, uint32_t block)
{
    const struct sfs_remote_ops *ops = range->remote->ops;
    for (struct sfs_range_run *run = range->runs; run; run = run->next) {
        if (block < run->first || block - run->first >= run->marked || run->is_hurried ||
            run->priority == SFS_REMOTE_DEMAND)
            continue;
        atomic_store(&run->is_urgent, true);
        run->is_hurried = !ops->hurry || ops->hurry(range->remote, run);
    }
}

void sfs_range_cancel(struct sfs_range_blob *range)
{
    for (struct sfs_range_run *run = range->runs; run; run = run->next)
        range->remote->ops->cancel(range->remote, run);
}
