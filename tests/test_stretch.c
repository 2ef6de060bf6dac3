/* fs/blob: which frames of a blob are handed on as they are. */
#include "blob/stretch_pool.h"
#include "blob_support.h"
#include <criterion/criterion.h>
#include <malloc.h>
#include <stdatomic.h>

#define MIB (1u << 20)

static struct sfs_error err;
static struct sfs_cache *cache;

static void open_cache(void)
{
    cr_assert_eq(sfs_cache_open(8 * MIB, 2, &cache, &err), 0);
}

static void close_cache(void)
{
    sfs_cache_close(&cache);
}

TestSuite(stretch, .init = open_cache, .fini = close_cache);

/* The frames of decoded bytes [at, end), as a commit takes them, "OUT+SIZE=IN+SIZE " each; all
 * bytes are compared with `content`, and the frames' with what their part of `stream` decodes to.
 * The caller frees. */
static char *list_frames(struct sfs_spans *spans, const struct sfs_buf *stream,
                         const struct sfs_buf *content, uint64_t at, uint64_t end)
{
    struct sfs_frames *frames = NULL;
    struct sfs_buf text = { 0 };
    sfs_buf_add_str(&text, "");
    cr_assert_eq(
        sfs_frames_open(3, 6 * MIB, &(struct sfs_stretch_wish){ .digests = true }, &frames, &err),
        0);
    while (at < end) {
        const struct sfs_stretch *stretch;
        sfs_frames_ask(frames, spans, at, end - at);
        cr_assert_eq(sfs_frames_get(frames, spans, at, &stretch, &err), 0, "%s", err.text);
        cr_assert(stretch->out <= at && at < stretch->out + stretch->size);
        cr_assert_eq(memcmp(stretch->data, content->data + stretch->out, stretch->size), 0);
        uint64_t next = stretch->out + stretch->size;
        for (size_t i = 0; i < stretch->frame_count; i++) {
            const struct sfs_frame *frame = &stretch->frames[i];
            struct sfs_digest digest;
            if (frame->out < at || frame->out + frame->out_size > end)
                continue;
            sfs_digest_of(content->data + frame->out, frame->out_size, &digest);
            cr_assert(sfs_digest_equal(&digest, &frame->digest));
            const char *in =
                memmem(stream->data, stream->size, stretch->in + frame->in, frame->in_size);
            cr_assert_not_null(in);
            sfs_buf_printf(&text, "%llu+%u=%zu+%u ", (unsigned long long)frame->out,
                           frame->out_size, (size_t)(in - stream->data), frame->in_size);
            at = frame->out + frame->out_size;
        }
        at = at > next ? at : next;
        sfs_stretch_release(stretch);
    }
    sfs_frames_close(&frames);
    return text.data;
}

static struct sfs_spans *open_spans(const struct sfs_buf *stream,
                                    const struct sfs_seek_table *table)
{
    struct sfs_spans *spans = NULL;
    struct sfs_blob *blob = blob_of(stream->data, stream->size);
    cr_assert_eq(sfs_spans_open(cache, &blob, table, "layer 3", &spans, &err), 0, "%s", err.text);
    return spans;
}

/* Made by a pass with points this far apart. */
static char *list_by_pass(enum sfs_codec codec, const struct sfs_buf *stream, uint32_t spacing,
                          uint64_t at, uint64_t end)
{
    AUTO(sfs_buf_close) struct sfs_buf content = { 0 };
    AUTO(sfs_unpacked_close) struct sfs_unpacked unpacked = { 0 };
    struct sfs_blob *blob = blob_of(stream->data, stream->size);
    cr_assert_eq(unpack(blob, codec, spacing, -1, &content, &unpacked, &err), 0, "%s", err.text);
    sfs_blob_close(&blob);
    AUTO(sfs_spans_close) struct sfs_spans *spans = open_spans(stream, &unpacked.table);
    return list_frames(spans, stream, &content, at, end < content.size ? end : content.size);
}

