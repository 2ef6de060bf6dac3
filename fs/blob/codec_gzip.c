/* gzip as a codec: its points, and its decoder. The format itself is read by gunzip.c.
 *
 * Points: a member's start is one at no cost. Inside a member, the inflater is asked to stop behind
 * a block where a point is wanted, and goes on as a reader would that enters there: so a point that
 * does not work is noticed by the member's checksum, at the latest. */
#include "blob/codecs.h"

#include "blob/gunzip.h"
#include "blob/unpack_pass.h"
#include <errno.h>
#include <isa-l/crc.h>
#include <zstd.h>

#define FEED    (32u << 10) /* bytes of input between looks at what is wanted, at least */
#define STEP    512u        /* the same where the inflater cannot be asked to stop */
#define MAX_OUT (SFS_SPAN_MAX - SFS_PASS_BLOCK)
#define MAX_IN  (SFS_SPAN_IN_MAX - 2 * SFS_PASS_BLOCK)

#define MIN_MEMBER 18u /* bytes of header and trailer */

/* ---- one pass, with points ---- */

struct gzip_pass {
    struct sfs_pass *pass;
    struct sfs_gunzip gunzip;
    struct sfs_decoder_io io;
    uint8_t *block;               /* where the present block of output began */
    uint64_t block_out;           /* decoded offset of `block` */
    uint64_t point_out, point_in; /* `out` and `in` of the last point */
    uint64_t last_member;         /* `in` of the last member start seen; UINT64_MAX: none */
};

static uint64_t out_offset(const struct gzip_pass *gzip)
{
    return gzip->block_out + (uint64_t)(gzip->io.out - gzip->block);
}

static int add_point(struct gzip_pass *gzip, uint64_t in, uint8_t bits, size_t window_size,
                     struct sfs_error *err)
{
    gzip->point_out = out_offset(gzip);
    gzip->point_in = in;
    return sfs_pass_add_point(gzip->pass, gzip->point_out, in, bits, gzip->io.out - window_size,
                              window_size, err);
}

/* A new member's data begins: its header was a place to start. */
static int see_member(struct gzip_pass *gzip, struct sfs_error *err)
{
    uint64_t in = gzip->gunzip.member_in, out = out_offset(gzip);
    if (gzip->last_member == in)
        return 0;
    bool is_first = gzip->last_member == UINT64_MAX;
    gzip->last_member = in;
    sfs_pass_note_frame(gzip->pass);
    if (is_first || out - gzip->point_out >= sfs_pass_spacing(gzip->pass) / 4 ||
        in - gzip->point_in >= SFS_SPAN_IN_MAX / 8)
        return add_point(gzip, in, 0, 0, err);
    return 0;
}

/* Makes a point where the inflater has stopped, before a block. */
static int take_stop(struct gzip_pass *gzip, struct sfs_error *err)
{
    uint64_t bit = sfs_gunzip_stop_bit(&gzip->gunzip), in = (bit + 7) / 8;
    size_t window = SFS_WINDOW_MAX;
    if (gzip->gunzip.member_out < window)
        window = (size_t)gzip->gunzip.member_out;
    if (sfs_gunzip_go_on(&gzip->gunzip, gzip->io.out - window, window) < 0)
        return sfs_fail(err, EBADMSG, "gzip data cannot be entered at byte %llu",
                        (unsigned long long)in);
    return add_point(gzip, in, (uint8_t)(SFS_POINT_RAW | (in * 8 - bit)), window, err);
}

/* Goes on through at most `size` bytes of input, within the present phase. */
static int feed(struct gzip_pass *gzip, size_t size, struct sfs_error *err)
{
    size_t all = gzip->io.in_size, part = size < all ? size : all;
    gzip->io.in_size = part;
    int r = sfs_gunzip_step(&gzip->gunzip, &gzip->io, err);
    gzip->io.in_size += all - part;
    return r;
}

static int advance(struct gzip_pass *gzip, struct sfs_error *err)
{
    if (gzip->gunzip.phase == SFS_GUNZIP_STOPPED)
        return take_stop(gzip, err);
    if (gzip->gunzip.phase == SFS_GUNZIP_REST)
        sfs_pass_end(gzip->pass, gzip->gunzip.data_end);
    if (gzip->gunzip.phase != SFS_GUNZIP_DATA || sfs_pass_copies(gzip->pass))
        return feed(gzip, SIZE_MAX, err);
    int r = see_member(gzip, err);
    if (r < 0)
        return r;
    uint64_t out = out_offset(gzip);
    uint32_t spacing = sfs_pass_spacing(gzip->pass);
    if (out > gzip->point_out && (out - gzip->point_out >= spacing ||
                                  gzip->gunzip.in - gzip->point_in >= SFS_SPAN_IN_MAX / 4))
        return feed(gzip, sfs_gunzip_ask_stop(&gzip->gunzip) ? SIZE_MAX : STEP, err);
    /* Most of the way at once: every call costs ISA-L a copy of its window. */
    uint64_t left = gzip->point_out + spacing - out;
    return feed(gzip, out - gzip->point_out < spacing && left / 4 > FEED ? left / 4 : FEED, err);
}

