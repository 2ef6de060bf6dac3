/* The caller's end of a pass: it starts the threads, takes their blocks and makes the table of what
 * they found. Together with unpack_pipe.c, which is the pass that the decoder sees. */
#include "blob/unpack_pipe.h"

#include "base/thread.h"
#include <errno.h>

struct sfs_unpack {
    struct sfs_pass pass;
    bool lent;
    bool finished;
};

static int start(pthread_t *ret_thread, bool *ret_has, void *(*run)(void *pass),
                 struct sfs_pass *pass, const char *what, struct sfs_error *err)
{
    int r = sfs_thread_start(ret_thread, run, pass, what, err);
    *ret_has = r == 0;
    return r;
}

static int start_threads(struct sfs_pass *pass, struct sfs_error *err)
{
    int r = start(&pass->input, &pass->has_input, sfs_pass_run_input, pass, "reads a blob", err);
    if (r == 0)
        r = start(&pass->decoder, &pass->has_decoder, sfs_pass_run_decoder, pass, "decodes", err);
    if (r == 0 && !pass->codec->is_plain)
        r = start(&pass->digester, &pass->has_digester, sfs_pass_run_digester, pass, "digests",
                  err);
    return r;
}

static int open_pass(struct sfs_pass *pass, struct sfs_error *err)
{
    pass->in_ended = pass->blob->size == 0;
    if (!pass->codec)
        return sfs_fail(err, EINVAL, "unknown codec");
    if (sfs_points_init(&pass->points) < 0)
        return sfs_fail_memory(err);
    for (unsigned i = 0; i < SFS_PASS_BLOCKS; i++) {
        pass->in[i].data = malloc(SFS_PASS_BLOCK);
        pass->out[i].memory = calloc(1, SFS_WINDOW_MAX + SFS_PASS_BLOCK);
        if (!pass->in[i].data || !pass->out[i].memory)
            return sfs_fail_memory(err);
    }
    return start_threads(pass, err);
}

int sfs_unpack_open(struct sfs_blob *blob, const struct sfs_unpack_options *options,
                    struct sfs_unpack **ret_unpack, struct sfs_error *err)
{
    AUTO(sfs_unpack_close) struct sfs_unpack *unpack = calloc(1, sizeof *unpack);
    if (!unpack)
        return sfs_fail_memory(err);
    struct sfs_pass *pass = &unpack->pass;
    pass->blob = blob;
    pass->options = *options;
    pass->codec = sfs_codec_get(options->codec);
    pthread_mutex_init(&pass->lock, NULL);
    pthread_cond_init(&pass->changed, NULL);
    int r = open_pass(pass, err);
    if (r < 0)
        return r;
    *ret_unpack = TAKE(unpack);
    return 0;
}

/* The failure to tell, if there is one; the lock is held. */
static int get_failure(const struct sfs_pass *pass, struct sfs_error *err)
{
    int r = pass->read_failure ? pass->read_failure : pass->failure;
    if (r < 0 && err)
        *err = pass->read_failure ? pass->read_failure_text : pass->failure_text;
    return r;
}

int sfs_unpack_next(struct sfs_unpack *unpack, const void **ret_data, size_t *ret_size,
                    struct sfs_error *err)
{
    struct sfs_pass *pass = &unpack->pass;
    *ret_size = 0;
    LOCK(&pass->lock);
    if (unpack->lent) {
        unpack->lent = false;
        pass->out_taken++;
        pthread_cond_broadcast(&pass->changed);
    }
    while (pass->out_made == pass->out_taken && !pass->decoder_done && pass->read_failure == 0)
        pthread_cond_wait(&pass->changed, &pass->lock);
    if (pass->out_made == pass->out_taken || pass->read_failure != 0)
        return get_failure(pass, err);
    const struct sfs_out_block *block = &pass->out[pass->out_taken % SFS_PASS_BLOCKS];
    *ret_data = block->memory + SFS_WINDOW_MAX;
    *ret_size = block->size;
    unpack->lent = true;
    return 0;
}

