/* Where stretches begin, and how one is decoded: which frames and cuts in it are handed on. */
#include "blob/stretch.h"

#include "blob/span_entry.h"
#include <errno.h>
#include <zstd.h>

/* Where no frame starts, a stretch ends behind each multiple of so many decoded bytes, and of so
 * many compressed ones (GROUP_IN). */
#define GROUP    (1u << 20)
#define GROUP_IN (8u << 20)
#define ROUND                                                                                      \
    (256u << 10) /* memory comes in multiples of this, so that it fits the next one, too */

struct sfs_stretch_decoder {
    struct sfs_span_entry entry;
};

struct decoding {
    struct sfs_span_entry *entry;
    struct sfs_decoder *decoder; /* borrowed from `entry` */
    const struct sfs_seek_table *table;
    struct sfs_blob *blob;
    uint32_t next;     /* the first span whose input is not loaded yet */
    uint64_t in_start; /* offset of `in` in the blob */
    uint8_t *in, *out;
    size_t in_capacity, in_size, in_pos; /* of `in`: bytes allocated, loaded, decoded */
    size_t out_capacity;
    /* In bytes of `out`: where the stretch starts (skip) and ends (need), how much may be decoded
     * to follow a frame beyond that (room), and how much is (pos). */
    size_t skip, need, room, pos;
    uint64_t start_out;         /* where the stretch starts in the decoded stream */
    bool is_between;            /* it stands between two frames */
    bool is_whole;              /* the present frame began in the stretch */
    size_t frame_in, frame_out; /* if is_whole: where that frame began, in `in` and in `out` */
    struct sfs_frame *frames;
    size_t frame_count, frame_capacity;
    struct sfs_gunzip *inflater; /* the decoder's, if cuts are wanted; else NULL */
    struct sfs_cuts cuts;
};

static void decoding_done(struct decoding *decoding)
{
    free(decoding->in);
    free(decoding->out);
    free(decoding->frames);
    sfs_cuts_done(&decoding->cuts);
}

void sfs_stretch_done(struct sfs_stretch *stretch)
{
    free(stretch->memory);
    free(stretch->in_memory);
    free(stretch->frames);
    free(stretch->cuts);
    *stretch = (struct sfs_stretch){ 0 };
}

struct sfs_stretch_decoder *sfs_stretch_decoder_open(void)
{
    AUTO(sfs_stretch_decoder_close)
    struct sfs_stretch_decoder *decoder = calloc(1, sizeof *decoder);
    return decoder && sfs_span_entry_init(&decoder->entry) == 0 ? TAKE(decoder) : NULL;
}

void sfs_stretch_decoder_close(struct sfs_stretch_decoder **decoder_ptr)
{
    struct sfs_stretch_decoder *decoder = *decoder_ptr;
    if (!decoder)
        return;
    *decoder_ptr = NULL;
    sfs_span_entry_done(&decoder->entry);
    free(decoder);
}

/* ---- which spans ---- */

/* Chunks of a table of contents that follow one another inside one frame. */
static bool shares_frame(const struct sfs_seek_table *table, uint32_t span)
{
    const struct sfs_point *point = &table->points[span], *before = point - 1;
    uint64_t size = sfs_seek_size(table, span - 1);
    return point->in == before->in && size > 0 && point->skip == before->skip + size;
}

/* Does a stretch begin at this span? That depends only on this span and the one before it, so that
 * the answer is the same whoever asks. */
static bool begins_stretch(const struct sfs_seek_table *table, uint32_t span)
{
    if (span == 0)
        return true;
    if (table->check == SFS_CHECK_SHA256)
        return !shares_frame(table, span);
    const struct sfs_point *point = &table->points[span];
    return !(point->bits & SFS_POINT_RAW) || point->out / GROUP != point[-1].out / GROUP ||
           point->in / GROUP_IN != point[-1].in / GROUP_IN;
}

uint32_t sfs_stretch_first(const struct sfs_seek_table *table, uint32_t span)
{
    while (!begins_stretch(table, span))
        span--;
    return span;
}

