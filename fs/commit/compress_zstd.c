/* zstd through libzstd: its output does not depend on the processor. */
#include "commit/compress.h"

#include <endian.h>
#include <errno.h>
#include <stagefs/auto.h>
#include <zstd.h>

#define DEFAULT_LEVEL 3
#define WINDOW_LOG    22 /* looks back over the whole block; level 3 by itself over half of it */

struct zstd_compressor {
    struct sfs_compressor compressor;
    ZSTD_CCtx *zstd;
};

static void describe(int level, char *text, size_t size)
{
    snprintf(text, size, "zstd libzstd %s level %d", ZSTD_versionString(), level);
}

static void close_zstd(struct sfs_compressor *compressor)
{
    ZSTD_freeCCtx(((struct zstd_compressor *)compressor)->zstd);
    free(compressor);
}

static bool set(ZSTD_CCtx *zstd, ZSTD_cParameter parameter, int value)
{
    return !ZSTD_isError(ZSTD_CCtx_setParameter(zstd, parameter, value));
}

static struct sfs_compressor *open_zstd(int level)
{
    struct zstd_compressor *zstd = calloc(1, sizeof *zstd);
    if (!zstd)
        return NULL;
    zstd->zstd = ZSTD_createCCtx();
    if (zstd->zstd && set(zstd->zstd, ZSTD_c_compressionLevel, level) &&
        set(zstd->zstd, ZSTD_c_checksumFlag, 1) && set(zstd->zstd, ZSTD_c_windowLog, WINDOW_LOG))
        return &zstd->compressor;
    close_zstd(&zstd->compressor);
    return NULL;
}

static ssize_t run_zstd(struct sfs_compressor *compressor, const void *data, size_t size, void *out,
                        size_t out_size)
{
    struct zstd_compressor *zstd = (struct zstd_compressor *)compressor;
    size_t n = ZSTD_compress2(zstd->zstd, out, out_size, data, size);
    return ZSTD_isError(n) ? -EIO : (ssize_t)n;
}

/* zstd's contrib/seekable_format: a skippable frame of {compressed, plain} sizes and a footer. */
#define SKIPPABLE_MAGIC 0x184d2a5eu
#define SEEKABLE_MAGIC  0x8f92eab1u

static void add_u32(struct sfs_buf *buf, uint32_t value)
{
    uint32_t little = htole32(value);
    sfs_buf_add(buf, &little, sizeof little);
}

static void add_seek_table(const struct sfs_segment *segments, size_t count, struct sfs_buf *buf)
{
    enum { ENTRY = 8, FOOTER = 9 };
    if (count > (UINT32_MAX - FOOTER) / ENTRY)
        return;
    add_u32(buf, SKIPPABLE_MAGIC);
    add_u32(buf, (uint32_t)(count * ENTRY + FOOTER));
    for (size_t i = 0; i < count; i++) {
        add_u32(buf, segments[i].out_size);
        add_u32(buf, segments[i].in_size);
    }
    add_u32(buf, (uint32_t)count);
    sfs_buf_add(buf, "\0", 1); /* no checksums: the frames have their own */
    add_u32(buf, SEEKABLE_MAGIC);
}

const struct sfs_compress_method sfs_compress_zstd = {
    .codec = SFS_CODEC_ZSTD,
    .default_level = DEFAULT_LEVEL,
    .max_level = ZSTD_maxCLevel,
    .describe = describe,
    .bound = ZSTD_compressBound,
    .open = open_zstd,
    .close = close_zstd,
    .run = run_zstd,
    .add_tail = add_seek_table,
};
