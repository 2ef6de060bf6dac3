/* The pipe's threads: compressing, digesting, writing. */
#include "base/hash.h"
#include "base/io.h"
#include "base/thread.h"
#include "commit/pipe_parts.h"
#include "base/array.h"
#include <errno.h>
#include <fcntl.h>

#define START_WRITE (8u << 20) /* bytes after which the kernel is asked to start writing */
#define RUN_MAX     32u        /* a thread takes at most so many blocks at a time, */
#define RUN_BYTES   (1u << 20) /* and no more once they have so many plain bytes */

static void fail_pipe(struct sfs_pipe *pipe, int r, const struct sfs_error *err)
{
    LOCK(&pipe->lock);
    if (pipe->failed == 0) {
        pipe->failed = r;
        pipe->failure = *err;
    }
    pthread_cond_broadcast(&pipe->more);
    pthread_cond_signal(&pipe->room);
}

/* An idle compressor; NULL: there is none, or the pipe has failed (*ret_failed). */
static struct sfs_compressor *take_idle(struct sfs_pipe *pipe, bool *ret_failed)
{
    LOCK(&pipe->lock);
    *ret_failed = pipe->failed != 0;
    return !*ret_failed && pipe->idle_count > 0 ? pipe->idle[--pipe->idle_count] : NULL;
}

static struct sfs_compressor *take_compressor(struct sfs_pipe *pipe)
{
    bool failed;
    struct sfs_compressor *compressor = take_idle(pipe, &failed);
    return compressor || failed ? compressor : sfs_compressor_open(&pipe->options.plan);
}

/* There are never more compressors than jobs at a time, so `idle` has room. */
void sfs_pipe_pack_slot(void *arg)
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
    LOCK(&pipe->lock);
    pipe->idle[pipe->idle_count++] = compressor;
    if (n >= 0) {
        slot->out_size = (size_t)n;
        slot->packed = true;
    }
    if (slot == &pipe->slots[pipe->written % pipe->slot_count])
        pthread_cond_broadcast(&pipe->more);
}

/* How many blocks from `from` on are ready, of those that are taken at a time. The lock is held. */
static uint64_t count_ready(struct sfs_pipe *pipe, uint64_t from, bool packed)
{
    uint64_t count = 0, bytes = 0;
    while (from + count < pipe->filled && count < RUN_MAX && bytes < RUN_BYTES) {
        const struct pipe_slot *slot = sfs_pipe_slot(pipe, from + count);
        if (packed && !slot->packed)
            break;
        bytes += slot->in_size;
        count++;
    }
    return count;
}

/* Waits for blocks from `from` on, and returns how many are ready. 0: no more will come. */
static uint64_t wait_for_blocks(struct sfs_pipe *pipe, uint64_t from, bool packed)
{
    uint64_t count = 0;
    LOCK(&pipe->lock);
    while (pipe->failed == 0 && (count = count_ready(pipe, from, packed)) == 0) {
        if (pipe->ended && from == pipe->filled)
            break;
        pthread_cond_wait(&pipe->more, &pipe->lock);
    }
    return count;
}