/* Tells all threads of what the caller wants of them: `wish` is one of the pass's. */
static void tell(struct sfs_pass *pass, bool *wish)
{
    LOCK(&pass->lock);
    *wish = true;
    pthread_cond_broadcast(&pass->changed);
}

static void join(bool *has, pthread_t thread)
{
    if (*has)
        pthread_join(thread, NULL);
    *has = false;
}

static void join_all(struct sfs_pass *pass)
{
    join(&pass->has_decoder, pass->decoder);
    join(&pass->has_digester, pass->digester);
    join(&pass->has_input, pass->input);
}

static int get_table(struct sfs_pass *pass, struct sfs_seek_table *ret_table, struct sfs_error *err)
{
    if (pass->copy) {
        sfs_copy_writer_table(pass->copy, ret_table);
        return 0;
    }
    struct sfs_points *points = &pass->points;
    if (sfs_points_finish(points, ret_table) < 0)
        return sfs_fail_memory(err);
    ret_table->codec = pass->options.codec;
    ret_table->in_size = points->in_end == UINT64_MAX ? pass->blob->size : points->in_end;
    ret_table->is_framed = pass->frames > 1;
    ret_table->out_size = pass->out_size;
    return 0;
}

static void *take_copy(uint8_t **at, const void *data, size_t size)
{
    void *copy = *at;
    if (size > 0)
        memcpy(copy, data, size);
    *at += size;
    return copy;
}

/* The arrays of a table, in one piece of memory that belongs to *ret_unpacked. */
static int copy_table(const struct sfs_seek_table *table, struct sfs_unpacked *ret_unpacked,
                      struct sfs_error *err)
{
    size_t points_size = table->count * sizeof *table->points;
    size_t tags_size = (size_t)table->count * SFS_GMAC_SIZE;
    uint8_t *at = malloc(points_size + tags_size + table->windows_size + 1);
    if (!at)
        return sfs_fail_memory(err);
    ret_unpacked->memory = at;
    ret_unpacked->table = *table;
    ret_unpacked->table.points = take_copy(&at, table->points, points_size);
    ret_unpacked->table.tags = take_copy(&at, table->tags, tags_size);
    ret_unpacked->table.windows = take_copy(&at, table->windows, table->windows_size);
    return 0;
}

int sfs_unpack_finish(struct sfs_unpack *unpack, struct sfs_unpacked *ret_unpacked,
                      struct sfs_error *err)
{
    struct sfs_pass *pass = &unpack->pass;
    tell(pass, &pass->discarding);
    join_all(pass);
    *ret_unpacked = (struct sfs_unpacked){ .in_digest = pass->in_digest };
    int r = get_failure(pass, err);
    if (r < 0)
        return r;
    if (pass->copy && !sfs_digest_equal(&pass->start_digest, &pass->replay_digest))
        return sfs_fail(err, EIO, "%s was changed while it was read", pass->blob->name);
    struct sfs_seek_table table;
    r = get_table(pass, &table, err);
    if (r == 0)
        r = copy_table(&table, ret_unpacked, err);
    if (r < 0)
        return r;
    ret_unpacked->out_digest = pass->codec->is_plain ? pass->in_digest : pass->out_digest;
    ret_unpacked->uses_copy = pass->copy != NULL;
    ret_unpacked->copy_size = pass->copy ? table.in_size : 0;
    return 0;
}

void sfs_unpacked_close(struct sfs_unpacked *unpacked)
{
    free(unpacked->memory);
    *unpacked = (struct sfs_unpacked){ 0 };
}

void sfs_unpack_close(struct sfs_unpack **unpack_ptr)
{
    struct sfs_unpack *unpack = *unpack_ptr;
    if (!unpack)
        return;
    *unpack_ptr = NULL;
    struct sfs_pass *pass = &unpack->pass;
    tell(pass, &pass->closing);
    join_all(pass);
    sfs_copy_writer_close(&pass->copy);
    sfs_points_done(&pass->points);
    for (unsigned i = 0; i < SFS_PASS_BLOCKS; i++) {
        free(pass->in[i].data);
        free(pass->out[i].memory);
    }
    pthread_cond_destroy(&pass->changed);
    pthread_mutex_destroy(&pass->lock);
    free(unpack);
}
