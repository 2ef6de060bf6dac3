/* Block i of the stream lives in slot i % count. It goes through
 *
 *   filled      by the caller, who waits while the slot is still in use
 *   packed      by a job of the pool, in any order            } side by side
 *   digested    by the digest thread, in order                }
 *   written     by the writer thread, in order, once packed
 *
 * and its slot is free when it is digested and written. Four counters and a flag a slot, under one
 * lock. A large block takes milliseconds; of small ones (thousands, between files) threads take all
 * that are ready at a time, and are woken only when there is enough to do.
 *
 * Slots are many and buffers few, since those are large. A block that comes packed needs none: its
 * slot gives the memory back that was lent. A small one (the headers between two files) moves to
 * memory of its own size. So the threads need not wait for one another at each of thousands. */
#include "commit/pipe.h"

#include "base/hash.h"
#include "base/io.h"
#include "base/pool.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

/* What all blocks together may take, plain and compressed: with decoding beside it, a commit stays
 * below 150 MiB. More threads than blocks find nothing to do, but then SHA-256 is what bounds. */
#define MEMORY_MAX  (96u << 20)
#define BUFFERS_MIN 3u
#define LENT_MAX    (16u << 20)  /* of blocks that came packed, unless one alone has more */
#define SMALL       (16u << 10)  /* plain bytes of a small block, at most, */
#define SMALL_SLOTS 128u         /* and slots beside those that the buffers need */
#define START_WRITE (8u << 20)   /* bytes after which the kernel is asked to start writing */
#define WAKE_BYTES  (256u << 10) /* that are worth waking a thread for, */
#define WAKE_BLOCKS 32u          /* or blocks */
#define RUN_MAX     32u          /* blocks that a thread takes at a time, */
#define RUN_BYTES   (1u << 20)   /* if they hold no more than this */

struct buffer { /* `out` has room for what `in` becomes; NULL: nothing is compressed */
    char *in, *out;
};

struct pipe_slot {
    struct sfs_pipe *pipe;
    struct buffer buffer;
    bool is_small; /* the buffer is one piece of memory, of the block's size */
    size_t in_size, out_size;
    struct sfs_packed lent; /* data is not NULL: in place of the buffer */
    bool packed;            /* guarded by lock */
};

struct sfs_pipe {
    struct sfs_pipe_options options;
    struct sfs_pool *pool; /* NULL: nothing to compress */
    struct pipe_slot *slots;
    size_t slot_count;
    struct buffer filling; /* the caller's; `in` NULL: he has none */
    size_t fill;           /* bytes in it */
    bool has_slot;         /* it is for slots[filled % count] */
    size_t buffer_count, buffers_made;
    uint64_t position; /* bytes that the caller has written */

    pthread_mutex_t lock;
    pthread_cond_t more, room;          /* for the threads; for the caller */
    uint64_t filled, digested, written; /* blocks; guarded by lock */
    uint64_t told, untold_bytes;  /* guarded by lock: `filled` when the threads were woken last */
    bool ended;                   /* guarded by lock: no more blocks will be filled */
    int failed;                   /* guarded by lock: 0 or the first failure */
    struct sfs_error failure;     /* guarded by lock */
    uint64_t lent;                /* guarded by lock: bytes of blocks that came packed */
    struct buffer *spares;        /* guarded by lock: room for buffer_count */
    size_t spare_count;           /* guarded by lock */
    struct sfs_compressor **idle; /* guarded by lock */
    size_t idle_count;            /* guarded by lock */

    pthread_t digest_thread, write_thread;
    bool has_digest_thread, has_write_thread;
    struct sfs_hash *in_hash;  /* the digest thread's */
    struct sfs_hash *out_hash; /* the writer's, as all below */
    struct sfs_segment *segments;
    size_t segment_count, segment_capacity;
    uint64_t in_size, out_size, started;
};

