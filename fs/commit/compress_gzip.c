/* gzip through libdeflate: its output does not depend on the processor. ISA-L is three to five
 * times as fast, but its output does (docs/benchmarks-archive.md, "Compressors").
 *
 * Libraries of CUDA are up to half full of bytes that are compressed already, and deflate spends
 * most of its time on those to win nothing. At the default level a sample of each block decides: it
 * is stored where that hardly shrinks, and only where it shrinks well, as text does, level 2 wins
 * enough over level 1 to be worth its time. */
#include "commit/compress.h"

#include <errno.h>
#include <libdeflate.h>
#include <stagefs/auto.h>

#define SAMPLED   0 /* the default level: takes FAST or GOOD for each block */
#define FAST      1
#define GOOD      2
#define MAX_LEVEL 12

#define SAMPLE_PIECES 12u
#define SAMPLE_PIECE  4096u
#define SAMPLE_SIZE   (SAMPLE_PIECES * SAMPLE_PIECE)
#define SAMPLE_STORED (SAMPLE_SIZE / 100 * 96) /* if the sample shrinks to more, it is stored */
#define SAMPLE_FAST   (SAMPLE_SIZE / 2)        /* else, if to more than this, level FAST is used */

struct gzip_compressor {
    struct sfs_compressor compressor;
    struct libdeflate_compressor *deflate, *fast, *store; /* the latter two NULL: no samples */
    char sample[SAMPLE_SIZE], sample_out[SAMPLE_SIZE];
};

static int max_level(void)
{
    return MAX_LEVEL;
}

static void describe(int level, char *text, size_t size)
{
    if (level == SAMPLED)
        snprintf(text, size, "gzip libdeflate %s level %d or %d, sampled",
                 LIBDEFLATE_VERSION_STRING, FAST, GOOD);
    else
        snprintf(text, size, "gzip libdeflate %s level %d", LIBDEFLATE_VERSION_STRING, level);
}

static size_t get_bound(size_t size)
{
    return libdeflate_gzip_compress_bound(NULL, size);
}

static void free_deflate(struct libdeflate_compressor *deflate)
{
    if (deflate)
        libdeflate_free_compressor(deflate);
}

static void close_gzip(struct sfs_compressor *compressor)
{
    struct gzip_compressor *gzip = (struct gzip_compressor *)compressor;
    free_deflate(gzip->deflate);
    free_deflate(gzip->fast);
    free_deflate(gzip->store);
    free(gzip);
}

static struct sfs_compressor *open_gzip(int level)
{
    struct gzip_compressor *gzip = calloc(1, sizeof *gzip);
    if (!gzip)
        return NULL;
    gzip->deflate = libdeflate_alloc_compressor(level == SAMPLED ? GOOD : level);
    bool is_good = gzip->deflate;
    if (level == SAMPLED) {
        gzip->fast = libdeflate_alloc_compressor(FAST);
        gzip->store = libdeflate_alloc_compressor(0);
        is_good = is_good && gzip->fast && gzip->store;
    }
    if (is_good)
        return &gzip->compressor;
    close_gzip(&gzip->compressor);
    return NULL;
}

/* Chooses the level of a block by a sample, taken evenly from all over the block. */
static struct libdeflate_compressor *choose_deflate(struct gzip_compressor *gzip, const char *data,
                                                    size_t size)
{
    if (!gzip->fast || size < 2 * SAMPLE_SIZE)
        return gzip->deflate;
    size_t step = (size - SAMPLE_PIECE) / (SAMPLE_PIECES - 1);
    for (size_t i = 0; i < SAMPLE_PIECES; i++)
        memcpy(gzip->sample + i * SAMPLE_PIECE, data + i * step, SAMPLE_PIECE);
    size_t n = libdeflate_deflate_compress(gzip->fast, gzip->sample, SAMPLE_SIZE, gzip->sample_out,
                                           SAMPLE_SIZE);
    if (n == 0 || n > SAMPLE_STORED) /* 0: it did not fit */
        return gzip->store;
    return n > SAMPLE_FAST ? gzip->fast : gzip->deflate;
}

static ssize_t run_gzip(struct sfs_compressor *compressor, const void *data, size_t size, void *out,
                        size_t out_size)
{
    struct gzip_compressor *gzip = (struct gzip_compressor *)compressor;
    size_t n =
        libdeflate_gzip_compress(choose_deflate(gzip, data, size), data, size, out, out_size);
    return n == 0 ? -EIO : (ssize_t)n;
}

const struct sfs_compress_method sfs_compress_gzip = {
    .codec = SFS_CODEC_GZIP,
    .default_level = SAMPLED,
    .max_level = max_level,
    .describe = describe,
    .bound = get_bound,
    .open = open_gzip,
    .close = close_gzip,
    .run = run_gzip,
};
