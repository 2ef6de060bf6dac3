/* What a decoder calls: blocks in, blocks out, points, and the change to a seekable copy. Together
 * with unpack.c, whose caller takes what comes out, by options that the pass holds. */
#include "blob/unpack_pipe.h"

#include "base/thread.h"
#include "blob/unpack_replay.h"
#include "base/hash.h"
#include <errno.h>

/* The average random read decodes half of this in vain, and of a blob on another machine all of it
 * is fetched. A point costs some hundred bytes to a few KiB of index: 8 MB for each GB. */
#define SPACING (256u << 10)

int sfs_pass_input(struct sfs_pass *pass, const uint8_t **ret_data, size_t *ret_size,
                   struct sfs_error *err)
{
    LOCK(&pass->lock);
    while (!pass->closing && pass->read_failure == 0 && pass->in_taken == pass->in_read &&
           !pass->in_ended)
        pthread_cond_wait(&pass->changed, &pass->lock);
    int r = pass->closing ? -ECANCELED : pass->read_failure;
    if (r < 0 && err)
        *err = pass->read_failure_text;
    *ret_size = 0;
    if (r == 0 && pass->in_taken < pass->in_read) {
        const struct sfs_in_block *block = &pass->in[pass->in_taken % SFS_PASS_BLOCKS];
        *ret_data = block->data;
        *ret_size = block->size;
        pass->in_taken++;
        pthread_cond_broadcast(&pass->changed);
    }
    return r;
}

static bool has_room(const struct sfs_pass *pass)
{
    uint64_t used = pass->codec->is_plain ? pass->out_made : pass->out_digested;
    if (!pass->discarding && pass->out_taken < used)
        used = pass->out_taken;
    /* The block before the one that is written stays whole: windows are taken from it. */
    return pass->out_made - used < SFS_PASS_BLOCKS - 1;
}

static int wait_for_room(struct sfs_pass *pass, struct sfs_error *err)
{
    LOCK(&pass->lock);
    while (!pass->closing && pass->read_failure == 0 && !has_room(pass))
        pthread_cond_wait(&pass->changed, &pass->lock);
    int r = pass->closing ? -ECANCELED : pass->read_failure;
    if (r < 0 && err)
        *err = pass->read_failure_text;
    return r;
}

int sfs_pass_output(struct sfs_pass *pass, uint8_t **ret_data, struct sfs_error *err)
{
    int r = wait_for_room(pass, err);
    if (r < 0)
        return r;
    uint64_t made = pass->out_made; /* only this thread changes it */
    uint8_t *memory = pass->out[made % SFS_PASS_BLOCKS].memory;
    if (made > 0) {
        const struct sfs_out_block *last = &pass->out[(made - 1) % SFS_PASS_BLOCKS];
        memcpy(memory, last->memory + last->size, SFS_WINDOW_MAX);
    }
    *ret_data = memory + SFS_WINDOW_MAX;
    return 0;
}

int sfs_pass_deliver(struct sfs_pass *pass, size_t size, struct sfs_error *err)
{
    if (size == 0)
        return 0;
    /* Only this thread changes out_made. */
    struct sfs_out_block *block = &pass->out[pass->out_made % SFS_PASS_BLOCKS];
    block->size = size;
    pass->out_size += size;
    if (pass->copy) {
        int r = sfs_copy_writer_add(pass->copy, block->memory + SFS_WINDOW_MAX, size, err);
        if (r < 0)
            return r;
    }
    LOCK(&pass->lock);
    pass->out_made++;
    pthread_cond_broadcast(&pass->changed);
    return 0;
}

uint32_t sfs_pass_spacing(const struct sfs_pass *pass)
{
    return pass->options.spacing ? pass->options.spacing : SPACING;
}

int sfs_pass_add_point(struct sfs_pass *pass, uint64_t out, uint64_t in, uint8_t bits,
                       const void *window, size_t window_size, struct sfs_error *err)
{
    if (pass->copy)
        return 0;
    int r = sfs_points_add(&pass->points, out, in, bits, window, window_size);
    if (r == -E2BIG)
        return sfs_fail(err, E2BIG, "too many points in %s", pass->blob->name);
    return r < 0 ? sfs_fail_memory(err) : 0;
}

void sfs_pass_note_frame(struct sfs_pass *pass)
{
    pass->frames++;
}

void sfs_pass_end(struct sfs_pass *pass, uint64_t in_end)
{
    sfs_points_end(&pass->points, in_end);
}

bool sfs_pass_copies(const struct sfs_pass *pass)
{
    return pass->copy != NULL;
}

bool sfs_pass_may_copy(const struct sfs_pass *pass)
{
    return pass->options.copy_fd >= 0;
}

struct replayed {
    struct sfs_copy_writer *copy;
    struct sfs_hash *hash;
};

static int add_replayed(void *user, const void *data, size_t size, struct sfs_error *err)
{
    struct replayed *replayed = user;
    if (sfs_hash_add(replayed->hash, data, size) < 0)
        return sfs_fail(err, ENOMEM, "digesting");
    return sfs_copy_writer_add(replayed->copy, data, size, err);
}

int sfs_pass_start_copy(struct sfs_pass *pass, const char *why, struct sfs_error *err)
{
    if (!sfs_pass_may_copy(pass))
        return sfs_fail(err, ENOTSUP, "%s: %s, and there is no place for a seekable copy",
                        pass->blob->name, why);
    AUTO(sfs_copy_writer_close) struct sfs_copy_writer *copy = NULL;
    int r = sfs_copy_writer_open(pass->options.copy_fd, &copy, err);
    if (r < 0)
        return r;
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    if (!hash)
        return sfs_fail_memory(err);
    struct replayed replayed = { copy, hash };
    r = sfs_replay(pass->blob, pass->codec, pass->out_size, add_replayed, &replayed, err);
    if (r < 0)
        return r;
    if (sfs_hash_finish(hash, &pass->replay_digest) < 0)
        return sfs_fail(err, ENOMEM, "digesting");
    LOCK(&pass->lock);
    pass->copy_start = pass->out_size;
    pass->copy = TAKE(copy);
    return 0;
}

void *sfs_pass_run_decoder(void *arg)
{
    struct sfs_pass *pass = arg;
    struct sfs_error err = { "" };
    int r = pass->codec->unpack(pass, &err);
    if (r == 0 && pass->copy)
        r = sfs_copy_writer_finish(pass->copy, &err);
    LOCK(&pass->lock);
    pass->failure = r;
    pass->failure_text = err;
    pass->decoder_done = true;
    pthread_cond_broadcast(&pass->changed);
    return NULL;
}