static void fail_pipe(struct sfs_pipe *pipe, int r, const struct sfs_error *err)
{
    pthread_mutex_lock(&pipe->lock);
    if (pipe->failed == 0) {
        pipe->failed = r;
        pipe->failure = *err;
    }
    pthread_cond_broadcast(&pipe->more);
    pthread_cond_signal(&pipe->room);
    pthread_mutex_unlock(&pipe->lock);
}

static struct sfs_compressor *take_compressor(struct sfs_pipe *pipe)
{
    struct sfs_compressor *compressor = NULL;
    pthread_mutex_lock(&pipe->lock);
    bool failed = pipe->failed != 0;
    if (!failed && pipe->idle_count > 0)
        compressor = pipe->idle[--pipe->idle_count];
    pthread_mutex_unlock(&pipe->lock);
    return compressor || failed ? compressor : sfs_compressor_open(&pipe->options.plan);
}

/* Job: packs one slot. There are never more compressors than jobs at a time, so `idle` has room. */
static void pack_slot(void *arg)
{
    struct pipe_slot *slot = arg;
    struct sfs_pipe *pipe = slot->pipe;
    struct sfs_error err;
    struct sfs_compressor *compressor = take_compressor(pipe);
    if (!compressor) {
        fail_pipe(pipe, sfs_fail_memory(&err), &err);
        return;
    }
    ssize_t n = sfs_compressor_run(compressor, slot->buffer.in, slot->in_size, slot->buffer.out,
                                   sfs_compress_bound(&pipe->options.plan, slot->in_size));
    if (n < 0)
        fail_pipe(pipe, sfs_fail(&err, EIO, "compressing %s", pipe->options.name), &err);
    pthread_mutex_lock(&pipe->lock);
    pipe->idle[pipe->idle_count++] = compressor;
    if (n >= 0) {
        slot->out_size = (size_t)n;
        slot->packed = true;
    }
    if (slot == &pipe->slots[pipe->written % pipe->slot_count])
        pthread_cond_broadcast(&pipe->more);
    pthread_mutex_unlock(&pipe->lock);
}

static struct pipe_slot *slot_of(struct sfs_pipe *pipe, uint64_t block)
{
    return &pipe->slots[block % pipe->slot_count];
}

/* How many blocks from `from` on are ready, of those that are taken at a time. The lock is held. */
static uint64_t count_ready(struct sfs_pipe *pipe, uint64_t from, bool packed)
{
    uint64_t count = 0, bytes = 0;
    while (from + count < pipe->filled && count < RUN_MAX && bytes < RUN_BYTES) {
        const struct pipe_slot *slot = slot_of(pipe, from + count);
        if (packed && !slot->packed)
            break;
        bytes += slot->in_size;
        count++;
    }
    return count;
}

/* Waits for blocks from `from` on. 0: there are none any more. */
static uint64_t wait_for_blocks(struct sfs_pipe *pipe, uint64_t from, bool packed)
{
    uint64_t count = 0;
    pthread_mutex_lock(&pipe->lock);
    while (pipe->failed == 0 && (count = count_ready(pipe, from, packed)) == 0) {
        if (pipe->ended && from == pipe->filled)
            break;
        pthread_cond_wait(&pipe->more, &pipe->lock);
    }
    pthread_mutex_unlock(&pipe->lock);
    return count;
}

/* Wakes the threads for what they were not told of yet. The lock is held. */
static void tell(struct sfs_pipe *pipe)
{
    pipe->told = pipe->filled;
    pipe->untold_bytes = 0;
    pthread_cond_broadcast(&pipe->more);
}

/* The next block is filled. The lock is held. */
static void note_filled(struct sfs_pipe *pipe, size_t size)
{
    pipe->filled++;
    pipe->untold_bytes += size;
    if (pipe->untold_bytes >= WAKE_BYTES || pipe->filled - pipe->told >= WAKE_BLOCKS)
        tell(pipe);
}