static void expect_by_pass(enum sfs_codec codec, const struct sfs_buf *stream, uint64_t at,
                           uint64_t end, const char *expected)
{
    static const uint32_t spacings[] = { 64 << 10, 300000, MIB, 4 * MIB };
    for (size_t i = 0; i < sizeof spacings / sizeof *spacings; i++) {
        AUTO(sfs_free) char *got = list_by_pass(codec, stream, spacings[i], at, end);
        cr_assert_str_eq(got, expected, "spacing %u", spacings[i]);
    }
}

static void add_frame(enum sfs_codec codec, struct sfs_buf *stream, const void *data, size_t size)
{
    if (codec == SFS_CODEC_GZIP)
        add_libdeflate(stream, data, size, 1);
    else
        add_zstd(stream, data, size, 1, true, false);
}

/* Frames of many sizes, small and larger than is handed on, are found wherever the points are. */
/* One for each MiB of the content. */
static void add_members(struct sfs_buf *stream, const struct sfs_buf *content)
{
    for (size_t at = 0; at < content->size; at += MIB)
        add_frame(SFS_CODEC_GZIP, stream, content->data + at, MIB);
}

static void find_all(enum sfs_codec codec)
{
    static const size_t sizes[] = { 700,  MIB,     3 * MIB, 1, 5 * MIB, 4 * MIB, 90000,
                                    2222, 4194305, 300000,  7, MIB,     2 * MIB };
    size_t total = 0, at = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        total += sizes[i];
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(total, 5);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf expected = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf middle = { 0 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char text[96];
        size_t start = stream.size;
        add_frame(codec, &stream, content.data + at, sizes[i]);
        snprintf(text, sizeof text, "%zu+%zu=%zu+%zu ", at, sizes[i], start, stream.size - start);
        if (sizes[i] <= SFS_FRAME_MAX)
            sfs_buf_add_str(&expected, text);
        if (sizes[i] <= SFS_FRAME_MAX && i > 0 && i + 1 < sizeof sizes / sizeof *sizes)
            sfs_buf_add_str(&middle, text);
        at += sizes[i];
    }
    expect_by_pass(codec, &stream, 0, UINT64_MAX, expected.data);
    /* A file that begins and ends inside frames: they are not its own. */
    expect_by_pass(codec, &stream, 1, total - 1, middle.data);
}

Test(stretch, finds_every_member_wherever_the_points_are)
{
    find_all(SFS_CODEC_GZIP);
}

Test(stretch, finds_every_frame_wherever_the_points_are)
{
    find_all(SFS_CODEC_ZSTD);
}

/* ---- what is not handed on ---- */

Test(stretch, leaves_zeros_alone)
{
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    static const char zeros[100000];
    add_frame(SFS_CODEC_ZSTD, &stream, "a", 1);
    add_frame(SFS_CODEC_ZSTD, &stream, zeros, sizeof zeros);
    add_frame(SFS_CODEC_ZSTD, &stream, "\0a", 2);
    AUTO(sfs_free) char *got = list_by_pass(SFS_CODEC_ZSTD, &stream, 0, 1, UINT64_MAX);
    cr_assert(strncmp(got, "100001+2=", 9) == 0, "%s", got);
}

Test(stretch, leaves_members_with_optional_fields_alone)
{
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    gz_header named = { .name = (Bytef *)(uintptr_t) "a name" };
    add_zlib(&stream, "abc", 3, 6, 0, &named);
    size_t second = stream.size;
    add_zlib(&stream, "def", 3, 6, 0, NULL);
    char expected[64];
    snprintf(expected, sizeof expected, "3+3=%zu+%zu ", second, stream.size - second);
    expect_by_pass(SFS_CODEC_GZIP, &stream, 0, UINT64_MAX, expected);
}

static void add_wide_zstd(struct sfs_buf *to, const struct sfs_buf *content, int window_log)
{
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, window_log);
    size_t room = ZSTD_compressBound(content->size), start = to->size;
    ZSTD_inBuffer in = { content->data, content->size, 0 };
    ZSTD_outBuffer out = { sfs_buf_grow(to, room), room, 0 };
    /* In two steps, so that its size is not known when its header is written. */
    ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_flush);
    cr_assert_eq(ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_end), 0);
    to->size = start + out.pos;
    ZSTD_freeCCtx(zstd);
}

