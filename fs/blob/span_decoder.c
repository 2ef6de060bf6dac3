/* One span: its input is read whole and checked, then decoded in steps. */
#include "blob/span_decoder.h"

#include "blob/span_entry.h"
#include <errno.h>
#include <sys/mman.h>

#define ROUND (256u << 10) /* capacities are multiples of this, so that buffers are reused */

struct sfs_span_decoder {
    struct sfs_decoder *decoder; /* of the span's codec; one of entry's */
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
    return sizeof *decoder + decoder->in_capacity + sfs_span_entry_memory(&decoder->entry);
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
    ssize_t count = sfs_blob_pick_at(blob, decoder->in, size, start, err);
    if (count < 0)
        return (int)count;
    if ((size_t)count < size)
        return sfs_fail(err, EIO, "%s is too short", blob->name);
    decoder->in_size = size;
    decoder->in_pos = 0;
    return 0;
}

/* Bytes that were damaged on their way or in the cache directory are fetched again, once. */
static int read_checked(struct sfs_span_decoder *decoder, struct sfs_blob *blob,
                        const struct sfs_seek_table *table, uint32_t span, struct sfs_error *err)
{
    uint64_t start, end;
    sfs_seek_input(table, span, &start, &end);
    /* A window that lies on another machine comes while the input does. */
    if (table->windows_blob && table->points[span].window_size > 0)
        sfs_blob_fetch(table->windows_blob, table->points[span].window,
                       table->points[span].window_size, SFS_POOL_DEMAND);
    for (;;) {
        int r = read_input(decoder, blob, start, end, err);
        if (r == 0)
            r = sfs_span_entry_check(&decoder->entry, table, span, decoder->in, decoder->in_size,
                                     err);
        if (r != -EKEYREJECTED || !sfs_blob_distrust(blob, start, end - start))
            return r;
    }
}

int sfs_span_decoder_start(struct sfs_span_decoder *decoder, struct sfs_blob *blob,
                           const struct sfs_seek_table *table, uint32_t span, struct sfs_error *err)
{
    const struct sfs_point *point = &table->points[span];
    int r = read_checked(decoder, blob, table, span, err);
    if (r < 0)
        return r;
    decoder->skip = point->skip;
    struct sfs_decoder_io io = { .in = decoder->in, .in_size = decoder->in_size };
    struct sfs_decoder_window window;
    r = sfs_span_entry_enter(&decoder->entry, table, point, &io, &decoder->decoder, &window, err);
    decoder->in_pos = decoder->in_size - io.in_size;
    return r;
}

static int decode(struct sfs_span_decoder *decoder, uint8_t *out, size_t size,
                  struct sfs_error *err)
{
    struct sfs_decoder *codec = decoder->decoder;
    struct sfs_decoder_io io = { decoder->in + decoder->in_pos, decoder->in_size - decoder->in_pos,
                                 out, size };
    while (io.out_size > 0) {
        struct sfs_decoder_step step;
        int r = codec->codec->step(codec, &io, &step, err);
        if (r < 0)
            return r;
        if (!step.has_moved)
            return sfs_fail(err, EBADMSG, "has fewer bytes than its table says");
    }
    decoder->in_pos = decoder->in_size - io.in_size;
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
