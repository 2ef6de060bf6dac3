/* Blobs in memory, and compressed streams of every kind, for the tests of fs/blob. */
#ifndef STAGEFS_TESTS_BLOB_SUPPORT_H
#define STAGEFS_TESTS_BLOB_SUPPORT_H

#include "base/buf.h"
#include "blob/blob.h"
#include "blob/codecs.h"
#include "blob/span_decoder.h"
#include "blob/unpack.h"
#include <errno.h>
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <libdeflate.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

/* A blob that lends its bytes to be changed. */
struct memory_blob {
    struct sfs_blob blob;
    const uint8_t *data;
};

static ssize_t memory_read_at(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                              struct sfs_error *err)
{
    (void)err;
    memcpy(buf, ((struct memory_blob *)blob)->data + offset, size);
    return (ssize_t)size;
}

static void memory_close(struct sfs_blob *blob)
{
    free(blob);
}

static const struct sfs_blob_ops memory_ops = { .read_at = memory_read_at, .close = memory_close };

static inline struct sfs_blob *blob_of(const void *data, size_t size)
{
    struct memory_blob *memory = calloc(1, sizeof *memory);
    *memory = (struct memory_blob){ .blob = { &memory_ops, size, strdup("memory") }, .data = data };
    return &memory->blob;
}

/* Words, numbers, noise, runs and zeros: every kind of block that compressors make. */
static inline struct sfs_buf make_content(size_t size, unsigned seed)
{
    static const char *const words[] = { "the ",  "layer ", "of ", "an image ",       "\n",
                                         "stage", "\0\0",   "0x",  "libcublas.so.12", " " };
    struct sfs_buf content = { 0 };
    uint64_t state = seed * 2654435761u + 88172645463325252u;
    while (content.size < size) {
        unsigned kind = (unsigned)(content.size >> 17) % 5;
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char piece[64];
        memset(piece, (int)(state >> 60), sizeof piece);
        if (kind == 1)
            memcpy(piece, &state, sizeof state);
        else if (kind == 2)
            snprintf(piece, sizeof piece, "%llu;", (unsigned long long)state % 100000);
        const char *word = words[state % 10];
        if (kind == 0)
            sfs_buf_add(&content, word, word[0] ? strlen(word) : 2);
        else
            sfs_buf_add(&content, piece, kind == 1 ? 8 : kind == 2 ? strlen(piece) : 64);
    }
    content.size = size;
    return content;
}

static inline void add_zlib(struct sfs_buf *to, const void *data, size_t size, int level,
                            int strategy, gz_header *header)
{
    z_stream stream = { 0 };
    deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, strategy);
    if (header)
        deflateSetHeader(&stream, header);
    size_t bound = deflateBound(&stream, size) + 4096, start = to->size;
    stream.next_out = sfs_buf_grow(to, bound);
    stream.avail_out = (uInt)bound;
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)size;
    deflate(&stream, Z_FINISH);
    to->size = start + stream.total_out;
    deflateEnd(&stream);
}

static inline void add_isal(struct sfs_buf *to, const void *data, size_t size, int level)
{
    static const uint32_t memory[] = { ISAL_DEF_LVL0_DEFAULT, ISAL_DEF_LVL1_DEFAULT,
                                       ISAL_DEF_LVL2_DEFAULT, ISAL_DEF_LVL3_DEFAULT };
    struct isal_zstream *stream = calloc(1, sizeof *stream);
    isal_deflate_init(stream);
    stream->level = (uint32_t)level;
    stream->level_buf_size = memory[level];
    stream->level_buf = calloc(1, memory[level] + 1);
    stream->gzip_flag = IGZIP_GZIP;
    stream->end_of_stream = 1;
    size_t bound = size + size / 2 + 65536, start = to->size;
    stream->next_out = sfs_buf_grow(to, bound);
    stream->avail_out = (uint32_t)bound;
    stream->next_in = (uint8_t *)(uintptr_t)data;
    stream->avail_in = (uint32_t)size;
    isal_deflate(stream);
    to->size = start + stream->total_out;
    free(stream->level_buf);
    free(stream);
}

static inline void add_libdeflate(struct sfs_buf *to, const void *data, size_t size, int level)
{
    struct libdeflate_compressor *compressor = libdeflate_alloc_compressor(level);
    size_t bound = libdeflate_gzip_compress_bound(compressor, size), start = to->size;
    void *place = sfs_buf_grow(to, bound);
    to->size = start + libdeflate_gzip_compress(compressor, data, size, place, bound);
    libdeflate_free_compressor(compressor);
}

/* One zstd frame. `pledge`: its header says the size. */
static inline void add_zstd(struct sfs_buf *to, const void *data, size_t size, int level,
                            bool checksum, bool pledge)
{
    ZSTD_CCtx *compressor = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(compressor, ZSTD_c_checksumFlag, checksum);
    ZSTD_CCtx_setParameter(compressor, ZSTD_c_contentSizeFlag, pledge);
    size_t bound = ZSTD_compressBound(size), start = to->size;
    void *place = sfs_buf_grow(to, bound);
    to->size = start + ZSTD_compress2(compressor, place, bound, data, size);
    ZSTD_freeCCtx(compressor);
}

static inline void add_skippable(struct sfs_buf *to, size_t size)
{
    uint8_t head[8] = { 0x53,
                        0x2a,
                        0x4d,
                        0x18,
                        (uint8_t)size,
                        (uint8_t)(size >> 8),
                        (uint8_t)(size >> 16),
                        (uint8_t)(size >> 24) };
    sfs_buf_add(to, head, sizeof head);
    memset(sfs_buf_grow(to, size), 0x28, size);
}

/* A whole pass. Returns what finish returned; `content` holds what was decoded. */
static inline int unpack(struct sfs_blob *blob, enum sfs_codec codec, uint32_t spacing, int copy_fd,
                         struct sfs_buf *content, struct sfs_unpacked *unpacked,
                         struct sfs_error *err)
{
    struct sfs_unpack_options options = { .codec = codec, .spacing = spacing, .copy_fd = copy_fd };
    AUTO(sfs_unpack_close) struct sfs_unpack *pass = NULL;
    int r = sfs_unpack_open(blob, &options, &pass, err);
    const void *data;
    size_t size = 1;
    while (r == 0 && size > 0) {
        r = sfs_unpack_next(pass, &data, &size, err);
        if (r == 0 && size > 0)
            r = sfs_buf_add(content, data, size);
    }
    if (!pass)
        return r;
    return sfs_unpack_finish(pass, unpacked, err);
}

/* Decodes one span, which is all of a table that is entered at random. */
static inline int decode_span(struct sfs_blob *blob, const struct sfs_seek_table *table,
                              uint32_t span, uint8_t *out, struct sfs_error *err)
{
    AUTO(sfs_span_decoder_close) struct sfs_span_decoder *decoder = sfs_span_decoder_open();
    int r = sfs_span_decoder_start(decoder, blob, table, span, err);
    if (r == 0)
        r = sfs_span_decoder_run(decoder, out, (size_t)sfs_seek_size(table, span), err);
    return r;
}

#endif