Test(stretch, leaves_frames_with_a_large_window_alone)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(100000, 1);
    for (int log = 22; log <= 25; log++) {
        AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
        add_wide_zstd(&stream, &content, log);
        add_frame(SFS_CODEC_ZSTD, &stream, "end", 3);
        AUTO(sfs_free) char *got = list_by_pass(SFS_CODEC_ZSTD, &stream, 0, 0, UINT64_MAX);
        bool has_it = strncmp(got, "0+100000=0+", 11) == 0;
        cr_assert_eq(has_it, log <= 23, "window 2^%d: %s", log, got);
    }
}

/* Stored blocks of nothing make a member as large as one likes. */
Test(stretch, leaves_bloated_members_alone)
{
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    static const uint8_t head[10] = { 0x1f, 0x8b, 8 }, nothing[5] = { 0, 0, 0, 0xff, 0xff };
    static const uint8_t last[] = { 1, 1, 0, 0xfe, 0xff, 'x' };
    uint32_t trailer[2] = { (uint32_t)crc32(0, (const Bytef *)"x", 1), 1 };
    sfs_buf_add(&stream, head, sizeof head);
    for (int i = 0; i < 100; i++)
        sfs_buf_add(&stream, nothing, sizeof nothing);
    sfs_buf_add(&stream, last, sizeof last);
    sfs_buf_add(&stream, trailer, sizeof trailer);
    add_frame(SFS_CODEC_GZIP, &stream, "abc", 3);
    AUTO(sfs_free) char *got = list_by_pass(SFS_CODEC_GZIP, &stream, 0, 0, UINT64_MAX);
    cr_assert(strncmp(got, "1+3=", 4) == 0, "%s", got);
}

/* ---- by a table of contents, which may say anything ---- */

/* A table of spans as a table of contents makes it: {out, in, skip} each. */
struct claims {
    struct sfs_point points[8];
    uint8_t tags[8 * 32];
    struct sfs_seek_table table;
};

static void claim(struct claims *claims, enum sfs_codec codec, const struct sfs_buf *stream,
                  const struct sfs_buf *content)
{
    claims->table = (struct sfs_seek_table){ .codec = codec,
                                             .check = SFS_CHECK_SHA256,
                                             .is_framed = true,
                                             .in_size = stream->size,
                                             .out_size = content->size,
                                             .count = claims->table.count,
                                             .points = claims->points,
                                             .tags = claims->tags };
    for (uint32_t i = 0; i < claims->table.count; i++) {
        struct sfs_digest digest;
        sfs_digest_of(content->data + claims->points[i].out,
                      (size_t)sfs_seek_size(&claims->table, i), &digest);
        memcpy(claims->tags + (size_t)i * 32, digest.bytes, 32);
    }
}

static char *list_by_claims(struct claims *claims, enum sfs_codec codec,
                            const struct sfs_buf *stream, const char *text)
{
    struct sfs_buf content = { .data = (char *)(uintptr_t)text,
                               .size = strlen(text),
                               .capacity = 0 };
    claim(claims, codec, stream, &content);
    AUTO(sfs_spans_close) struct sfs_spans *spans = open_spans(stream, &claims->table);
    return list_frames(spans, stream, &content, 0, content.size);
}

static void expect_by_claims(struct claims *claims, enum sfs_codec codec,
                             const struct sfs_buf *stream, const char *text, const char *expected)
{
    AUTO(sfs_free) char *got = list_by_claims(claims, codec, stream, text);
    cr_assert_str_eq(got, expected);
}

static void refuse_what_goes_on(enum sfs_codec codec)
{
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf expected = { 0 };
    add_frame(codec, &stream, "abcTAIL", 7);
    size_t second = stream.size;
    add_frame(codec, &stream, "def", 3);
    size_t third = stream.size;
    add_frame(codec, &stream, "padding", 7);
    sfs_buf_printf(&expected, "3+3=%zu+%zu ", second, third - second);
    struct claims claims = { .points = { { .out = 0, .in = 0 }, { .out = 3, .in = second } },
                             .table.count = 2 };
    expect_by_claims(&claims, codec, &stream, "abcdef", expected.data);
}

