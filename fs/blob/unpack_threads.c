/* The input's and the digester's thread of a pass. */
#include "base/hash.h"
#include "blob/unpack_pipe.h"

#include "base/thread.h"
#include <errno.h>

#define READ_AHEAD (4u * SFS_PASS_BLOCK) /* how many bytes the disk is asked to read ahead */

static void fail_reading(struct sfs_pass *pass, int r, const struct sfs_error *err)
{
    LOCK(&pass->lock);
    if (pass->read_failure == 0) {
        pass->read_failure = r;
        pass->read_failure_text = *err;
    }
    pthread_cond_broadcast(&pass->changed);
}

/* ---- input ---- */

/* How many blocks the decoder is past. In the last one that it took it may still find a point. */
static uint64_t count_passed(const struct sfs_pass *pass)
{
    if (pass->decoder_done)
        return pass->in_read;
    return pass->in_taken > 2 ? pass->in_taken - 2 : 0;
}

/* The same with the lock taken, and whether tags are wanted of those blocks. */
static uint64_t find_passed(struct sfs_pass *pass, bool *ret_wanted)
{
    LOCK(&pass->lock);
    *ret_wanted = pass->failure == 0 && !pass->copy;
    return count_passed(pass);
}

static int tag_passed(struct sfs_pass *pass, struct sfs_error *err)
{
    bool wanted;
    uint64_t passed = find_passed(pass, &wanted);
    uint64_t tagged = pass->in_tagged; /* only this thread changes it */
    while (tagged < passed) {
        const struct sfs_in_block *block = &pass->in[tagged % SFS_PASS_BLOCKS];
        if (wanted && sfs_points_tag(&pass->points, block->data, block->size, block->offset) < 0)
            return sfs_fail_memory(err);
        tagged++;
    }
    LOCK(&pass->lock);
    pass->in_tagged = tagged;
    return 0;
}

/* Waits for room in the ring or for blocks to tag. false: nothing is left to do. */
static bool wait_for_input_work(struct sfs_pass *pass, bool all_read, bool *ret_room)
{
    LOCK(&pass->lock);
    for (;;) {
        *ret_room = !all_read && pass->in_read - pass->in_tagged < SFS_PASS_BLOCKS;
        bool tags = count_passed(pass) > pass->in_tagged;
        bool goes_on =
            !pass->closing && !(all_read && pass->decoder_done && pass->in_tagged == pass->in_read);
        if (!goes_on || *ret_room || tags)
            return goes_on;
        pthread_cond_wait(&pass->changed, &pass->lock);
    }
}

static int read_block(struct sfs_pass *pass, uint64_t offset, struct sfs_hash *hash,
                      struct sfs_error *err)
{
    struct sfs_in_block *block = &pass->in[pass->in_read % SFS_PASS_BLOCKS];
    ssize_t size = sfs_blob_read_at(pass->blob, block->data, SFS_PASS_BLOCK, offset, err);
    if (size < 0)
        return (int)size;
    sfs_blob_will_read(pass->blob, offset + READ_AHEAD, SFS_PASS_BLOCK);
    if (sfs_hash_add(hash, block->data, (size_t)size) < 0)
        return sfs_fail(err, ENOMEM, "digesting");
    block->size = (size_t)size;
    block->offset = offset;
    LOCK(&pass->lock);
    pass->in_read++;
    pass->in_ended = offset + block->size == pass->blob->size;
    pthread_cond_broadcast(&pass->changed);
    return (int)size;
}

static void report(const struct sfs_pass *pass, uint64_t done)
{
    const struct sfs_progress *progress = pass->options.progress;
    bool is_time = done / SFS_PASS_BLOCK % 8 == 0 || done == pass->blob->size;
    if (progress && progress->report && is_time)
        progress->report(progress->user, pass->options.what ? pass->options.what : "unpacking",
                         done, pass->blob->size);
}

static int read_all(struct sfs_pass *pass, struct sfs_hash *hash, struct sfs_error *err)
{
    uint64_t offset = 0;
    bool room;
    while (wait_for_input_work(pass, offset == pass->blob->size, &room)) {
        int r = tag_passed(pass, err);
        if (r == 0 && room)
            r = read_block(pass, offset, hash, err);
        if (r < 0)
            return r;
        if (room && r > 0) {
            offset += (uint64_t)r;
            report(pass, offset);
        }
    }
    return 0;
}

void *sfs_pass_run_input(void *arg)
{
    struct sfs_pass *pass = arg;
    sfs_thread_give_way();
    struct sfs_error err = { "" };
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    int r = hash ? read_all(pass, hash, &err) : sfs_fail_memory(&err);
    if (r == 0 && sfs_hash_finish(hash, &pass->in_digest) < 0)
        r = sfs_fail(&err, ENOMEM, "digesting");
    if (r < 0)
        fail_reading(pass, r, &err);
    return NULL;
}

/* ---- the digester ---- */

/* The next decoded block, or NULL at the end. */
static const struct sfs_out_block *wait_for_decoded(struct sfs_pass *pass, uint64_t number,
                                                    uint64_t *ret_copy_start)
{
    LOCK(&pass->lock);
    while (!pass->closing && pass->out_made == number && !pass->decoder_done)
        pthread_cond_wait(&pass->changed, &pass->lock);
    bool is_there = !pass->closing && pass->out_made > number;
    *ret_copy_start = pass->copy ? pass->copy_start : UINT64_MAX;
    return is_there ? &pass->out[number % SFS_PASS_BLOCKS] : NULL;
}

static void note_digested(struct sfs_pass *pass, uint64_t number)
{
    LOCK(&pass->lock);
    pass->out_digested = number;
    pthread_cond_broadcast(&pass->changed);
}

/* The copy's first bytes came from reading the blob twice. Both times must have been the same, so
 * the digest of what came before the copy is kept. */
static int digest_all(struct sfs_pass *pass, struct sfs_hash *hash)
{
    uint64_t number = 0, offset = 0, copy_start;
    bool started = false;
    for (;;) {
        const struct sfs_out_block *block = wait_for_decoded(pass, number, &copy_start);
        if (!started && offset == copy_start) {
            if (sfs_hash_peek(hash, &pass->start_digest) < 0)
                return -ENOMEM;
            started = true;
        }
        if (!block)
            return 0;
        if (sfs_hash_add(hash, block->memory + SFS_WINDOW_MAX, block->size) < 0)
            return -ENOMEM;
        offset += block->size;
        note_digested(pass, ++number);
    }
}

void *sfs_pass_run_digester(void *arg)
{
    struct sfs_pass *pass = arg;
    sfs_thread_give_way();
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    if (!hash || digest_all(pass, hash) < 0 || sfs_hash_finish(hash, &pass->out_digest) < 0) {
        struct sfs_error err;
        fail_reading(pass, sfs_fail(&err, ENOMEM, "digesting"), &err);
    }
    return NULL;
}