uint32_t sfs_stretch_spans(const struct sfs_seek_table *table, uint32_t first)
{
    uint32_t end = first + 1;
    while (end < table->count && !begins_stretch(table, end))
        end++;
    return end - first;
}

/* ---- input ---- */

/* Makes *memory hold `size` bytes; what is in it stays. Small sizes are not rounded: there may be
 * thousands of stretches. */
static int make_room(uint8_t **memory, size_t *capacity, size_t size, struct sfs_error *err)
{
    if (size <= *capacity)
        return 0;
    if (size > ROUND / 4)
        size = (size + ROUND - 1) / ROUND * ROUND;
    uint8_t *more = realloc(*memory, size);
    if (!more)
        return sfs_fail_memory(err);
    *memory = more;
    *capacity = size;
    return 0;
}

/* Puts the input of the next span behind what is there; they may share a byte. */
static int load_span(struct decoding *decoding, struct sfs_error *err)
{
    uint64_t start, end;
    sfs_seek_input(decoding->table, decoding->next, &start, &end);
    if (decoding->in_size == 0)
        decoding->in_start = start;
    size_t at = (size_t)(start - decoding->in_start);
    if (start < decoding->in_start || at > decoding->in_size || end < start ||
        end - start > SFS_SPAN_IN_MAX + 1)
        return sfs_fail(err, EBADMSG, "its input is out of order");
    size_t size = (size_t)(end - start);
    int r = make_room(&decoding->in, &decoding->in_capacity, at + size + 1, err);
    if (r < 0)
        return r;
    do {
        ssize_t count = sfs_blob_read_at(decoding->blob, decoding->in + at, size, start, err);
        if (count < 0)
            return (int)count;
        if ((size_t)count < size)
            return sfs_fail(err, EIO, "%s is too short", decoding->blob->name);
        r = sfs_span_entry_check(decoding->entry, decoding->table, decoding->next,
                                 decoding->in + at, size, err);
    } while (r == -EKEYREJECTED && sfs_blob_distrust(decoding->blob, start, size));
    decoding->in_size = at + size;
    decoding->next++;
    return r;
}

/* Loads the next span's input. 1: done; 0: there is none. A table of contents does not say what
 * follows its chunks. */
static int load_more(struct decoding *decoding, struct sfs_error *err)
{
    const struct sfs_seek_table *table = decoding->table;
    if (table->check == SFS_CHECK_SHA256 || decoding->next >= table->count)
        return 0;
    int r = load_span(decoding, err);
    return r < 0 ? r : 1;
}

/* ---- frames ---- */

