/* gzip through libdeflate, zstd through libzstd: their output does not depend on the processor.
 * ISA-L is three to five times as fast, but its output does (docs/benchmarks-archive.md,
 * "Compressors").
 *
 * Libraries of CUDA are up to half full of bytes that are compressed already, and deflate spends
 * most of its time on those to win nothing. At the default level a sample of each block decides: it
 * is stored where that hardly shrinks, and only where it shrinks well, as text does, level 2 wins
 * enough over level 1 to be worth its time. */
#include "commit/compress.h"

#include <endian.h>
#include <errno.h>
#include <libdeflate.h>
#include <stagefs/auto.h>
#include <zstd.h>

#define GZIP_BLOCK (1u << 20)
#define ZSTD_BLOCK (4u << 20) /* 1 MiB costs 4 % of the ratio */
#define NONE_BLOCK (1u << 20)

#define ESTARGZ_CHUNK (4u << 20)
#define CHUNKED_CHUNK (1u << 20) /* a reader of a few bytes decodes one */

#define COPY_MIN (64u << 10) /* where no table makes each file a block of its own */

#define GZIP_FAST    1 /* level 0, the default, takes one of these for each block */
#define GZIP_GOOD    2
#define GZIP_MAX     12
#define ZSTD_DEFAULT 3

#define ZSTD_WINDOW_LOG 22 /* the whole block; level 3 by itself looks back over half of it */

#define SAMPLE_PIECES 12u
#define SAMPLE_PIECE  4096u
#define SAMPLE_SIZE   (SAMPLE_PIECES * SAMPLE_PIECE)
#define SAMPLE_STORED (SAMPLE_SIZE / 100 * 96) /* what shrinks to more is stored, */
#define SAMPLE_FAST   (SAMPLE_SIZE / 2)        /* and to more than this, compressed fast */

struct sfs_compressor {
    const struct sfs_compress_plan *plan;
    struct libdeflate_compressor *deflate, *fast, *store; /* the latter two NULL: no samples */
    ZSTD_CCtx *zstd;
    char sample[SAMPLE_SIZE], sample_out[SAMPLE_SIZE];
};

static int plan_gzip(int level, struct sfs_compress_plan *plan, struct sfs_error *err)
{
    if (level < 0 || level > GZIP_MAX)
        return sfs_fail(err, EINVAL, "gzip has levels 1 to %d, not %d", GZIP_MAX, level);
    plan->level = level;
    plan->copies = level == 0; /* who asks for a level wants it */
    plan->copy_min = COPY_MIN;
    plan->block_size = GZIP_BLOCK;
    plan->media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    if (level == 0)
        snprintf(plan->name, sizeof plan->name, "gzip libdeflate %s level %d or %d, sampled",
                 LIBDEFLATE_VERSION_STRING, GZIP_FAST, GZIP_GOOD);
    else
        snprintf(plan->name, sizeof plan->name, "gzip libdeflate %s level %d",
                 LIBDEFLATE_VERSION_STRING, level);
    return 0;
}

static int plan_zstd(int level, struct sfs_compress_plan *plan, struct sfs_error *err)
{
    if (level < 0 || level > ZSTD_maxCLevel())
        return sfs_fail(err, EINVAL, "zstd has levels 1 to %d, not %d", ZSTD_maxCLevel(), level);
    plan->copies = level == 0;
    plan->copy_min = COPY_MIN;
    plan->level = level ? level : ZSTD_DEFAULT;
    plan->block_size = ZSTD_BLOCK;
    plan->media_type = "application/vnd.oci.image.layer.v1.tar+zstd";
    snprintf(plan->name, sizeof plan->name, "zstd libzstd %s level %d", ZSTD_versionString(),
             plan->level);
    return 0;
}

int sfs_compress_plan(enum sfs_compression format, int level, struct sfs_compress_plan *ret_plan,
                      struct sfs_error *err)
{
    int r;
    *ret_plan = (struct sfs_compress_plan){ .format = format };
    switch (format) {
    case SFS_COMPRESS_GZIP:
        return plan_gzip(level, ret_plan, err);
    case SFS_COMPRESS_ZSTD:
        return plan_zstd(level, ret_plan, err);
    case SFS_COMPRESS_NONE:
        ret_plan->block_size = NONE_BLOCK;
        ret_plan->media_type = "application/vnd.oci.image.layer.v1.tar";
        return level == 0 ? 0 : sfs_fail(err, EINVAL, "no compression has no levels");
    case SFS_COMPRESS_ESTARGZ:
        ret_plan->format = SFS_COMPRESS_GZIP;
        ret_plan->contents = SFS_CONTENTS_ESTARGZ;
        ret_plan->chunk_size = ESTARGZ_CHUNK;
        r = plan_gzip(level, ret_plan, err);
        ret_plan->block_size = ESTARGZ_CHUNK;
        ret_plan->copy_min = 1;
        return r;
    case SFS_COMPRESS_ZSTD_CHUNKED:
        ret_plan->format = SFS_COMPRESS_ZSTD;
        ret_plan->contents = SFS_CONTENTS_CHUNKED;
        ret_plan->chunk_size = CHUNKED_CHUNK;
        r = plan_zstd(level, ret_plan, err);
        ret_plan->block_size = CHUNKED_CHUNK;
        ret_plan->copy_min = 1;
        return r;
    }
    return sfs_fail(err, EINVAL, "no such compression");
}