static int new_block(struct gzip_pass *gzip, struct sfs_error *err)
{
    if (gzip->block) {
        size_t size = (size_t)(gzip->io.out - gzip->block);
        int r = sfs_pass_deliver(gzip->pass, size, err);
        if (r < 0)
            return r;
        gzip->block_out += size;
    }
    int r = sfs_pass_output(gzip->pass, &gzip->block, err);
    if (r < 0)
        return r;
    gzip->io.out = gzip->block;
    gzip->io.out_size = SFS_PASS_BLOCK;
    return 0;
}

/* Is the span that has begun so long that it must end, although no block begins? */
static bool is_too_far(const struct gzip_pass *gzip)
{
    uint64_t out = out_offset(gzip);
    return !sfs_pass_copies(gzip->pass) && out > gzip->point_out &&
           (out - gzip->point_out > MAX_OUT || gzip->gunzip.in - gzip->point_in > MAX_IN);
}

static int start_copy(struct gzip_pass *gzip, struct sfs_error *err)
{
    int r = new_block(gzip, err);
    if (r < 0)
        return r;
    return sfs_pass_start_copy(gzip->pass, "it has no place to start at for many megabytes", err);
}

static int run(struct gzip_pass *gzip, struct sfs_error *err)
{
    sfs_gunzip_start(&gzip->gunzip, true);
    int r = new_block(gzip, err);
    while (r == 0) {
        if (is_too_far(gzip)) {
            r = start_copy(gzip, err);
        } else if (gzip->io.out_size == 0) {
            r = new_block(gzip, err);
        } else if (gzip->io.in_size > 0 || gzip->gunzip.phase == SFS_GUNZIP_STOPPED) {
            r = advance(gzip, err);
        } else {
            r = sfs_pass_input(gzip->pass, &gzip->io.in, &gzip->io.in_size, err);
            if (r == 0 && gzip->io.in_size == 0)
                break;
        }
    }
    return r;
}

/* Takes out what the inflater still holds when the input has ended. */
static int drain(struct gzip_pass *gzip, struct sfs_error *err)
{
    int r = 0;
    enum sfs_gunzip_phase phase;
    do {
        phase = gzip->gunzip.phase;
        r = gzip->io.out_size == 0        ? new_block(gzip, err)
            : phase == SFS_GUNZIP_STOPPED ? take_stop(gzip, err)
                                          : sfs_gunzip_step(&gzip->gunzip, &gzip->io, err);
    } while (r == 0 && (gzip->io.out_size == 0 || gzip->gunzip.phase != phase));
    if (r < 0)
        return r;
    r = sfs_pass_deliver(gzip->pass, (size_t)(gzip->io.out - gzip->block), err);
    if (r < 0)
        return r;
    if (!sfs_gunzip_may_end(&gzip->gunzip))
        return sfs_fail(err, EBADMSG, "gzip stream is truncated");
    sfs_pass_end(gzip->pass, gzip->gunzip.data_end);
    return 0;
}

static int unpack(struct sfs_pass *pass, struct sfs_error *err)
{
    AUTO(sfs_free) struct gzip_pass *gzip = calloc(1, sizeof *gzip);
    if (!gzip)
        return sfs_fail_memory(err);
    gzip->pass = pass;
    gzip->last_member = UINT64_MAX;
    int r = run(gzip, err);
    return r < 0 ? r : drain(gzip, err);
}

/* ---- entering at a point ---- */

struct gzip_decoder {
    struct sfs_decoder decoder;
    ZSTD_DCtx *zstd; /* for windows, which are stored as zstd frames */
    struct sfs_gunzip gunzip;
    uint8_t window[SFS_WINDOW_MAX], packed_window[ZSTD_COMPRESSBOUND(SFS_WINDOW_MAX)];
};

static struct gzip_decoder *gzip_of(struct sfs_decoder *decoder)
{
    return (struct gzip_decoder *)decoder;
}

static void close_decoder(struct sfs_decoder *decoder)
{
    ZSTD_freeDCtx(gzip_of(decoder)->zstd);
    free(decoder);
}

static struct sfs_decoder *open_decoder(void)
{
    struct gzip_decoder *gzip = calloc(1, sizeof *gzip);
    if (!gzip)
        return NULL;
    AUTO(sfs_decoder_close) struct sfs_decoder *decoder = &gzip->decoder;
    decoder->codec = &sfs_codec_gzip;
    gzip->zstd = ZSTD_createDCtx();
    return gzip->zstd ? TAKE(decoder) : NULL;
}

static size_t get_memory(const struct sfs_decoder *decoder)
{
    const struct gzip_decoder *gzip = (const struct gzip_decoder *)decoder;
    return sizeof *gzip + ZSTD_sizeof_DCtx(gzip->zstd);
}

