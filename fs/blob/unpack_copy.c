/* A ring of chunks. The caller fills one, the pool compresses and tags it, and the caller writes it
 * when its place in the ring comes round again: so frames lie in order, and memory is the ring. */
#include "blob/unpack_copy.h"

#include "base/pool.h"
#include "base/thread.h"
#include "blob/gmac.h"
#include <errno.h>
#include <zstd.h>

#define COPY_LEVEL 1
#define MAX_CHUNKS 64u

struct chunk {
    struct sfs_copy_writer *writer;
    uint8_t *in, *out;
    size_t in_size, out_size; /* bytes in `in` and `out`; out_size 0 after the job: it failed */
    uint32_t span;            /* the number of its span */
    bool busy;                /* its job has not ended; guarded by writer->lock */
    uint8_t tag[SFS_GMAC_SIZE];
    ZSTD_CCtx *compressor;
    struct sfs_gmac *gmac;
};

struct sfs_copy_writer {
    int fd;
    struct sfs_pool *pool;
    pthread_mutex_t lock;
    pthread_cond_t done;
    uint8_t key[16];
    uint64_t in_size, out_size;  /* of what was written so far, as in the table */
    uint32_t submitted, written; /* counts of chunks */
    struct sfs_buf points, tags;
    unsigned chunk_count;
    struct chunk chunks[MAX_CHUNKS];
};

static void compress_chunk(void *arg)
{
    struct chunk *chunk = arg;
    struct sfs_copy_writer *writer = chunk->writer;
    size_t size = ZSTD_compress2(chunk->compressor, chunk->out, ZSTD_COMPRESSBOUND(SFS_COPY_SPAN),
                                 chunk->in, chunk->in_size);
    bool failed = ZSTD_isError(size) || sfs_gmac_start(chunk->gmac, writer->key, chunk->span) < 0 ||
                  sfs_gmac_add(chunk->gmac, chunk->out, size) < 0 ||
                  sfs_gmac_finish(chunk->gmac, chunk->tag) < 0;
    LOCK(&writer->lock);
    chunk->out_size = failed ? 0 : size;
    chunk->busy = false;
    pthread_cond_broadcast(&writer->done);
}

static int open_chunk(struct sfs_copy_writer *writer, struct chunk *chunk)
{
    chunk->writer = writer;
    chunk->in = malloc(SFS_COPY_SPAN);
    chunk->out = malloc(ZSTD_COMPRESSBOUND(SFS_COPY_SPAN));
    chunk->gmac = sfs_gmac_open();
    chunk->compressor = ZSTD_createCCtx();
    if (!chunk->in || !chunk->out || !chunk->gmac || !chunk->compressor)
        return -ENOMEM;
    ZSTD_CCtx_setParameter(chunk->compressor, ZSTD_c_compressionLevel, COPY_LEVEL);
    ZSTD_CCtx_setParameter(chunk->compressor, ZSTD_c_checksumFlag, 0);
    return 0;
}

int sfs_copy_writer_open(int fd, struct sfs_copy_writer **ret_writer, struct sfs_error *err)
{
    AUTO(sfs_copy_writer_close) struct sfs_copy_writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return sfs_fail_memory(err);
    writer->fd = fd;
    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->done, NULL);
    if (sfs_gmac_make_key(writer->key) < 0)
        return sfs_fail(err, EIO, "no random numbers");
    int r = sfs_pool_open(0, &writer->pool, err);
    if (r < 0)
        return r;
    unsigned count = 2 * sfs_pool_threads(writer->pool) + 1;
    writer->chunk_count = count < MAX_CHUNKS ? count : MAX_CHUNKS;
    for (unsigned i = 0; i < writer->chunk_count; i++)
        if (open_chunk(writer, &writer->chunks[i]) < 0)
            return sfs_fail_memory(err);
    *ret_writer = TAKE(writer);
    return 0;
}

static void wait_for(struct sfs_copy_writer *writer, const struct chunk *chunk)
{
    LOCK(&writer->lock);
    while (chunk->busy)
        pthread_cond_wait(&writer->done, &writer->lock);
}