size_t sfs_compress_bound(const struct sfs_compress_plan *plan, size_t size)
{
    switch (plan->format) {
    case SFS_COMPRESS_GZIP:
        return libdeflate_gzip_compress_bound(NULL, size);
    case SFS_COMPRESS_ZSTD:
        return ZSTD_compressBound(size);
    default:
        return size;
    }
}

static bool open_gzip(struct sfs_compressor *compressor, int level)
{
    compressor->deflate = libdeflate_alloc_compressor(level ? level : GZIP_GOOD);
    if (level)
        return compressor->deflate;
    compressor->fast = libdeflate_alloc_compressor(GZIP_FAST);
    compressor->store = libdeflate_alloc_compressor(0);
    return compressor->deflate && compressor->fast && compressor->store;
}

static bool set_zstd(ZSTD_CCtx *zstd, ZSTD_cParameter parameter, int value)
{
    return !ZSTD_isError(ZSTD_CCtx_setParameter(zstd, parameter, value));
}

static bool open_zstd(struct sfs_compressor *compressor, int level)
{
    compressor->zstd = ZSTD_createCCtx();
    return compressor->zstd && set_zstd(compressor->zstd, ZSTD_c_compressionLevel, level) &&
           set_zstd(compressor->zstd, ZSTD_c_checksumFlag, 1) &&
           set_zstd(compressor->zstd, ZSTD_c_windowLog, ZSTD_WINDOW_LOG);
}

struct sfs_compressor *sfs_compressor_open(const struct sfs_compress_plan *plan)
{
    AUTO(sfs_compressor_close) struct sfs_compressor *compressor = calloc(1, sizeof *compressor);
    if (!compressor)
        return NULL;
    compressor->plan = plan;
    bool good = plan->format == SFS_COMPRESS_GZIP ? open_gzip(compressor, plan->level)
                                                  : open_zstd(compressor, plan->level);
    return good ? TAKE(compressor) : NULL;
}

static void free_deflate(struct libdeflate_compressor *deflate)
{
    if (deflate)
        libdeflate_free_compressor(deflate);
}

void sfs_compressor_close(struct sfs_compressor **compressor_ptr)
{
    struct sfs_compressor *compressor = *compressor_ptr;
    if (!compressor)
        return;
    *compressor_ptr = NULL;
    free_deflate(compressor->deflate);
    free_deflate(compressor->fast);
    free_deflate(compressor->store);
    ZSTD_freeCCtx(compressor->zstd);
    free(compressor);
}

/* By a sample, taken evenly from all over the block. */
static struct libdeflate_compressor *choose_deflate(struct sfs_compressor *compressor,
                                                    const char *data, size_t size)
{
    if (!compressor->fast || size < 2 * SAMPLE_SIZE)
        return compressor->deflate;
    size_t step = (size - SAMPLE_PIECE) / (SAMPLE_PIECES - 1);
    for (size_t i = 0; i < SAMPLE_PIECES; i++)
        memcpy(compressor->sample + i * SAMPLE_PIECE, data + i * step, SAMPLE_PIECE);
    size_t n = libdeflate_deflate_compress(compressor->fast, compressor->sample, SAMPLE_SIZE,
                                           compressor->sample_out, SAMPLE_SIZE);
    if (n == 0 || n > SAMPLE_STORED) /* 0: it did not fit */
        return compressor->store;
    return n > SAMPLE_FAST ? compressor->fast : compressor->deflate;
}

static ssize_t run_gzip(struct sfs_compressor *compressor, const void *data, size_t size, void *out,
                        size_t out_size)
{
    size_t n =
        libdeflate_gzip_compress(choose_deflate(compressor, data, size), data, size, out, out_size);
    return n == 0 ? -EIO : (ssize_t)n;
}

ssize_t sfs_compressor_run(struct sfs_compressor *compressor, const void *data, size_t size,
                           void *out, size_t out_size)
{
    if (compressor->plan->format == SFS_COMPRESS_GZIP)
        return run_gzip(compressor, data, size, out, out_size);
    size_t n = ZSTD_compress2(compressor->zstd, out, out_size, data, size);
    return ZSTD_isError(n) ? -EIO : (ssize_t)n;
}

/* zstd's contrib/seekable_format: a skippable frame of {compressed, plain} sizes and a footer. */
#define SKIPPABLE_MAGIC 0x184d2a5eu
#define SEEKABLE_MAGIC  0x8f92eab1u

static int add_u32(struct sfs_buf *buf, uint32_t value)
{
    uint32_t little = htole32(value);
    return sfs_buf_add(buf, &little, sizeof little);
}

int sfs_compress_add_tail(const struct sfs_compress_plan *plan, const struct sfs_segment *segments,
                          size_t count, struct sfs_buf *buf)
{
    enum { ENTRY = 8, FOOTER = 9 };
    if (plan->format != SFS_COMPRESS_ZSTD || plan->contents ||
        count > (UINT32_MAX - FOOTER) / ENTRY)
        return 0;
    int r = add_u32(buf, SKIPPABLE_MAGIC);
    if (r == 0)
        r = add_u32(buf, (uint32_t)(count * ENTRY + FOOTER));
    for (size_t i = 0; i < count && r == 0; i++) {
        r = add_u32(buf, segments[i].out_size);
        if (r == 0)
            r = add_u32(buf, segments[i].in_size);
    }
    if (r == 0)
        r = add_u32(buf, (uint32_t)count);
    if (r == 0)
        r = sfs_buf_add(buf, "\0", 1); /* no checksums: the frames have their own */
    if (r == 0)
        r = add_u32(buf, SEEKABLE_MAGIC);
    return r;
}