static void start(struct sfs_decoder *decoder)
{
    sfs_gunzip_start(&gzip_of(decoder)->gunzip, false);
}

/* The point's compressed window, in memory. NULL: it cannot be read. */
static const uint8_t *load_window(struct gzip_decoder *gzip, const struct sfs_seek_table *table,
                                  const struct sfs_point *point)
{
    if (table->windows)
        return table->windows + point->window;
    size_t size = point->window_size;
    if (size > sizeof gzip->packed_window)
        return NULL;
    ssize_t n = sfs_io_read_at(table->windows_fd, gzip->packed_window, size,
                               table->windows_at + point->window);
    return n == (ssize_t)size ? gzip->packed_window : NULL;
}

/* Decodes the point's window into gzip->window. *ret_size 0: the point needs none. */
static int open_window(struct gzip_decoder *gzip, const struct sfs_seek_table *table,
                       const struct sfs_point *point, size_t *ret_size)
{
    *ret_size = 0;
    if (point->window_size == 0)
        return 0;
    const uint8_t *packed = load_window(gzip, table, point);
    if (!packed)
        return -EBADMSG;
    *ret_size = ZSTD_decompressDCtx(gzip->zstd, gzip->window, sizeof gzip->window, packed,
                                    point->window_size);
    return ZSTD_isError(*ret_size) ? -EBADMSG : 0;
}

static int enter(struct sfs_decoder *decoder, const struct sfs_seek_table *table,
                 const struct sfs_point *point, struct sfs_decoder_io *io,
                 struct sfs_decoder_window *ret_window, struct sfs_error *err)
{
    struct gzip_decoder *gzip = gzip_of(decoder);
    if (!(point->bits & SFS_POINT_RAW)) {
        start(decoder);
        return 0;
    }
    unsigned bits = point->bits & 7;
    size_t window;
    if (bits > 0 && io->in_size == 0)
        return sfs_fail(err, EBADMSG, "it has no input");
    if (open_window(gzip, table, point, &window) < 0)
        return sfs_fail(err, EBADMSG, "its window is damaged, or cannot be read");
    if (sfs_gunzip_resume(&gzip->gunzip, bits > 0 ? io->in[0] : 0, bits, gzip->window, window) < 0)
        return sfs_fail(err, EBADMSG, "its window cannot be used");
    if (bits > 0) { /* that byte is in the state now */
        io->in++;
        io->in_size--;
    }
    *ret_window = (struct sfs_decoder_window){ gzip->window, window };
    return 0;
}

static int step(struct sfs_decoder *decoder, struct sfs_decoder_io *io,
                struct sfs_decoder_step *ret_step, struct sfs_error *err)
{
    struct sfs_gunzip *gunzip = &gzip_of(decoder)->gunzip;
    enum sfs_gunzip_phase phase = gunzip->phase;
    const uint8_t *in = io->in, *out = io->out;
    int r = sfs_gunzip_step(gunzip, io, err);
    *ret_step = (struct sfs_decoder_step){
        .has_moved = gunzip->phase != phase || io->in != in || io->out != out,
        .has_ended = phase == SFS_GUNZIP_TRAILER && gunzip->phase == SFS_GUNZIP_BETWEEN,
        .is_rest = gunzip->phase == SFS_GUNZIP_REST,
    };
    return r;
}

static struct sfs_gunzip *get_inflater(struct sfs_decoder *decoder)
{
    return &gzip_of(decoder)->gunzip;
}

/* ---- the row ---- */

static bool is_head(const uint8_t head[SFS_CODEC_HEAD])
{
    return head[0] == 0x1f && head[1] == 0x8b;
}

/* A member may move if it has no optional fields and, between header and trailer, at least an empty
 * block. Its checksum is compared here and not by the decoder, which would have to stop at a wrong
 * one. */
static bool may_move(const uint8_t *in, size_t in_size, const uint8_t *out, size_t out_size)
{
    static const uint8_t head[4] = { 0x1f, 0x8b, 8, 0 };
    if (in_size < MIN_MEMBER || memcmp(in, head, sizeof head) != 0)
        return false;
    const uint8_t *trailer = in + in_size - 8;
    return sfs_gunzip_load32(trailer) == crc32_gzip_refl(0, out, out_size) &&
           sfs_gunzip_load32(trailer + 4) == out_size;
}

const struct sfs_codec_row sfs_codec_gzip = {
    .name = "gzip",
    .media_types = SFS_LAYER_MEDIA_TYPES("+gzip", ".gzip"),
    .is_head = is_head,
    .enters_bits = true,
    .unpack = unpack,
    .open = open_decoder,
    .close = close_decoder,
    .memory = get_memory,
    .start = start,
    .enter = enter,
    .step = step,
    .may_move = may_move,
    .inflater = get_inflater,
};