void sfs_pipe_wake(struct sfs_pipe *pipe)
{
    pipe->told = pipe->filled;
    pipe->untold_bytes = 0;
    pthread_cond_broadcast(&pipe->more);
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

void sfs_pipe_give_back(struct sfs_packed *lent)
{
    if (lent->data)
        lent->release(lent->owner);
    *lent = (struct sfs_packed){ 0 };
}

/* Takes from a slot what it holds; the lock is held. Returns what is to be freed. */
static char *empty_slot(struct sfs_pipe *pipe, struct pipe_slot *slot, struct sfs_packed *ret_lent)
{
    char *small = slot->is_small ? slot->buffer.in : NULL;
    *ret_lent = slot->lent;
    pipe->lent -= sfs_packed_size(&slot->lent);
    if (slot->buffer.in && !slot->is_small)
        pipe->spares[pipe->spare_count++] = slot->buffer;
    slot->lent = (struct sfs_packed){ 0 };
    slot->buffer = (struct buffer){ 0 };
    slot->is_small = false;
    return small;
}

/* Counts blocks as passed, and empties those that both threads have passed. Returns how many. */
static size_t empty_passed(struct sfs_pipe *pipe, uint64_t *counter, uint64_t count,
                           struct sfs_packed *lent, char **small)
{
    size_t emptied = 0;
    LOCK(&pipe->lock);
    uint64_t first = *counter;
    *counter += count;
    for (uint64_t i = first; i < first + count; i++) {
        if (pipe->digested > i && pipe->written > i) {
            small[emptied] = empty_slot(pipe, sfs_pipe_slot(pipe, i), &lent[emptied]);
            emptied++;
        }
    }
    if (emptied > 0)
        pthread_cond_signal(&pipe->room);
    return emptied;
}

/* Counts blocks as passed by this thread. Whichever thread passes a block second frees its
 * memory. */
static void pass_blocks(struct sfs_pipe *pipe, uint64_t *counter, uint64_t count)
{
    struct sfs_packed lent[RUN_MAX];
    char *small[RUN_MAX];
    size_t emptied = empty_passed(pipe, counter, count, lent, small);
    for (size_t i = 0; i < emptied; i++) {
        sfs_pipe_give_back(&lent[i]);
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
            r = sfs_hash_add(pipe->in_hash, data_of(sfs_pipe_slot(pipe, i)),
                             sfs_pipe_slot(pipe, i)->in_size);
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

/* Without compression the file's digest is that of the plain bytes, which is made already. */
int sfs_pipe_put_out(struct sfs_pipe *pipe, const void *data, size_t size, struct sfs_error *err)
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
    if (SFS_ARRAY_GROW(pipe->segments, pipe->segment_count, pipe->segment_capacity, 256) < 0)
        return sfs_fail_memory(err);
    pipe->segments[pipe->segment_count++] = (struct sfs_segment){ .in = pipe->in_size,
                                                                  .out = pipe->out_size,
                                                                  .in_size = (uint32_t)in_size,
                                                                  .out_size = (uint32_t)out_size };
    pipe->in_size += in_size;
    return 0;
}

static void tell_maker(struct sfs_pipe *pipe, const struct pipe_slot *slot)
{
    const struct sfs_made_block block = { .entry = slot->lent.entry,
                                          .raw_skip = slot->lent.raw_skip,
                                          .raw_bits = slot->lent.raw_bits,
                                          .plain = data_of(slot),
                                          .packed = packed_of(slot),
                                          .plain_size = slot->in_size,
                                          .packed_size = slot->out_size };
    sfs_index_maker_add(pipe->options.maker, &block);
}

static int write_block(struct sfs_pipe *pipe, const struct pipe_slot *slot, struct sfs_error *err)
{
    int r = note_segment(pipe, slot->in_size, slot->out_size, err);
    if (r == 0)
        r = sfs_pipe_put_out(pipe, packed_of(slot), slot->out_size, err);
    if (r == 0 && pipe->options.maker)
        tell_maker(pipe, slot);
    return r;
}

static void *write_blocks(void *arg)
{
    struct sfs_pipe *pipe = arg;
    uint64_t done = 0, count;
    while ((count = wait_for_blocks(pipe, done, true)) > 0) {
        struct sfs_error err;
        int r = 0;
        for (uint64_t i = done; i < done + count && r == 0; i++)
            r = write_block(pipe, sfs_pipe_slot(pipe, i), &err);
        if (r < 0) {
            fail_pipe(pipe, r, &err);
            break;
        }
        done += count;
        pass_blocks(pipe, &pipe->written, count);
    }
    return NULL;
}

int sfs_pipe_start_threads(struct sfs_pipe *pipe, struct sfs_error *err)
{
    int r = sfs_thread_start(&pipe->digest_thread, digest_blocks, pipe, "digests", err);
    pipe->has_digest_thread = r == 0;
    if (r == 0)
        r = sfs_thread_start(&pipe->write_thread, write_blocks, pipe, "writes", err);
    pipe->has_write_thread = r == 0 && pipe->has_digest_thread;
    return r;
}

static void tell_end(struct sfs_pipe *pipe)
{
    LOCK(&pipe->lock);
    pipe->ended = true;
    sfs_pipe_wake(pipe);
}

void sfs_pipe_join_threads(struct sfs_pipe *pipe)
{
    tell_end(pipe);
    if (pipe->has_digest_thread)
        pthread_join(pipe->digest_thread, NULL);
    if (pipe->has_write_thread)
        pthread_join(pipe->write_thread, NULL);
    pipe->has_digest_thread = pipe->has_write_thread = false;
}
