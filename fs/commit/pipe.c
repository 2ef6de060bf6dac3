/* The pipe as its caller sees it: filling slots, waiting for room, ending. */
#include "commit/pipe_parts.h"

#include "base/thread.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/pool.h"
#include <errno.h>

/* Bytes of memory for all blocks, plain and compressed: with decoding beside it, a commit stays
 * below 150 MiB. Threads beyond the number of blocks have nothing to do, but with so many SHA-256
 * is what takes longest. */
#define MEMORY_MAX  (96u << 20)
#define BUFFERS_MIN 3u
#define LENT_MAX    (16u << 20)  /* bytes of blocks that came packed, unless one alone has more */
#define SMALL       (16u << 10)  /* plain bytes of a small block, at most */
#define SMALL_SLOTS 128u         /* slots beside those that the buffers need */
#define WAKE_BYTES  (256u << 10) /* plain bytes that are worth waking a thread for */
#define WAKE_BLOCKS 32u          /* so many blocks are worth it, too */

/* Notes that the next block is filled. The lock is held. */
static void note_filled(struct sfs_pipe *pipe, size_t size)
{
    pipe->filled++;
    pipe->untold_bytes += size;
    if (pipe->untold_bytes >= WAKE_BYTES || pipe->filled - pipe->told >= WAKE_BLOCKS)
        sfs_pipe_wake(pipe);
}

static void free_buffer(struct buffer *buffer)
{
    free(buffer->in);
    free(buffer->out);
    *buffer = (struct buffer){ 0 };
}

static int failure_of(struct sfs_pipe *pipe, struct sfs_error *err)
{
    LOCK(&pipe->lock);
    int r = pipe->failed;
    if (r < 0 && err)
        *err = pipe->failure;
    return r;
}

/* May so much more be lent? The lock is held. */
static bool may_lend(const struct sfs_pipe *pipe, uint64_t size, uint64_t most)
{
    return size == 0 || pipe->lent == 0 || pipe->lent + size <= most;
}

/* Waits until the next slot is free, a buffer too, if that is wanted, and `lent` more bytes may be
 * lent, or until the pipe has failed. If too much is lent, it waits until half of it has come back,
 * so that threads are not woken for each block. */
static void wait_for_room(struct sfs_pipe *pipe, bool wants_buffer, uint64_t lent)
{
    LOCK(&pipe->lock);
    uint64_t most = may_lend(pipe, lent, LENT_MAX) ? LENT_MAX : LENT_MAX / 2;
    while (pipe->failed == 0 &&
           (pipe->filled - pipe->digested == pipe->slot_count ||
            pipe->filled - pipe->written == pipe->slot_count ||
            (wants_buffer && pipe->spare_count == 0) || !may_lend(pipe, lent, most))) {
        sfs_pipe_wake(pipe);
        pthread_cond_wait(&pipe->room, &pipe->lock);
    }
    if (wants_buffer && pipe->spare_count > 0)
        pipe->filling = pipe->spares[--pipe->spare_count];
}

static int wait_for_slot(struct sfs_pipe *pipe, bool wants_buffer, uint64_t lent,
                         struct sfs_error *err)
{
    wants_buffer = wants_buffer && pipe->buffers_made == pipe->buffer_count;
    wait_for_room(pipe, wants_buffer, lent);
    return failure_of(pipe, err);
}

/* Takes the next slot, with a buffer. Memory is asked for only now, so that short streams take
 * little. */
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

static void note_sealed(struct sfs_pipe *pipe, struct pipe_slot *slot)
{
    LOCK(&pipe->lock);
    slot->in_size = slot->out_size = pipe->fill;
    slot->packed = !pipe->pool;
    note_filled(pipe, slot->in_size);
}

