/* zstd. Points are at frame starts. Small frames share a span; a frame too large for one makes the
 * pass write a seekable copy instead. */
#include "blob/codecs.h"

#include "blob/unpack_pass.h"
#include <errno.h>
#include <zstd.h>
#include <zstd_errors.h>

#define GROUP     (1u << 20)                      /* decoded bytes of frames that share a span */
#define MAX_FRAME (8u << 20)                      /* decoded bytes of a frame that is entered */
#define MAX_OUT   (SFS_SPAN_MAX - SFS_PASS_BLOCK) /* the same if there can be no copy */
#define MAX_IN    (SFS_SPAN_IN_MAX - 2 * SFS_PASS_BLOCK)
#define MAX_SKIP  (256u << 10) /* larger skippable frames are no part of a span */
#define HEAD      8u           /* bytes of a skippable frame's header */

#define WINDOW_MAX (8u << 20) /* what RFC 8878 asks of every decoder */

static bool is_skippable(const uint8_t *head)
{
    return (head[0] & 0xf0) == 0x50 && head[1] == 0x2a && head[2] == 0x4d && head[3] == 0x18;
}

static bool is_frame(const uint8_t *head)
{
    return head[0] == 0x28 && head[1] == 0xb5 && head[2] == 0x2f && head[3] == 0xfd;
}

/* ---- one pass, with points ---- */

struct zstd_pass {
    struct sfs_pass *pass;
    ZSTD_DCtx *decoder;
    ZSTD_inBuffer in;
    ZSTD_outBuffer out;
    uint64_t in_offset, out_offset; /* where the blocks `in` and `out` begin */
    uint64_t point_out, point_in;   /* the last point */
    uint64_t frame_out, frame_in;   /* where the present frame began */
    bool in_frame;                  /* there is a present frame */
    uint8_t head[HEAD];             /* the first bytes of the frame */
    uint32_t head_size;             /* how many of them were seen */
};

static uint64_t out_now(const struct zstd_pass *zstd)
{
    return zstd->out_offset + zstd->out.pos;
}

static uint64_t in_now(const struct zstd_pass *zstd)
{
    return zstd->in_offset + zstd->in.pos;
}

static int add_point(struct zstd_pass *zstd, uint64_t out, uint64_t in, struct sfs_error *err)
{
    zstd->point_out = out;
    zstd->point_in = in;
    return sfs_pass_add_point(zstd->pass, out, in, 0, NULL, 0, err);
}

static int next_output(struct zstd_pass *zstd, struct sfs_error *err)
{
    int r = sfs_pass_deliver(zstd->pass, zstd->out.pos, err);
    if (r < 0)
        return r;
    uint8_t *block;
    zstd->out_offset += zstd->out.pos;
    r = sfs_pass_output(zstd->pass, &block, err);
    if (r == 0)
        zstd->out = (ZSTD_outBuffer){ .dst = block, .size = SFS_PASS_BLOCK };
    return r;
}

static int next_input(struct zstd_pass *zstd, struct sfs_error *err)
{
    const uint8_t *data = NULL;
    size_t size;
    zstd->in_offset += zstd->in.size;
    int r = sfs_pass_input(zstd->pass, &data, &size, err);
    if (r == 0)
        zstd->in = (ZSTD_inBuffer){ .src = data, .size = size };
    return r;
}

static int begin_frame(struct zstd_pass *zstd, struct sfs_error *err)
{
    uint64_t out = out_now(zstd), in = in_now(zstd);
    zstd->frame_out = out;
    zstd->frame_in = in;
    zstd->in_frame = true;
    zstd->head_size = 0;
    sfs_pass_note_frame(zstd->pass);
    uint32_t group = sfs_pass_spacing(zstd->pass) / 4;
    if (in == 0 || out - zstd->point_out >= (group < GROUP ? group : GROUP) ||
        in - zstd->point_in >= SFS_SPAN_IN_MAX / 8)
        return add_point(zstd, out, in, err);
    return 0;
}

/* A large skippable frame becomes an empty span of its own. */
static int see_head(struct zstd_pass *zstd, struct sfs_error *err)
{
    const uint8_t *head = zstd->head;
    uint32_t size =
        head[4] | (uint32_t)head[5] << 8 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 24;
    if (!is_skippable(head) || size <= MAX_SKIP || zstd->point_in == zstd->frame_in)
        return 0;
    return add_point(zstd, zstd->frame_out, zstd->frame_in, err);
}

/* Decodes one step. A frame's first bytes are given to the decoder alone, so that they can be
 * looked at; else it gets all that is there. */
static int step_pass(struct zstd_pass *zstd, struct sfs_error *err)
{
    size_t size = zstd->in.size, start = zstd->in.pos;
    bool heads = zstd->head_size < HEAD;
    if (heads && size - start > HEAD - zstd->head_size)
        zstd->in.size = start + HEAD - zstd->head_size;
    size_t left = ZSTD_decompressStream(zstd->decoder, &zstd->out, &zstd->in);
    zstd->in.size = size;
    if (ZSTD_isError(left) && ZSTD_getErrorCode(left) == ZSTD_error_frameParameter_windowTooLarge)
        return sfs_fail(err, ENOTSUP, "zstd frame with a window of more than 128 MiB");
    if (ZSTD_isError(left))
        return sfs_fail(err, EBADMSG, "zstd data is damaged: %s", ZSTD_getErrorName(left));
    if (heads) {
        size_t taken = zstd->in.pos - start;
        memcpy(zstd->head + zstd->head_size, (const uint8_t *)zstd->in.src + start, taken);
        zstd->head_size += (uint32_t)taken;
        if (zstd->head_size == HEAD) {
            int r = see_head(zstd, err);
            if (r < 0)
                return r;
        }
    }
    if (left == 0)
        zstd->in_frame = false;
    return 0;
}