Test(stretch, leaves_frames_alone_that_decode_to_more)
{
    refuse_what_goes_on(SFS_CODEC_GZIP);
    refuse_what_goes_on(SFS_CODEC_ZSTD);
}

Test(stretch, takes_a_chunk_of_two_frames_as_two)
{
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf expected = { 0 };
    add_frame(SFS_CODEC_ZSTD, &stream, "abc", 3);
    size_t second = stream.size;
    add_frame(SFS_CODEC_ZSTD, &stream, "def", 3);
    sfs_buf_printf(&expected, "0+3=0+%zu 3+3=%zu+%zu ", second, second, stream.size - second);
    struct claims claims = { .table.count = 1 };
    expect_by_claims(&claims, SFS_CODEC_ZSTD, &stream, "abcdef", expected.data);
}

Test(stretch, takes_a_frame_of_two_chunks_as_one)
{
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf expected = { 0 };
    add_frame(SFS_CODEC_GZIP, &stream, "abcdef", 6);
    sfs_buf_printf(&expected, "0+6=0+%zu ", stream.size);
    struct claims claims = { .points = { { .out = 0 }, { .out = 4, .skip = 4 } },
                             .table.count = 2 };
    expect_by_claims(&claims, SFS_CODEC_GZIP, &stream, "abcdef", expected.data);
    /* That begins with what no chunk has: */
    struct claims late = { .points = { { .out = 0, .skip = 2 } }, .table.count = 1 };
    expect_by_claims(&late, SFS_CODEC_GZIP, &stream, "cdef", "");
}

Test(stretch, leaves_members_with_a_wrong_checksum_alone)
{
    for (int at = 8; at > 0; at -= 3) {
        AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
        add_frame(SFS_CODEC_GZIP, &stream, "abcdef", 6);
        stream.data[stream.size - (size_t)at] ^= 1;
        struct claims claims = { .table.count = 1 };
        expect_by_claims(&claims, SFS_CODEC_GZIP, &stream, "abcdef", "");
    }
}

Test(stretch, fails_on_what_the_table_does_not_vouch_for)
{
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    struct sfs_frames *frames = NULL;
    const struct sfs_stretch *stretch = NULL;
    struct sfs_buf content = { .data = (char *)(uintptr_t) "abcdefX", .size = 7, .capacity = 0 };
    add_frame(SFS_CODEC_ZSTD, &stream, "abcdeX", 6);
    struct claims claims = { .table.count = 1 };
    content.size = 6;
    claim(&claims, SFS_CODEC_ZSTD, &stream, &content);
    AUTO(sfs_spans_close) struct sfs_spans *spans = open_spans(&stream, &claims.table);
    cr_assert_eq(
        sfs_frames_open(2, MIB, &(struct sfs_stretch_wish){ .digests = true }, &frames, &err), 0);
    cr_assert_eq(sfs_frames_get(frames, spans, 0, &stretch, &err), -EIO);
    cr_assert(strstr(err.text, "layer 3: span 0: does not match its digest"), "%s", err.text);
    sfs_frames_close(&frames);
}

Test(stretch, fails_where_the_blob_was_changed)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(3 * MIB, 9);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf got = { 0 };
    AUTO(sfs_unpacked_close) struct sfs_unpacked unpacked = { 0 };
    struct sfs_frames *frames = NULL;
    const struct sfs_stretch *stretch = NULL;
    add_members(&stream, &content);
    struct sfs_blob *blob = blob_of(stream.data, stream.size);
    cr_assert_eq(unpack(blob, SFS_CODEC_GZIP, 0, -1, &got, &unpacked, &err), 0);
    sfs_blob_close(&blob);
    stream.data[stream.size / 2] ^= 1;
    AUTO(sfs_spans_close) struct sfs_spans *spans = open_spans(&stream, &unpacked.table);
    cr_assert_eq(sfs_frames_open(2, 8 * MIB, &(struct sfs_stretch_wish){ 0 }, &frames, &err), 0);
    sfs_frames_ask(frames, spans, 0, content.size);
    int r = 0;
    for (uint64_t at = 0; at < content.size && r == 0; at += MIB) {
        r = sfs_frames_get(frames, spans, at, &stretch, &err);
        if (r == 0)
            sfs_stretch_release(stretch);
    }
    cr_assert_eq(r, -EIO);
    cr_assert(strstr(err.text, "the blob was changed"), "%s", err.text);
    sfs_frames_close(&frames);
}