static const void *data_of(const struct pipe_slot *slot)
{
    return slot->lent.data ? slot->lent.data : slot->buffer.in;
}

static const void *packed_of(const struct pipe_slot *slot)
{
    if (slot->lent.data)
        return slot->lent.packed;
    return slot->buffer.out ? slot->buffer.out : slot->buffer.in;
}

static void give_back(struct sfs_packed *lent)
{
    if (lent->data)
        lent->release(lent->owner);
    *lent = (struct sfs_packed){ 0 };
}

static void free_buffer(struct buffer *buffer)
{
    free(buffer->in);
    free(buffer->out);
    *buffer = (struct buffer){ 0 };
}

static uint64_t size_of(const struct sfs_packed *lent)
{
    return (uint64_t)lent->size + lent->packed_size;
}

/* Takes from a slot what it holds; the lock is held. Returns what is to be freed. */
static char *empty_slot(struct sfs_pipe *pipe, struct pipe_slot *slot, struct sfs_packed *ret_lent)
{
    char *small = slot->is_small ? slot->buffer.in : NULL;
    *ret_lent = slot->lent;
    pipe->lent -= size_of(&slot->lent);
    if (slot->buffer.in && !slot->is_small)
        pipe->spares[pipe->spare_count++] = slot->buffer;
    slot->lent = (struct sfs_packed){ 0 };
    slot->buffer = (struct buffer){ 0 };
    slot->is_small = false;
    return small;
}

/* The second of the two threads that pass a block gives back its memory. */
static void pass_blocks(struct sfs_pipe *pipe, uint64_t *counter, uint64_t count)
{
    struct sfs_packed lent[RUN_MAX];
    char *small[RUN_MAX];
    size_t emptied = 0;
    pthread_mutex_lock(&pipe->lock);
    uint64_t first = *counter;
    *counter += count;
    for (uint64_t i = first; i < first + count; i++) {
        if (pipe->digested > i && pipe->written > i) {
            small[emptied] = empty_slot(pipe, slot_of(pipe, i), &lent[emptied]);
            emptied++;
        }
    }
    if (emptied > 0)
        pthread_cond_signal(&pipe->room);
    pthread_mutex_unlock(&pipe->lock);
    for (size_t i = 0; i < emptied; i++) {
        give_back(&lent[i]);
        free(small[i]);
    }
}

static void *digest_blocks(void *arg)
{
    struct sfs_pipe *pipe = arg;
    uint64_t done = 0, count;
    while ((count = wait_for_blocks(pipe, done, false)) > 0) {
        int r = 0;
        for (uint64_t i = done; i < done + count && r == 0; i++)
            r = sfs_hash_add(pipe->in_hash, data_of(slot_of(pipe, i)), slot_of(pipe, i)->in_size);
        if (r < 0) {
            struct sfs_error err;
            fail_pipe(pipe, sfs_fail(&err, -r, "digesting %s", pipe->options.name), &err);
            break;
        }
        done += count;
        pass_blocks(pipe, &pipe->digested, count);
    }
    return NULL;
}

/* Adds bytes to the file and its digest. Without compression the plain digest is the file's. */
static int put_out(struct sfs_pipe *pipe, const void *data, size_t size, struct sfs_error *err)
{
    int fd = pipe->options.fd;
    int r = pipe->out_hash ? sfs_hash_add(pipe->out_hash, data, size) : 0;
    if (r < 0)
        return sfs_fail(err, -r, "digesting %s", pipe->options.name);
    if (fd >= 0)
        r = sfs_io_write_all(fd, data, size);
    if (r < 0)
        return sfs_fail_errno(err, -r, "writing %s", pipe->options.name);
    pipe->out_size += size;
    /* So that the fsync at the end finds little to do. A failure here comes up there. */
    if (fd >= 0 && pipe->out_size - pipe->started >= START_WRITE) {
        sync_file_range(fd, (off_t)pipe->started, (off_t)(pipe->out_size - pipe->started),
                        SYNC_FILE_RANGE_WRITE);
        pipe->started = pipe->out_size;
    }
    return 0;
}