/* Hands the slot that is being filled on to the threads. */
static int seal_slot(struct sfs_pipe *pipe, struct sfs_error *err)
{
    struct pipe_slot *slot = sfs_pipe_slot(pipe, pipe->filled);
    int r = fill_slot(pipe, slot, err);
    if (r < 0)
        return r;
    note_sealed(pipe, slot);
    pipe->has_slot = false;
    if (pipe->pool && sfs_pool_submit(pipe->pool, SFS_POOL_DEMAND, sfs_pipe_pack_slot, slot) < 0)
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
        r = wait_for_slot(pipe, false, sfs_packed_size(block), err);
    if (r < 0) {
        sfs_pipe_give_back(&lent);
        return r;
    }
    struct pipe_slot *slot = sfs_pipe_slot(pipe, pipe->filled);
    pipe->has_slot = false; /* (this thread's own) */
    LOCK(&pipe->lock);
    slot->lent = lent;
    pipe->lent += sfs_packed_size(&lent);
    slot->in_size = block->size;
    slot->out_size = block->packed_size;
    slot->packed = true;
    pipe->position += block->size;
    note_filled(pipe, block->size);
    return 0;
}

uint64_t sfs_pipe_position(const struct sfs_pipe *pipe)
{
    return pipe->position;
}

static void wait_for_written(struct sfs_pipe *pipe)
{
    LOCK(&pipe->lock);
    sfs_pipe_wake(pipe);
    while (pipe->failed == 0 && pipe->written < pipe->filled)
        pthread_cond_wait(&pipe->room, &pipe->lock);
}

int sfs_pipe_drain(struct sfs_pipe *pipe, struct sfs_error *err)
{
    int r = sfs_pipe_cut(pipe, err);
    if (r < 0)
        return r;
    wait_for_written(pipe);
    return failure_of(pipe, err);
}

uint64_t sfs_pipe_out_size(const struct sfs_pipe *pipe)
{
    return pipe->out_size;
}

int sfs_pipe_put_raw(struct sfs_pipe *pipe, const void *data, size_t size, struct sfs_error *err)
{
    return sfs_pipe_put_out(pipe, data, size, err);
}

static int add_tail(struct sfs_pipe *pipe, struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf tail = { 0 };
    int r = sfs_compress_add_tail(&pipe->options.plan, pipe->segments, pipe->segment_count, &tail);
    if (r < 0)
        return sfs_fail_memory(err);
    return tail.size ? sfs_pipe_put_out(pipe, tail.data, tail.size, err) : 0;
}

int sfs_pipe_finish(struct sfs_pipe *pipe, struct sfs_pipe_result *ret_result,
                    struct sfs_error *err)
{
    int r = sfs_pipe_cut(pipe, err);
    if (r < 0)
        return r;
    sfs_pipe_join_threads(pipe);
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

/* How many buffers there may be: one for each thread, one that the caller fills, and, where there
 * are many threads, some for blocks that wait for the one to be written before them. (With two
 * threads, more buffers of 4 MiB make nothing faster.) */
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
    bool packs = options->plan.method != NULL;
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
    r = sfs_pipe_start_threads(pipe, err);
    if (r < 0)
        return r;
    *ret_pipe = TAKE(pipe);
    return 0;
}

/* Tells all threads to drop what they have, unless they have failed anyway. */
static void cancel(struct sfs_pipe *pipe)
{
    LOCK(&pipe->lock);
    if (pipe->failed == 0)
        pipe->failed = -ECANCELED;
}

void sfs_pipe_close(struct sfs_pipe **pipe_ptr)
{
    struct sfs_pipe *pipe = *pipe_ptr;
    if (!pipe)
        return;
    *pipe_ptr = NULL;
    cancel(pipe);
    sfs_pipe_join_threads(pipe);
    sfs_pool_close(&pipe->pool); /* waits for the jobs, which use the slots */
    for (size_t i = 0; pipe->slots && i < pipe->slot_count; i++) {
        struct pipe_slot *slot = &pipe->slots[i];
        sfs_pipe_give_back(&slot->lent);
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
