/* gzip through libdeflate, zstd through libzstd: their output does not depend on the processor.
 * ISA-L is three to five times as fast, but its output does (bench/RESULTS.md, "compressors").
 *
 * Libraries of CUDA are up to half full of bytes that are compressed already, and deflate spends
 * most of its time on those to win nothing. At the default level a block is first tried by a
 * sample, and stored if that does not shrink. */
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

#define GZIP_DEFAULT 2
#define GZIP_MAX     12
#define ZSTD_DEFAULT 3

#define ZSTD_WINDOW_LOG 22 /* the whole block; level 3 by itself looks back over half of it */

#define SAMPLE_PIECES 12u
#define SAMPLE_PIECE  4096u

struct sfs_compressor {
    const struct sfs_compress_plan *plan;
    struct libdeflate_compressor *deflate, *sampler, *store;
    ZSTD_CCtx *zstd;
    char sample[SAMPLE_PIECES * SAMPLE_PIECE], sample_out[SAMPLE_PIECES * SAMPLE_PIECE];
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
        snprintf(plan->name, sizeof plan->name, "gzip libdeflate %s level %d, sampled",
                 LIBDEFLATE_VERSION_STRING, GZIP_DEFAULT);
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
    compressor->deflate = libdeflate_alloc_compressor(level ? level : GZIP_DEFAULT);
    if (level)
        return compressor->deflate;
    compressor->sampler = libdeflate_alloc_compressor(1);
    compressor->store = libdeflate_alloc_compressor(0);
    return compressor->deflate && compressor->sampler && compressor->store;
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
    free_deflate(compressor->sampler);
    free_deflate(compressor->store);
    ZSTD_freeCCtx(compressor->zstd);
    free(compressor);
}

/* Does a sample, taken evenly from all over the block, lose less than 2 %? */
static bool is_incompressible(struct sfs_compressor *compressor, const char *data, size_t size)
{
    if (size < 2 * sizeof compressor->sample)
        return false;
    size_t step = (size - SAMPLE_PIECE) / (SAMPLE_PIECES - 1);
    for (size_t i = 0; i < SAMPLE_PIECES; i++)
        memcpy(compressor->sample + i * SAMPLE_PIECE, data + i * step, SAMPLE_PIECE);
    /* Room for less than it would be stored in: 0 says that it did not fit. */
    size_t room = sizeof compressor->sample / 50 * 49;
    return libdeflate_deflate_compress(compressor->sampler, compressor->sample,
                                       sizeof compressor->sample, compressor->sample_out,
                                       room) == 0;
}

static ssize_t run_gzip(struct sfs_compressor *compressor, const void *data, size_t size, void *out,
                        size_t out_size)
{
    struct libdeflate_compressor *deflate = compressor->deflate;
    if (compressor->sampler && is_incompressible(compressor, data, size))
        deflate = compressor->store;
    size_t n = libdeflate_gzip_compress(deflate, data, size, out, out_size);
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
