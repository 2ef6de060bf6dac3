/* fs/commit: deflate blocks copied out of a gzip source into a layer. */
#include "commit/splice.h"

#include "blob_support.h"
#include <criterion/criterion.h>

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

TestSuite(splice, .init = open_cache, .fini = close_cache, .timeout = 120);

/* What a gzip of pigz is made of: each 128 KiB end with an empty stored block. */
static void add_flushed(struct sfs_buf *to, const struct sfs_buf *content)
{
    z_stream stream = { 0 };
    deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, 0);
    size_t room = content->size + MIB, start = to->size;
    stream.next_out = sfs_buf_grow(to, room);
    stream.avail_out = (uInt)room;
    stream.next_in = (Bytef *)content->data;
    for (size_t left = content->size; left > 0;) {
        size_t part = left < 131072 ? left : 131072;
        stream.avail_in = (uInt)part;
        left -= part;
        deflate(&stream, left ? Z_SYNC_FLUSH : Z_FINISH);
    }
    to->size = start + stream.total_out;
    deflateEnd(&stream);
}

/* Puts a range into a pipe, as a commit does, and returns what came out. */
static struct sfs_buf put_range(struct sfs_spans *spans, uint64_t at, uint64_t end,
                                uint64_t *ret_copied)
{
    struct sfs_frames *frames = NULL;
    struct sfs_pipe *pipe = NULL;
    struct sfs_pipe_result result;
    AUTO(sfs_close_fd) int fd = memfd_create("spliced", MFD_CLOEXEC);
    struct sfs_pipe_options options = { .threads = 2, .fd = fd, .name = "test" };
    cr_assert_eq(sfs_compress_plan(SFS_COMPRESS_GZIP, 0, &options.plan, &err), 0);
    cr_assert_eq(sfs_pipe_open(&options, &pipe, &err), 0);
    cr_assert_eq(
        sfs_frames_open(2, 8 * MIB, &(struct sfs_stretch_wish){ .cuts = true }, &frames, &err), 0);
    struct sfs_splice *splice = sfs_splice_open(pipe);
    while (at < end) {
        const struct sfs_stretch *stretch;
        sfs_frames_ask(frames, spans, at, end - at < 4 * MIB ? end - at : 4 * MIB);
        cr_assert_eq(sfs_frames_get(frames, spans, at, &stretch, &err), 0, "%s", err.text);
        cr_assert_eq(sfs_splice_put(splice, stretch, at, end, &err), 0, "%s", err.text);
        uint64_t next = stretch->out + stretch->size;
        sfs_stretch_release(stretch);
        at = next < end ? next : end;
    }
    cr_assert(!sfs_splice_waits(splice));
    cr_assert_eq(sfs_pipe_finish(pipe, &result, &err), 0, "%s", err.text);
    sfs_pipe_close(&pipe);
    *ret_copied = sfs_splice_copied(splice);
    sfs_splice_close(&splice);
    sfs_frames_close(&frames);
    struct sfs_buf out = { 0 };
    cr_assert_eq(pread(fd, sfs_buf_grow(&out, result.out_size), result.out_size, 0),
                 (ssize_t)result.out_size);
    out.size = result.out_size;
    return out;
}

/* By zlib, member after member, trailers checked. */
static void expect_content(const struct sfs_buf *out, const char *expected, size_t size)
{
    AUTO(sfs_free) char *got = malloc(size + 1);
    z_stream stream = { .next_in = (Bytef *)out->data,
                        .avail_in = (uInt)out->size,
                        .next_out = (Bytef *)got,
                        .avail_out = (uInt)size + 1 };
    inflateInit2(&stream, 15 + 16);
    while (stream.avail_in > 0) {
        int r = inflate(&stream, Z_NO_FLUSH);
        cr_assert_eq(r, Z_STREAM_END, "%d: %s", r, stream.msg ? stream.msg : "cut off");
        inflateReset(&stream);
    }
    cr_assert_eq(size + 1 - stream.avail_out, size);
    cr_assert_eq(memcmp(got, expected, size), 0);
    inflateEnd(&stream);
}

/* The same bytes come out wherever the table's points are. Returns how many were copied. */
static uint64_t expect_splice(const struct sfs_buf *stream, const struct sfs_buf *content,
                              uint64_t at, uint64_t end)
{
    static const uint32_t spacings[] = { 64 << 10, 300000, MIB, 4 * MIB };
    AUTO(sfs_buf_close) struct sfs_buf first = { 0 };
    uint64_t copied = 0;
    for (size_t i = 0; i < sizeof spacings / sizeof *spacings; i++) {
        AUTO(sfs_buf_close) struct sfs_buf unpacked_content = { 0 };
        AUTO(sfs_unpacked_close) struct sfs_unpacked unpacked = { 0 };
        AUTO(sfs_spans_close) struct sfs_spans *spans = NULL;
        struct sfs_blob *blob = blob_of(stream->data, stream->size);
        cr_assert_eq(
            unpack(blob, SFS_CODEC_GZIP, spacings[i], -1, &unpacked_content, &unpacked, &err), 0,
            "%s", err.text);
        cr_assert_eq(sfs_spans_open(cache, &blob, &unpacked.table, "layer 3", &spans, &err), 0);
        struct sfs_buf out = put_range(spans, at, end, &copied);
        expect_content(&out, content->data + at, end - at);
        if (i == 0)
            first = out;
        cr_assert(out.size == first.size && memcmp(out.data, first.data, out.size) == 0,
                  "spacing %u gives other bytes", spacings[i]);
        if (i > 0)
            sfs_buf_close(&out);
    }
    return copied;
}