static int note_segment(struct sfs_pipe *pipe, size_t in_size, size_t out_size,
                        struct sfs_error *err)
{
    if (pipe->segment_count == pipe->segment_capacity) {
        size_t capacity = pipe->segment_capacity ? 2 * pipe->segment_capacity : 256;
        struct sfs_segment *more = reallocarray(pipe->segments, capacity, sizeof *pipe->segments);
        if (!more)
            return sfs_fail_memory(err);
        pipe->segments = more;
        pipe->segment_capacity = capacity;
    }
    pipe->segments[pipe->segment_count++] = (struct sfs_segment){ .in = pipe->in_size,
                                                                  .out = pipe->out_size,
                                                                  .in_size = (uint32_t)in_size,
                                                                  .out_size = (uint32_t)out_size };
    pipe->in_size += in_size;
    return 0;
}

static int write_block(struct sfs_pipe *pipe, const struct pipe_slot *slot, struct sfs_error *err)
{
    int r = note_segment(pipe, slot->in_size, slot->out_size, err);
    return r < 0 ? r : put_out(pipe, packed_of(slot), slot->out_size, err);
}

static void *write_blocks(void *arg)
{
    struct sfs_pipe *pipe = arg;
    uint64_t done = 0, count;
    while ((count = wait_for_blocks(pipe, done, true)) > 0) {
        struct sfs_error err;
        int r = 0;
        for (uint64_t i = done; i < done + count && r == 0; i++)
            r = write_block(pipe, slot_of(pipe, i), &err);
        if (r < 0) {
            fail_pipe(pipe, r, &err);
            break;
        }
        done += count;
        pass_blocks(pipe, &pipe->written, count);
    }
    return NULL;
}

static int failure_of(struct sfs_pipe *pipe, struct sfs_error *err)
{
    pthread_mutex_lock(&pipe->lock);
    int r = pipe->failed;
    if (r < 0 && err)
        *err = pipe->failure;
    pthread_mutex_unlock(&pipe->lock);
    return r;
}

/* May so much more be lent? The lock is held. */
static bool may_lend(const struct sfs_pipe *pipe, uint64_t size, uint64_t most)
{
    return size == 0 || pipe->lent == 0 || pipe->lent + size <= most;
}

/* Waits until the next slot is free, a buffer, if that is wanted, and so much may be lent. Once too
 * much is, until half of it has come back, so that threads are not woken for each block. */
static int wait_for_slot(struct sfs_pipe *pipe, bool wants_buffer, uint64_t lent,
                         struct sfs_error *err)
{
    wants_buffer = wants_buffer && pipe->buffers_made == pipe->buffer_count;
    pthread_mutex_lock(&pipe->lock);
    uint64_t most = may_lend(pipe, lent, LENT_MAX) ? LENT_MAX : LENT_MAX / 2;
    while (pipe->failed == 0 &&
           (pipe->filled - pipe->digested == pipe->slot_count ||
            pipe->filled - pipe->written == pipe->slot_count ||
            (wants_buffer && pipe->spare_count == 0) || !may_lend(pipe, lent, most))) {
        tell(pipe);
        pthread_cond_wait(&pipe->room, &pipe->lock);
    }
    if (wants_buffer && pipe->spare_count > 0)
        pipe->filling = pipe->spares[--pipe->spare_count];
    pthread_mutex_unlock(&pipe->lock);
    return failure_of(pipe, err);
}

