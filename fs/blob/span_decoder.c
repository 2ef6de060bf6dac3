#include "blob/span_decoder.h"

#include "blob/span_entry.h"
#include <errno.h>
#include <sys/mman.h>

#define ROUND (256u << 10) /* capacities are multiples of this, so that buffers are reused */

struct sfs_span_decoder {
    enum sfs_codec codec;
    uint8_t *in;
    size_t in_capacity, in_size, in_pos;
    uint32_t skip; /* decoded bytes to throw away first */
    struct sfs_span_entry entry;
};

struct sfs_span_decoder *sfs_span_decoder_open(void)
{
    AUTO(sfs_span_decoder_close) struct sfs_span_decoder *decoder = calloc(1, sizeof *decoder);
    if (!decoder)
        return NULL;
    return sfs_span_entry_init(&decoder->entry) == 0 ? TAKE(decoder) : NULL;
}

static void free_input(struct sfs_span_decoder *decoder)
{
    if (decoder->in)
        munmap(decoder->in, decoder->in_capacity);
    decoder->in = NULL;
    decoder->in_capacity = 0;
}

/* Mapped, as decoded spans are, and for the same reason: malloc's arenas kept a quarter of the
 * budget in their gaps. */
static int grow_input(struct sfs_span_decoder *decoder, size_t size, struct sfs_error *err)
{
    size_t capacity = (size + ROUND - 1) / ROUND * ROUND;
    free_input(decoder);
    void *in = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (in == MAP_FAILED)
        return sfs_fail_memory(err);
    decoder->in = in;
    decoder->in_capacity = capacity;
    return 0;
}

void sfs_span_decoder_close(struct sfs_span_decoder **decoder_ptr)
{
    struct sfs_span_decoder *decoder = *decoder_ptr;
    if (!decoder)
        return;
    *decoder_ptr = NULL;
    free_input(decoder);
    sfs_span_entry_done(&decoder->entry);
    free(decoder);
}

size_t sfs_span_decoder_memory(const struct sfs_span_decoder *decoder)
{
    return sizeof *decoder + decoder->in_capacity + ZSTD_sizeof_DCtx(decoder->entry.zstd);
}

static int read_input(struct sfs_span_decoder *decoder, struct sfs_blob *blob, uint64_t start,
                      uint64_t end, struct sfs_error *err)
{
    if (end < start || end - start > SFS_SPAN_IN_MAX + 1)
        return sfs_fail(err, EBADMSG, "its input is too large");
    size_t size = (size_t)(end - start);
    int r = size > decoder->in_capacity ? grow_input(decoder, size, err) : 0;
    if (r < 0)
        return r;
    ssize_t count = sfs_blob_read_at(blob, decoder->in, size, start, err);
    if (count < 0)
        return (int)count;
    if ((size_t)count < size)
        return sfs_fail(err, EIO, "%s is too short", blob->name);
    decoder->in_size = size;
    decoder->in_pos = 0;
    return 0;
}

int sfs_span_decoder_start(struct sfs_span_decoder *decoder, struct sfs_blob *blob,
                           const struct sfs_seek_table *table, uint32_t span, struct sfs_error *err)
{
    const struct sfs_point *point = &table->points[span];
    uint64_t start, end;
    sfs_seek_input(table, span, &start, &end);
    int r = read_input(decoder, blob, start, end, err);
    if (r < 0)
        return r;
    r = sfs_span_entry_check(&decoder->entry, table, span, decoder->in, decoder->in_size, err);
    if (r < 0)
        return r;
    decoder->codec = table->codec;
    decoder->skip = point->skip;
    size_t window;
    if (table->codec == SFS_CODEC_GZIP)
        return sfs_span_entry_gunzip(&decoder->entry, table, point, decoder->in, decoder->in_size,
                                     &decoder->in_pos, &window, err);
    if (table->codec == SFS_CODEC_ZSTD)
        ZSTD_DCtx_reset(decoder->entry.zstd, ZSTD_reset_session_only);
    return 0;
}

static int gunzip_some(struct sfs_span_decoder *decoder, uint8_t *out, size_t size,
                       size_t *ret_made, bool *ret_moved, struct sfs_error *err)
{
    struct sfs_gunzip_io io = { decoder->in + decoder->in_pos, decoder->in_size - decoder->in_pos,
                                out, size };
    enum sfs_gunzip_phase phase = decoder->entry.gunzip.phase;
    int r = sfs_gunzip_step(&decoder->entry.gunzip, &io, err);
    *ret_moved =
        decoder->entry.gunzip.phase != phase || decoder->in_pos != decoder->in_size - io.in_size;
    decoder->in_pos = decoder->in_size - io.in_size;
    *ret_made = size - io.out_size;
    return r;
}

static int unzstd_some(struct sfs_span_decoder *decoder, uint8_t *out, size_t size,
                       size_t *ret_made, bool *ret_moved, struct sfs_error *err)
{
    ZSTD_inBuffer from = { decoder->in, decoder->in_size, decoder->in_pos };
    ZSTD_outBuffer to = { out, size, 0 };
    size_t r = ZSTD_decompressStream(decoder->entry.zstd, &to, &from);
    *ret_moved = decoder->in_pos != from.pos;
    decoder->in_pos = from.pos;
    *ret_made = to.pos;
    if (ZSTD_isError(r))
        return sfs_fail(err, EBADMSG, "its zstd data is damaged: %s", ZSTD_getErrorName(r));
    return 0;
}

static int copy_some(struct sfs_span_decoder *decoder, uint8_t *out, size_t size, size_t *ret_made)
{
    size_t left = decoder->in_size - decoder->in_pos;
    *ret_made = size < left ? size : left;
    memcpy(out, decoder->in + decoder->in_pos, *ret_made);
    decoder->in_pos += *ret_made;
    return 0;
}

static int decode(struct sfs_span_decoder *decoder, uint8_t *out, size_t size,
                  struct sfs_error *err)
{
    while (size > 0) {
        size_t made = 0;
        bool moved = false;
        int r =
            decoder->codec == SFS_CODEC_GZIP   ? gunzip_some(decoder, out, size, &made, &moved, err)
            : decoder->codec == SFS_CODEC_ZSTD ? unzstd_some(decoder, out, size, &made, &moved, err)
                                               : copy_some(decoder, out, size, &made);
        if (r < 0)
            return r;
        if (made == 0 && !moved)
            return sfs_fail(err, EBADMSG, "has fewer bytes than its table says");
        out += made;
        size -= made;
    }
    return 0;
}

int sfs_span_decoder_run(struct sfs_span_decoder *decoder, uint8_t *out, size_t size,
                         struct sfs_error *err)
{
    uint8_t unwanted[4096];
    while (decoder->skip > 0) {
        size_t part = decoder->skip < sizeof unwanted ? decoder->skip : sizeof unwanted;
        int r = decode(decoder, unwanted, part, err);
        if (r < 0)
            return r;
        decoder->skip -= (uint32_t)part;
    }
    return decode(decoder, out, size, err);
}
