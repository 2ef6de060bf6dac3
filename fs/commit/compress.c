/* The table of a layer's formats, and the plan that comes of a format and a level. */
#include "commit/compress.h"

#include "blob/codecs.h"
#include <errno.h>
#include <stagefs/suggest.h>

#define GZIP_BLOCK (1u << 20)
#define ZSTD_BLOCK (4u << 20) /* blocks of 1 MiB would make layers 4 % larger */
#define NONE_BLOCK (1u << 20)

#define ESTARGZ_CHUNK (4u << 20)
#define CHUNKED_CHUNK (1u << 20) /* a reader of a few bytes decodes a whole chunk */

#define COPY_MIN (64u << 10) /* where no table makes each file a block of its own */

/* The formats of a layer. */
static const struct format {
    const char *name;                         /* for --compression */
    const struct sfs_compress_method *method; /* NULL: bytes as they are */
    enum sfs_contents_form contents;
    uint32_t block_size; /* with contents: a chunk of a file is a block */
    uint32_t copy_min;
    bool splices;
} formats[] = {
    [SFS_COMPRESS_GZIP] = { "gzip", &sfs_compress_gzip, SFS_CONTENTS_NONE, GZIP_BLOCK, COPY_MIN,
                            .splices = true },
    [SFS_COMPRESS_ZSTD] = { "zstd", &sfs_compress_zstd, SFS_CONTENTS_NONE, ZSTD_BLOCK, COPY_MIN },
    [SFS_COMPRESS_NONE] = { "none", NULL, SFS_CONTENTS_NONE, NONE_BLOCK },
    [SFS_COMPRESS_ESTARGZ] = { "estargz", &sfs_compress_gzip, SFS_CONTENTS_ESTARGZ, ESTARGZ_CHUNK,
                               1 },
    [SFS_COMPRESS_ZSTD_CHUNKED] = { "zstd:chunked", &sfs_compress_zstd, SFS_CONTENTS_CHUNKED,
                                    CHUNKED_CHUNK, 1 },
};
#define FORMATS (sizeof formats / sizeof *formats)

const char *sfs_compression_name(enum sfs_compression compression)
{
    return formats[compression].name;
}

static int fail_unknown(const char *name, struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf all = { 0 };
    const char *known[FORMATS + 1] = { NULL };
    for (size_t i = 0; i < FORMATS; i++) {
        known[i] = formats[i].name;
        sfs_buf_printf(&all, "%s%s", i > 0 ? ", " : "", known[i]);
    }
    if (sfs_buf_check(&all, err) < 0)
        return -ENOMEM;
    const char *near = sfs_suggest(name, known);
    if (near)
        return sfs_fail(err, EINVAL, "no compression '%.100s'; did you mean '%s'? (there are %s)",
                        name, near, all.data);
    return sfs_fail(err, EINVAL, "no compression '%.100s' (there are %s)", name, all.data);
}

int sfs_compression_parse(const char *name, enum sfs_compression *ret_compression,
                          struct sfs_error *err)
{
    for (size_t i = 0; i < FORMATS; i++) {
        if (strcmp(name, formats[i].name) == 0) {
            *ret_compression = (enum sfs_compression)i;
            return 0;
        }
    }
    return fail_unknown(name, err);
}

static int plan_level(const struct sfs_compress_method *method, int level,
                      struct sfs_compress_plan *plan, struct sfs_error *err)
{
    if (level < 0 || level > method->max_level())
        return sfs_fail(err, EINVAL, "%s has levels 1 to %d, not %d", sfs_codec_name(method->codec),
                        method->max_level(), level);
    plan->level = level ? level : method->default_level;
    plan->copies = level == 0; /* who asks for a level wants all compressed by it */
    method->describe(plan->level, plan->name, sizeof plan->name);
    return 0;
}

int sfs_compress_plan(enum sfs_compression compression, int level,
                      struct sfs_compress_plan *ret_plan, struct sfs_error *err)
{
    if ((size_t)compression >= FORMATS)
        return sfs_fail(err, EINVAL, "no such compression");
    const struct format *format = &formats[compression];
    enum sfs_codec codec = format->method ? format->method->codec : SFS_CODEC_NONE;
    *ret_plan = (struct sfs_compress_plan){
        .method = format->method,
        .codec = codec,
        .contents = format->contents,
        .chunk_size = format->contents ? format->block_size : 0,
        .block_size = format->block_size,
        .copy_min = format->copy_min,
        .splices = format->splices,
        .media_type = sfs_codec_media_type(codec, SFS_LAYER_OCI),
    };
    if (format->method)
        return plan_level(format->method, level, ret_plan, err);
    return level == 0 ? 0 : sfs_fail(err, EINVAL, "no compression has no levels");
}

size_t sfs_compress_bound(const struct sfs_compress_plan *plan, size_t size)
{
    return plan->method ? plan->method->bound(size) : size;
}

struct sfs_compressor *sfs_compressor_open(const struct sfs_compress_plan *plan)
{
    struct sfs_compressor *compressor = plan->method->open(plan->level);
    if (compressor)
        compressor->method = plan->method;
    return compressor;
}

void sfs_compressor_close(struct sfs_compressor **compressor)
{
    if (*compressor)
        (*compressor)->method->close(*compressor);
    *compressor = NULL;
}

ssize_t sfs_compressor_run(struct sfs_compressor *compressor, const void *data, size_t size,
                           void *out, size_t out_size)
{
    return compressor->method->run(compressor, data, size, out, out_size);
}

int sfs_compress_add_tail(const struct sfs_compress_plan *plan, const struct sfs_segment *segments,
                          size_t count, struct sfs_buf *buf)
{
    if (plan->method && plan->method->add_tail && !plan->contents)
        plan->method->add_tail(segments, count, buf);
    return sfs_buf_check(buf, NULL);
}