/* Memory is only now asked for: short streams take little. */
static int take_slot(struct sfs_pipe *pipe, struct sfs_error *err)
{
    const struct sfs_compress_plan *plan = &pipe->options.plan;
    int r = wait_for_slot(pipe, !pipe->filling.in, 0, err);
    if (r < 0)
        return r;
    if (!pipe->filling.in) {
        pipe->buffers_made++;
        pipe->filling.in = malloc(plan->block_size);
        if (pipe->pool)
            pipe->filling.out = malloc(sfs_compress_bound(plan, plan->block_size));
        if (!pipe->filling.in || (!pipe->filling.out && pipe->pool))
            return sfs_fail_memory(err);
    }
    pipe->fill = 0;
    pipe->has_slot = true;
    return 0;
}

/* Gives the slot what was filled. */
static int fill_slot(struct sfs_pipe *pipe, struct pipe_slot *slot, struct sfs_error *err)
{
    size_t out_size = pipe->pool ? sfs_compress_bound(&pipe->options.plan, pipe->fill) : 0;
    slot->is_small = pipe->fill <= SMALL;
    if (!slot->is_small) {
        slot->buffer = pipe->filling;
        pipe->filling = (struct buffer){ 0 };
        return 0;
    }
    slot->buffer.in = malloc(pipe->fill + out_size);
    if (!slot->buffer.in)
        return sfs_fail_memory(err);
    slot->buffer.out = pipe->pool ? slot->buffer.in + pipe->fill : NULL;
    memcpy(slot->buffer.in, pipe->filling.in, pipe->fill);
    return 0;
}

/* Hands the slot being filled on. */
static int seal_slot(struct sfs_pipe *pipe, struct sfs_error *err)
{
    struct pipe_slot *slot = slot_of(pipe, pipe->filled);
    int r = fill_slot(pipe, slot, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&pipe->lock);
    slot->in_size = slot->out_size = pipe->fill;
    slot->packed = !pipe->pool;
    note_filled(pipe, slot->in_size);
    pthread_mutex_unlock(&pipe->lock);
    pipe->has_slot = false;
    if (pipe->pool && sfs_pool_submit(pipe->pool, SFS_POOL_DEMAND, pack_slot, slot) < 0)
        return sfs_fail_memory(err);
    return 0;
}

/* Adds `size` bytes, zeros where `data` is NULL. */
static int add_bytes(struct sfs_pipe *pipe, const char *data, uint64_t size, struct sfs_error *err)
{
    while (size > 0) {
        int r = pipe->has_slot ? 0 : take_slot(pipe, err);
        if (r < 0)
            return r;
        size_t room = pipe->options.plan.block_size - pipe->fill;
        size_t n = size < room ? (size_t)size : room;
        char *to = pipe->filling.in + pipe->fill;
        if (data) {
            memcpy(to, data, n);
            data += n;
        } else {
            memset(to, 0, n);
        }
        size -= n;
        pipe->fill += n;
        pipe->position += n;
        if (n == room && (r = seal_slot(pipe, err)) < 0)
            return r;
    }
    return 0;
}

int sfs_pipe_write(struct sfs_pipe *pipe, const void *data, size_t size, struct sfs_error *err)
{
    return add_bytes(pipe, data, size, err);
}

int sfs_pipe_write_zeros(struct sfs_pipe *pipe, uint64_t size, struct sfs_error *err)
{
    return add_bytes(pipe, NULL, size, err);
}

int sfs_pipe_cut(struct sfs_pipe *pipe, struct sfs_error *err)
{
    return pipe->has_slot && pipe->fill > 0 ? seal_slot(pipe, err) : 0;
}

int sfs_pipe_put(struct sfs_pipe *pipe, const struct sfs_packed *block, struct sfs_error *err)
{
    struct sfs_packed lent = *block;
    int r = sfs_pipe_cut(pipe, err);
    if (r == 0)
        r = wait_for_slot(pipe, false, size_of(block), err);
    if (r < 0) {
        give_back(&lent);
        return r;
    }
    struct pipe_slot *slot = slot_of(pipe, pipe->filled);
    pthread_mutex_lock(&pipe->lock);
    slot->lent = lent;
    pipe->lent += size_of(&lent);
    slot->in_size = block->size;
    slot->out_size = block->packed_size;
    slot->packed = true;
    pipe->position += block->size;
    note_filled(pipe, block->size);
    pthread_mutex_unlock(&pipe->lock);
    pipe->has_slot = false;
    return 0;
}