static atomic_uint_least64_t bytes_read;

static ssize_t count_read_at(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                             struct sfs_error *why)
{
    atomic_fetch_add(&bytes_read, size);
    return memory_read_at(blob, buf, size, offset, why);
}

/* As a commit of small files takes them: it asks far ahead, and comes back to each stretch often.
 */
Test(stretch, is_decoded_once_however_little_is_taken_at_a_time)
{
    static const struct sfs_blob_ops counting_ops = { .read_at = count_read_at,
                                                      .close = memory_close };
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(24 * MIB, 5);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf got = { 0 };
    AUTO(sfs_unpacked_close) struct sfs_unpacked unpacked = { 0 };
    struct sfs_frames *frames = NULL;
    add_members(&stream, &content);
    struct sfs_blob *blob = blob_of(stream.data, stream.size);
    cr_assert_eq(unpack(blob, SFS_CODEC_GZIP, MIB, -1, &got, &unpacked, &err), 0);
    blob->ops = &counting_ops;
    AUTO(sfs_spans_close) struct sfs_spans *spans = NULL;
    cr_assert_eq(sfs_spans_open(cache, &blob, &unpacked.table, "layer 3", &spans, &err), 0);
    cr_assert_eq(sfs_frames_open(3, 6 * MIB, &(struct sfs_stretch_wish){ 0 }, &frames, &err), 0);
    for (uint64_t at = 0; at < content.size; at += 50000) {
        const struct sfs_stretch *stretch;
        sfs_frames_ask(frames, spans, at, content.size - at);
        cr_assert_eq(sfs_frames_get(frames, spans, at, &stretch, &err), 0, "%s", err.text);
        sfs_stretch_release(stretch);
    }
    sfs_frames_close(&frames);
    uint64_t read = atomic_load(&bytes_read);
    cr_assert(read < stream.size + stream.size / 2, "%llu bytes of %zu", (unsigned long long)read,
              stream.size);
}

/* A reader whom nobody helps: what he took is let go all the same. */
Test(stretch, is_dropped_though_nobody_asked_for_it)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(64 * MIB, 5);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf got = { 0 };
    AUTO(sfs_unpacked_close) struct sfs_unpacked unpacked = { 0 };
    struct sfs_frames *frames = NULL;
    add_members(&stream, &content);
    struct sfs_blob *blob = blob_of(stream.data, stream.size);
    cr_assert_eq(unpack(blob, SFS_CODEC_GZIP, MIB, -1, &got, &unpacked, &err), 0);
    sfs_blob_close(&blob);
    AUTO(sfs_spans_close) struct sfs_spans *spans = open_spans(&stream, &unpacked.table);
    cr_assert_eq(sfs_frames_open(1, 4 * MIB, &(struct sfs_stretch_wish){ 0 }, &frames, &err), 0);
    const struct sfs_stretch *stretch;
    cr_assert_eq(sfs_frames_get(frames, spans, 0, &stretch, &err), 0);
    sfs_stretch_release(stretch);
    struct mallinfo2 before = mallinfo2(); /* zeros with the address sanitizer */
    for (uint64_t at = MIB; at < content.size; at += MIB) {
        cr_assert_eq(sfs_frames_get(frames, spans, at, &stretch, &err), 0, "%s", err.text);
        sfs_stretch_release(stretch);
    }
    struct mallinfo2 after = mallinfo2();
    size_t more = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
    cr_assert(more < 24 * MIB, "%zu bytes are held", more);
    sfs_frames_close(&frames);
}