static void expect_ranges(const struct sfs_buf *stream, const struct sfs_buf *content)
{
    static const uint32_t ranges[][2] = { { 0, 1 },
                                          { 0, UINT32_MAX },
                                          { 12345, UINT32_MAX },
                                          { 3 * MIB, 5 * MIB + 7 },
                                          { 777, 9000000 },
                                          { MIB, 2 * MIB + 70000 },
                                          { 1040000, 2500000 },
                                          { 5000000, 5100000 },
                                          { 262144, 786432 } };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        uint64_t end = ranges[i][1] < content->size ? ranges[i][1] : content->size;
        uint64_t copied = expect_splice(stream, content, ranges[i][0], end);
        if (end - ranges[i][0] < MIB)
            cr_assert_eq(copied, 0);
    }
}

Test(splice, copies_what_zlib_wrote)
{
    static const int kinds[][2] = { { 1, 0 },       { 6, 0 },    { 9, 0 }, { 6, Z_HUFFMAN_ONLY },
                                    { 6, Z_FIXED }, { 6, Z_RLE } };
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(12 * MIB, 3);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
        add_zlib(&stream, content.data, content.size, kinds[i][0], kinds[i][1], NULL);
        if (i == 1)
            expect_ranges(&stream, &content);
        uint64_t copied = expect_splice(&stream, &content, 0, content.size);
        cr_assert_gt(copied, stream.size / 10 * 8, "kind %zu: %llu of %zu", i,
                     (unsigned long long)copied, stream.size);
    }
}

Test(splice, copies_what_others_wrote)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(12 * MIB, 4);
    for (int kind = 0; kind < 5; kind++) {
        AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
        if (kind == 0)
            add_flushed(&stream, &content);
        else if (kind < 3)
            add_isal(&stream, content.data, content.size, kind);
        else
            add_libdeflate(&stream, content.data, content.size, 3 * kind - 8);
        if (kind == 0)
            expect_ranges(&stream, &content);
        uint64_t copied = expect_splice(&stream, &content, 0, content.size);
        cr_assert_gt(copied, stream.size / 10 * 8, "kind %d: %llu of %zu", kind,
                     (unsigned long long)copied, stream.size);
    }
}

/* Out of a layer that was made so: short members, and long ones with a stored block in front. */
Test(splice, copies_what_was_copied)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(9 * MIB, 8);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf again = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf unpacked_content = { 0 };
    AUTO(sfs_unpacked_close) struct sfs_unpacked unpacked = { 0 };
    AUTO(sfs_spans_close) struct sfs_spans *spans = NULL;
    uint64_t copied;
    add_zlib(&stream, content.data, content.size, 6, 0, NULL);
    struct sfs_blob *blob = blob_of(stream.data, stream.size);
    cr_assert_eq(unpack(blob, SFS_CODEC_GZIP, 0, -1, &unpacked_content, &unpacked, &err), 0);
    cr_assert_eq(sfs_spans_open(cache, &blob, &unpacked.table, "layer 3", &spans, &err), 0);
    again = put_range(spans, 0, content.size, &copied);
    expect_ranges(&again, &content);
    cr_assert_gt(expect_splice(&again, &content, 0, content.size), again.size / 2);
}

/* Nothing is copied over the end of a member. */
Test(splice, begins_anew_in_each_member)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(14 * MIB, 5);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    static const uint32_t ends[] = { 100000, 6000000, 6000001, 6100000, 13 * MIB, 14 * MIB };
    for (size_t i = 0, at = 0; i < sizeof ends / sizeof *ends; at = ends[i++])
        add_zlib(&stream, content.data + at, ends[i] - at, 6, 0, NULL);
    expect_ranges(&stream, &content);
    cr_assert_gt(expect_splice(&stream, &content, 0, content.size), stream.size / 2);
}

/* Blocks of 4 MB, as zlib makes them of zeros: whole stretches without a cut. */
Test(splice, finds_no_cut_in_long_blocks)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(MIB, 6);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    memset(sfs_buf_grow(&content, 20 * MIB), 0, 20 * MIB);
    content.size += 20 * MIB;
    AUTO(sfs_buf_close) struct sfs_buf more = make_content(3 * MIB, 7);
    sfs_buf_add(&content, more.data, more.size);
    add_zlib(&stream, content.data, content.size, 6, 0, NULL);
    expect_ranges(&stream, &content);
}