uint64_t sfs_pipe_position(const struct sfs_pipe *pipe)
{
    return pipe->position;
}

int sfs_pipe_drain(struct sfs_pipe *pipe, struct sfs_error *err)
{
    int r = sfs_pipe_cut(pipe, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&pipe->lock);
    tell(pipe);
    while (pipe->failed == 0 && pipe->written < pipe->filled)
        pthread_cond_wait(&pipe->room, &pipe->lock);
    pthread_mutex_unlock(&pipe->lock);
    return failure_of(pipe, err);
}

uint64_t sfs_pipe_out_size(const struct sfs_pipe *pipe)
{
    return pipe->out_size;
}

int sfs_pipe_put_raw(struct sfs_pipe *pipe, const void *data, size_t size, struct sfs_error *err)
{
    return put_out(pipe, data, size, err);
}

/* After the last block: the threads are done with the hashes and counts. */
static void join_threads(struct sfs_pipe *pipe)
{
    pthread_mutex_lock(&pipe->lock);
    pipe->ended = true;
    tell(pipe);
    pthread_mutex_unlock(&pipe->lock);
    if (pipe->has_digest_thread)
        pthread_join(pipe->digest_thread, NULL);
    if (pipe->has_write_thread)
        pthread_join(pipe->write_thread, NULL);
    pipe->has_digest_thread = pipe->has_write_thread = false;
}

static int add_tail(struct sfs_pipe *pipe, struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf tail = { 0 };
    int r = sfs_compress_add_tail(&pipe->options.plan, pipe->segments, pipe->segment_count, &tail);
    if (r < 0)
        return sfs_fail_memory(err);
    return tail.size ? put_out(pipe, tail.data, tail.size, err) : 0;
}

int sfs_pipe_finish(struct sfs_pipe *pipe, struct sfs_pipe_result *ret_result,
                    struct sfs_error *err)
{
    int r = sfs_pipe_cut(pipe, err);
    if (r < 0)
        return r;
    join_threads(pipe);
    r = failure_of(pipe, err);
    if (r == 0)
        r = add_tail(pipe, err);
    if (r < 0)
        return r;

    struct sfs_pipe_result result = { .in_size = pipe->in_size, .out_size = pipe->out_size };
    r = sfs_hash_finish(pipe->in_hash, &result.in_digest);
    if (r == 0 && pipe->out_hash)
        r = sfs_hash_finish(pipe->out_hash, &result.out_digest);
    if (r < 0)
        return sfs_fail(err, -r, "digesting %s", pipe->options.name);
    if (!pipe->out_hash)
        result.out_digest = result.in_digest;
    *ret_result = result;
    return 0;
}

const struct sfs_segment *sfs_pipe_segments(const struct sfs_pipe *pipe, size_t *ret_count)
{
    *ret_count = pipe->segment_count;
    return pipe->segments;
}

/* One a thread, one that the caller fills, and, where there are many, some that wait for the one
 * that is to be written before them. With two threads more, of 4 MiB each, makes nothing faster. */
static size_t choose_buffers(const struct sfs_pipe *pipe)
{
    const struct sfs_compress_plan *plan = &pipe->options.plan;
    size_t threads = pipe->pool ? sfs_pool_threads(pipe->pool) : 1;
    size_t wanted = threads + threads / 4 + 1;
    size_t each = plan->block_size + (pipe->pool ? sfs_compress_bound(plan, plan->block_size) : 0);
    size_t most = MEMORY_MAX / each;
    wanted = wanted < most ? wanted : most;
    return wanted > BUFFERS_MIN ? wanted : BUFFERS_MIN;
}