static bool is_too_far(const struct zstd_pass *zstd)
{
    uint64_t out = out_now(zstd);
    uint64_t max = sfs_pass_may_copy(zstd->pass) ? MAX_FRAME : MAX_OUT;
    return !sfs_pass_copies(zstd->pass) && out > zstd->point_out &&
           (out - zstd->frame_out > max || out - zstd->point_out > MAX_OUT ||
            in_now(zstd) - zstd->point_in > MAX_IN);
}

static int start_copy(struct zstd_pass *zstd, struct sfs_error *err)
{
    int r = next_output(zstd, err);
    if (r < 0)
        return r;
    return sfs_pass_start_copy(zstd->pass, "it has large frames, which cannot be entered", err);
}

static int run(struct zstd_pass *zstd, struct sfs_error *err)
{
    int r = next_output(zstd, err);
    bool was_full = false;
    while (r == 0) {
        if (is_too_far(zstd)) {
            r = start_copy(zstd, err);
        } else if (zstd->out.pos == zstd->out.size) {
            r = next_output(zstd, err);
            was_full = true;
        } else if (zstd->in.pos == zstd->in.size && !(was_full && zstd->in_frame)) {
            r = next_input(zstd, err);
            if (r == 0 && zstd->in.size == 0)
                break;
        } else {
            was_full = false;
            if (!zstd->in_frame)
                r = begin_frame(zstd, err);
            if (r == 0)
                r = step_pass(zstd, err);
        }
    }
    return r;
}

static int unpack(struct sfs_pass *pass, struct sfs_error *err)
{
    struct zstd_pass zstd = { .pass = pass, .decoder = ZSTD_createDCtx() };
    if (!zstd.decoder)
        return sfs_fail_memory(err);
    int r = run(&zstd, err);
    ZSTD_freeDCtx(zstd.decoder);
    if (r < 0)
        return r;
    if (zstd.in_frame || in_now(&zstd) == 0)
        return sfs_fail(err, EBADMSG, "zstd stream is truncated");
    return sfs_pass_deliver(pass, zstd.out.pos, err);
}

/* ---- entering at a point ---- */

struct zstd_decoder {
    struct sfs_decoder decoder;
    ZSTD_DCtx *zstd;
};

static ZSTD_DCtx *context_of(const struct sfs_decoder *decoder)
{
    return ((const struct zstd_decoder *)decoder)->zstd;
}

static void close_decoder(struct sfs_decoder *decoder)
{
    ZSTD_freeDCtx(context_of(decoder));
    free(decoder);
}

static struct sfs_decoder *open_decoder(void)
{
    struct zstd_decoder *zstd = calloc(1, sizeof *zstd);
    if (!zstd)
        return NULL;
    AUTO(sfs_decoder_close) struct sfs_decoder *decoder = &zstd->decoder;
    decoder->codec = &sfs_codec_zstd;
    zstd->zstd = ZSTD_createDCtx();
    return zstd->zstd ? TAKE(decoder) : NULL;
}

static size_t get_memory(const struct sfs_decoder *decoder)
{
    return sizeof(struct zstd_decoder) + ZSTD_sizeof_DCtx(context_of(decoder));
}

static void start(struct sfs_decoder *decoder)
{
    ZSTD_DCtx_reset(context_of(decoder), ZSTD_reset_session_only);
}

static int step(struct sfs_decoder *decoder, struct sfs_decoder_io *io,
                struct sfs_decoder_step *ret_step, struct sfs_error *err)
{
    ZSTD_inBuffer in = { io->in, io->in_size, 0 };
    ZSTD_outBuffer out = { io->out, io->out_size, 0 };
    size_t left = ZSTD_decompressStream(context_of(decoder), &out, &in);
    *io = (struct sfs_decoder_io){ io->in + in.pos, io->in_size - in.pos, io->out + out.pos,
                                   io->out_size - out.pos };
    bool has_moved = in.pos > 0 || out.pos > 0;
    *ret_step =
        (struct sfs_decoder_step){ .has_moved = has_moved, .has_ended = left == 0 && has_moved };
    if (ZSTD_isError(left))
        return sfs_fail(err, EBADMSG, "zstd data is damaged: %s", ZSTD_getErrorName(left));
    return 0;
}

/* ---- the row ---- */

static bool is_head(const uint8_t head[SFS_CODEC_HEAD])
{
    return is_frame(head) || is_skippable(head);
}

/* RFC 8878, 3.1.1.1: no dictionary, and a window that every reader has memory for. A frame in a
 * single segment has one of its own size. */
static bool may_move(const uint8_t *in, size_t in_size, const uint8_t *out, size_t out_size)
{
    (void)out;
    (void)out_size;
    if (in_size < 6 || !is_frame(in) || (in[4] & 3) != 0)
        return false;
    bool is_single = in[4] & 0x20;
    uint64_t base = 1ull << (10 + (in[5] >> 3));
    return is_single || base + base / 8 * (in[5] & 7) <= WINDOW_MAX;
}

const struct sfs_codec_row sfs_codec_zstd = {
    .name = "zstd",
    .media_types = SFS_LAYER_MEDIA_TYPES("+zstd", ".zstd"),
    .is_head = is_head,
    .may_be_copied = true,
    .unpack = unpack,
    .open = open_decoder,
    .close = close_decoder,
    .memory = get_memory,
    .start = start,
    .step = step,
    .may_move = may_move,
};