static bool is_zeros(const uint8_t *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* Is the frame that has just ended to be handed on? */
static bool is_wanted(const struct decoding *decoding)
{
    const uint8_t *in = decoding->in + decoding->frame_in;
    const uint8_t *out = decoding->out + decoding->frame_out;
    size_t in_size = decoding->in_pos - decoding->frame_in;
    size_t size = decoding->pos - decoding->frame_out;
    bool is_inside =
        decoding->frame_out >= decoding->skip &&
        (decoding->table->check != SFS_CHECK_SHA256 || decoding->pos <= decoding->need);
    if (!decoding->table->is_framed || !decoding->is_whole || !is_inside || size == 0 ||
        size > SFS_FRAME_MAX || in_size > ZSTD_COMPRESSBOUND(size) + 64)
        return false;
    const struct sfs_codec_row *codec = decoding->decoder->codec;
    return codec->may_move && codec->may_move(in, in_size, out, size) && !is_zeros(out, size);
}

static int add_frame(struct decoding *decoding, struct sfs_error *err)
{
    if (!is_wanted(decoding))
        return 0;
    if (decoding->frame_count == decoding->frame_capacity) {
        size_t capacity = decoding->frame_capacity ? 2 * decoding->frame_capacity : 4;
        struct sfs_frame *more = reallocarray(decoding->frames, capacity, sizeof *more);
        if (!more)
            return sfs_fail_memory(err);
        decoding->frames = more;
        decoding->frame_capacity = capacity;
    }
    /* `out` counts from the start of the stretch until all is decoded. */
    decoding->frames[decoding->frame_count++] =
        (struct sfs_frame){ .out = decoding->frame_out - decoding->skip,
                            .out_size = (uint32_t)(decoding->pos - decoding->frame_out),
                            .in_size = (uint32_t)(decoding->in_pos - decoding->frame_in),
                            .in = decoding->frame_in };
    return 0;
}

/* ---- cuts ---- */

/* The offset in the decoded stream of byte `pos` of `out`. */
static uint64_t offset_of(const struct decoding *decoding, size_t pos)
{
    return decoding->start_out + pos - decoding->skip;
}

/* Goes on behind a stop of the inflater between two blocks, as one would that enters there. */
static int pass_stop(struct decoding *decoding, struct sfs_error *err)
{
    struct sfs_gunzip *gunzip = decoding->inflater;
    uint64_t bit = sfs_gunzip_stop_bit(gunzip) + 8 * (decoding->in_pos - gunzip->in);
    size_t window = decoding->pos < SFS_WINDOW_MAX ? decoding->pos : SFS_WINDOW_MAX;
    if (decoding->pos <= decoding->need &&
        sfs_cuts_note_stop(&decoding->cuts, offset_of(decoding, decoding->pos), bit) < 0)
        return sfs_fail_memory(err);
    if (sfs_gunzip_go_on(gunzip, decoding->out + decoding->pos - window, window) < 0)
        return sfs_fail(err, EBADMSG, "it cannot be entered between two blocks");
    return 0;
}

/* ---- decoding ---- */

/* Decodes one step; if cuts are wanted, it stops between deflate blocks on the way. */
static int step_on(struct decoding *decoding, struct sfs_decoder_step *ret_step,
                   struct sfs_error *err)
{
    struct sfs_gunzip *inflater = decoding->inflater;
    struct sfs_decoder_io io = { decoding->in + decoding->in_pos,
                                 decoding->in_size - decoding->in_pos,
                                 decoding->out + decoding->pos, decoding->room - decoding->pos };
    if (inflater)
        sfs_cuts_limit(&decoding->cuts, inflater, offset_of(decoding, decoding->pos), &io);
    const uint8_t *in = io.in, *out = io.out;
    int r = decoding->decoder->codec->step(decoding->decoder, &io, ret_step, err);
    decoding->in_pos += (size_t)(io.in - in);
    decoding->pos += (size_t)(io.out - out);
    if (r == 0 && inflater && inflater->phase == SFS_GUNZIP_STOPPED)
        r = pass_stop(decoding, err);
    if (ret_step->has_ended && decoding->pos <= decoding->need)
        sfs_cuts_note_end(&decoding->cuts, offset_of(decoding, decoding->pos));
    if (r < 0 || !ret_step->is_rest)
        return r;
    return sfs_fail(err, EBADMSG, "something that is not %s follows",
                    decoding->decoder->codec->name);
}

/* Is all decoded that is wanted? A block that ends where the stretch does is followed to its end:
 * there may be a cut. */
static bool is_enough(const struct decoding *decoding)
{
    bool may_cut =
        decoding->inflater && decoding->pos == decoding->need && decoding->inflater->stopping;
    return decoding->pos >= decoding->need && !may_cut &&
           (decoding->is_between || !decoding->is_whole || decoding->pos == decoding->room ||
            decoding->pos - decoding->frame_out > SFS_FRAME_MAX);
}

/* Decodes some more. 1: there may be more; 0: there is nothing more. */
static int advance(struct decoding *decoding, struct sfs_error *err)
{
    struct sfs_decoder_step step;
    if (decoding->is_between) {
        decoding->frame_in = decoding->in_pos;
        decoding->frame_out = decoding->pos;
        decoding->is_whole = true;
    }
    int r = step_on(decoding, &step, err);
    if (r < 0)
        return r;
    if (step.has_moved)
        decoding->is_between = step.has_ended;
    if (step.has_ended)
        r = add_frame(decoding, err);
    if (r < 0 || step.has_moved)
        return r < 0 ? r : 1;
    return decoding->in_pos == decoding->in_size ? load_more(decoding, err) : 0;
}

/* Decodes the stretch, and its last frame to the end. Damage behind the bytes that are needed is no
 * failure: it only gives no frame. */
static int decode(struct decoding *decoding, struct sfs_error *err)
{
    int r = 1;
    while (r > 0 && !is_enough(decoding))
        r = advance(decoding, err);
    if (decoding->pos >= decoding->need && r != -ENOMEM)
        return 0;
    return r < 0 ? r : sfs_fail(err, EBADMSG, "has fewer bytes than its table says");
}

/* Does the stretch that ends before this span go on in it, in the middle of a member? */
static bool goes_on(const struct sfs_seek_table *table, uint32_t end)
{
    return table->check == SFS_CHECK_GMAC && end < table->count &&
           (table->points[end].bits & SFS_POINT_RAW);
}

/* Makes the decoder stand at the point. The window before the point is put in front of `out`, since
 * an inflater that goes on behind a stop needs it. */
static int enter(struct decoding *decoding, const struct sfs_point *point, bool wants_cuts,
                 struct sfs_error *err)
{
    struct sfs_decoder_io io = { .in = decoding->in, .in_size = decoding->in_size };
    struct sfs_decoder_window window;
    int r = sfs_span_entry_enter(decoding->entry, decoding->table, point, &io, &decoding->decoder,
                                 &window, err);
    if (r < 0)
        return r;
    decoding->in_pos = decoding->in_size - io.in_size;
    const struct sfs_codec_row *codec = decoding->decoder->codec;
    if (wants_cuts && codec->inflater)
        decoding->inflater = codec->inflater(decoding->decoder);
    decoding->is_between = !(point->bits & SFS_POINT_RAW);
    if (decoding->is_between)
        return 0;
    memset(decoding->out, 0, SFS_WINDOW_MAX - window.size);
    memcpy(decoding->out + SFS_WINDOW_MAX - window.size, window.data, window.size);
    decoding->pos = SFS_WINDOW_MAX;
    return 0;
}

static int start(struct decoding *decoding, uint32_t first, uint32_t spans, bool wants_cuts,
                 struct sfs_error *err)
{
    const struct sfs_seek_table *table = decoding->table;
    const struct sfs_point *point = &table->points[first];
    uint32_t end = first + spans;
    decoding->start_out = decoding->cuts.wanted = point->out;
    decoding->skip = point->bits & SFS_POINT_RAW ? SFS_WINDOW_MAX : point->skip;
    decoding->need = decoding->skip;
    for (uint32_t i = first; i < end; i++)
        decoding->need += (size_t)sfs_seek_size(table, i);
    /* Room for a byte more shows whether a frame goes on. */
    bool follows = table->is_framed && goes_on(table, end);
    decoding->room = decoding->need + 1 + (follows ? SFS_FRAME_MAX : 0);
    decoding->next = first;
    int r = make_room(&decoding->out, &decoding->out_capacity, decoding->room, err);
    if (r == 0)
        r = load_span(decoding, err);
    return r < 0 ? r : enter(decoding, point, wants_cuts, err);
}

/* ---- digests ---- */

/* Compares what was decoded with the digests in the table. A frame that is exactly one span gets
 * that span's digest. */
static int check_spans(struct decoding *decoding, uint32_t first, uint32_t spans,
                       struct sfs_error *err)
{
    const struct sfs_seek_table *table = decoding->table;
    uint64_t start = table->points[first].out;
    for (uint32_t i = first; i < first + spans && table->check == SFS_CHECK_SHA256; i++) {
        struct sfs_digest digest;
        size_t at = (size_t)(table->points[i].out - start), size = (size_t)sfs_seek_size(table, i);
        if (sfs_digest_of(decoding->out + decoding->skip + at, size, &digest) < 0)
            return sfs_fail_memory(err);
        if (memcmp(digest.bytes, table->tags + (size_t)i * 32, 32) != 0)
            return sfs_fail(err, EKEYREJECTED,
                            "does not match its digest in the table of contents");
    }
    return 0;
}

static int digest_frames(struct decoding *decoding, uint32_t first, uint32_t spans,
                         struct sfs_error *err)
{
    const struct sfs_seek_table *table = decoding->table;
    bool is_checked = table->check == SFS_CHECK_SHA256 && spans == 1;
    for (size_t i = 0; i < decoding->frame_count; i++) {
        struct sfs_frame *frame = &decoding->frames[i];
        const uint8_t *data = decoding->out + decoding->skip + frame->out;
        if (is_checked && frame->out_size == decoding->need - decoding->skip)
            memcpy(frame->digest.bytes, table->tags + (size_t)first * 32, 32);
        else if (sfs_digest_of(data, frame->out_size, &frame->digest) < 0)
            return sfs_fail_memory(err);
    }
    return 0;
}

/* Where the stretch's compressed data begins and ends, by its points. */
static void find_edges(const struct decoding *decoding, uint32_t first, uint32_t end,
                       struct sfs_stretch *stretch)
{
    const struct sfs_point *points = decoding->table->points;
    stretch->is_inside = points[first].bits & SFS_POINT_RAW;
    stretch->goes_on = goes_on(decoding->table, end) && !decoding->cuts.member_ended;
    stretch->first_bit = (points[first].in - decoding->in_start) * 8 - (points[first].bits & 7);
    if (stretch->goes_on)
        stretch->end_bit = (points[end].in - decoding->in_start) * 8 - (points[end].bits & 7);
}

static void hand_out(struct decoding *decoding, uint64_t out, struct sfs_stretch *stretch)
{
    for (size_t i = 0; i < decoding->frame_count; i++)
        decoding->frames[i].out += out;
    *stretch = (struct sfs_stretch){ .out = out,
                                     .size = decoding->need - decoding->skip,
                                     .data = decoding->out + decoding->skip,
                                     .in = decoding->in,
                                     .frames = decoding->frames,
                                     .frame_count = decoding->frame_count,
                                     .cuts = decoding->cuts.list,
                                     .cut_count = decoding->cuts.count,
                                     .memory = decoding->out,
                                     .memory_size = decoding->out_capacity,
                                     .in_memory = decoding->in,
                                     .in_memory_size = decoding->in_capacity };
    decoding->out = decoding->in = NULL;
    decoding->frames = NULL;
    decoding->cuts.list = NULL;
}

int sfs_stretch_decode(struct sfs_stretch_decoder *decoder, struct sfs_spans *spans, uint32_t first,
                       const struct sfs_stretch_wish *wish, struct sfs_stretch *stretch,
                       struct sfs_error *err)
{
    const struct sfs_seek_table *table = sfs_spans_table(spans);
    AUTO(decoding_done)
    struct decoding decoding = { .entry = &decoder->entry,
                                 .table = table,
                                 .blob = sfs_spans_blob(spans),
                                 .out = stretch->memory,
                                 .out_capacity = stretch->memory_size,
                                 .in = stretch->in_memory,
                                 .in_capacity = stretch->in_memory_size };
    uint32_t count = sfs_stretch_spans(table, first);
    *stretch = (struct sfs_stretch){ 0 };
    bool wants_cuts = wish->cuts && table->check == SFS_CHECK_GMAC;
    int r = start(&decoding, first, count, wants_cuts, err);
    if (r == 0)
        r = decode(&decoding, err);
    if (r == 0)
        r = check_spans(&decoding, first, count, err);
    if (r == 0 && wish->digests)
        r = digest_frames(&decoding, first, count, err);
    if (r < 0)
        return r;
    hand_out(&decoding, table->points[first].out, stretch);
    find_edges(&decoding, first, first + count, stretch);
    return 0;
}