/* Signals belong to the threads that the program knows of. */
static int start_thread(pthread_t *thread, void *(*run)(void *arg), struct sfs_pipe *pipe,
                        struct sfs_error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(thread, NULL, run, pipe);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code ? sfs_fail_errno(err, code, "starting a thread") : 0;
}

static int start_threads(struct sfs_pipe *pipe, struct sfs_error *err)
{
    int r = start_thread(&pipe->digest_thread, digest_blocks, pipe, err);
    pipe->has_digest_thread = r == 0;
    if (r == 0)
        r = start_thread(&pipe->write_thread, write_blocks, pipe, err);
    pipe->has_write_thread = r == 0 && pipe->has_digest_thread;
    return r;
}

int sfs_pipe_open(const struct sfs_pipe_options *options, struct sfs_pipe **ret_pipe,
                  struct sfs_error *err)
{
    AUTO(sfs_pipe_close) struct sfs_pipe *pipe = calloc(1, sizeof *pipe);
    if (!pipe)
        return sfs_fail_memory(err);
    pipe->options = *options;
    pthread_mutex_init(&pipe->lock, NULL);
    pthread_cond_init(&pipe->more, NULL);
    pthread_cond_init(&pipe->room, NULL);
    bool packs = options->plan.format != SFS_COMPRESS_NONE;
    int r = packs ? sfs_pool_open(options->threads, &pipe->pool, err) : 0;
    if (r < 0)
        return r;
    pipe->buffer_count = choose_buffers(pipe);
    pipe->slot_count = pipe->buffer_count + SMALL_SLOTS;
    pipe->spares = calloc(pipe->buffer_count, sizeof *pipe->spares);
    pipe->slots = calloc(pipe->slot_count, sizeof *pipe->slots);
    pipe->idle = calloc(pipe->slot_count, sizeof *pipe->idle);
    pipe->in_hash = sfs_hash_open();
    pipe->out_hash = packs ? sfs_hash_open() : NULL;
    if (!pipe->slots || !pipe->spares || !pipe->idle || !pipe->in_hash ||
        (packs && !pipe->out_hash))
        return sfs_fail_memory(err);
    for (size_t i = 0; i < pipe->slot_count; i++)
        pipe->slots[i].pipe = pipe;
    r = start_threads(pipe, err);
    if (r < 0)
        return r;
    *ret_pipe = TAKE(pipe);
    return 0;
}

void sfs_pipe_close(struct sfs_pipe **pipe_ptr)
{
    struct sfs_pipe *pipe = *pipe_ptr;
    if (!pipe)
        return;
    *pipe_ptr = NULL;
    pthread_mutex_lock(&pipe->lock);
    if (pipe->failed == 0)
        pipe->failed = -ECANCELED;
    pthread_mutex_unlock(&pipe->lock);
    join_threads(pipe);
    sfs_pool_close(&pipe->pool); /* waits for the jobs, which use the slots */
    for (size_t i = 0; pipe->slots && i < pipe->slot_count; i++) {
        struct pipe_slot *slot = &pipe->slots[i];
        give_back(&slot->lent);
        if (slot->is_small)
            slot->buffer.out = NULL; /* part of `in` */
        free_buffer(&slot->buffer);
    }
    free_buffer(&pipe->filling);
    while (pipe->spare_count > 0)
        free_buffer(&pipe->spares[--pipe->spare_count]);
    free(pipe->spares);
    for (size_t i = 0; i < pipe->idle_count; i++)
        sfs_compressor_close(&pipe->idle[i]);
    free(pipe->idle);
    free(pipe->slots);
    free(pipe->segments);
    sfs_hash_close(&pipe->in_hash);
    sfs_hash_close(&pipe->out_hash);
    pthread_cond_destroy(&pipe->more);
    pthread_cond_destroy(&pipe->room);
    pthread_mutex_destroy(&pipe->lock);
    free(pipe);
}