/* Waits for the oldest chunk and writes it. */
static int write_oldest(struct sfs_copy_writer *writer, struct sfs_error *err)
{
    struct chunk *chunk = &writer->chunks[writer->written % writer->chunk_count];
    wait_for(writer, chunk);
    if (chunk->out_size == 0)
        return sfs_fail(err, ENOMEM, "compressing the seekable copy");
    int r = sfs_io_write_all(writer->fd, chunk->out, chunk->out_size);
    if (r < 0)
        return sfs_fail_errno(err, -r, "writing the seekable copy");
    struct sfs_point point = { .out = writer->out_size, .in = writer->in_size };
    if (sfs_buf_add(&writer->points, &point, sizeof point) < 0 ||
        sfs_buf_add(&writer->tags, chunk->tag, sizeof chunk->tag) < 0)
        return sfs_fail_memory(err);
    writer->out_size += chunk->in_size;
    writer->in_size += chunk->out_size;
    chunk->in_size = 0;
    writer->written++;
    return 0;
}

static int submit(struct sfs_copy_writer *writer, struct chunk *chunk, struct sfs_error *err)
{
    chunk->span = writer->submitted;
    chunk->busy = true;
    if (sfs_pool_submit(writer->pool, SFS_POOL_DEMAND, compress_chunk, chunk) < 0) {
        chunk->busy = false;
        return sfs_fail_memory(err);
    }
    writer->submitted++;
    return 0;
}

int sfs_copy_writer_add(struct sfs_copy_writer *writer, const void *data, size_t size,
                        struct sfs_error *err)
{
    const uint8_t *at = data;
    while (size > 0) {
        if (writer->submitted - writer->written == writer->chunk_count) {
            int r = write_oldest(writer, err);
            if (r < 0)
                return r;
        }
        struct chunk *chunk = &writer->chunks[writer->submitted % writer->chunk_count];
        size_t part = SFS_COPY_SPAN - chunk->in_size;
        if (part > size)
            part = size;
        memcpy(chunk->in + chunk->in_size, at, part);
        chunk->in_size += part;
        at += part;
        size -= part;
        if (chunk->in_size == SFS_COPY_SPAN) {
            int r = submit(writer, chunk, err);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

int sfs_copy_writer_finish(struct sfs_copy_writer *writer, struct sfs_error *err)
{
    struct chunk *chunk = &writer->chunks[writer->submitted % writer->chunk_count];
    bool is_full = writer->submitted - writer->written == writer->chunk_count;
    int r = 0;
    if (!is_full && chunk->in_size > 0)
        r = submit(writer, chunk, err);
    while (r == 0 && writer->written < writer->submitted)
        r = write_oldest(writer, err);
    return r;
}

void sfs_copy_writer_table(const struct sfs_copy_writer *writer, struct sfs_seek_table *ret_table)
{
    *ret_table = (struct sfs_seek_table){
        .codec = SFS_CODEC_ZSTD,
        .check = SFS_CHECK_GMAC,
        .in_size = writer->in_size,
        .out_size = writer->out_size,
        .count = writer->written,
        .points = (const struct sfs_point *)(const void *)writer->points.data,
        .tags = (const uint8_t *)writer->tags.data,
    };
    memcpy(ret_table->key, writer->key, sizeof ret_table->key);
}

void sfs_copy_writer_close(struct sfs_copy_writer **writer_ptr)
{
    struct sfs_copy_writer *writer = *writer_ptr;
    if (!writer)
        return;
    *writer_ptr = NULL;
    sfs_pool_close(&writer->pool); /* runs what is queued: the chunks stay until then */
    for (unsigned i = 0; i < writer->chunk_count; i++) {
        struct chunk *chunk = &writer->chunks[i];
        free(chunk->in);
        free(chunk->out);
        sfs_gmac_close(&chunk->gmac);
        ZSTD_freeCCtx(chunk->compressor);
    }
    sfs_buf_close(&writer->points);
    sfs_buf_close(&writer->tags);
    pthread_cond_destroy(&writer->done);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}
