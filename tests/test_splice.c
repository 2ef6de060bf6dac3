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

TestSuite(splice, .init = open_cache, .fini = close_cache, .timeout = 600);

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

static void release_stretch(void *owner)
{
    sfs_stretch_release(owner);
}

/* What a stretch has of a range, as a commit puts it (layer_write.c): whole frames too. */
static void put_stretch(struct sfs_splice *splice, struct sfs_pipe *pipe,
                        const struct sfs_stretch *stretch, uint64_t *at, uint64_t end)
{
    uint64_t stretch_end = stretch->out + stretch->size;
    while (*at < end && *at < stretch_end) {
        const struct sfs_frame *frame = NULL;
        for (size_t i = 0; i < stretch->frame_count && !frame; i++)
            if (stretch->frames[i].out >= *at && stretch->frames[i].out_size >= 64 << 10 &&
                stretch->frames[i].out + stretch->frames[i].out_size <= end)
                frame = &stretch->frames[i];
        uint64_t stop = frame ? frame->out : end;
        cr_assert_eq(sfs_splice_put(splice, stretch, *at, stop, end, &err), 0, "%s", err.text);
        *at = stop < stretch_end ? stop : stretch_end;
        if (!frame)
            continue;
        const struct sfs_packed block = { .data = stretch->data + (frame->out - stretch->out),
                                          .packed = stretch->in + frame->in,
                                          .size = frame->out_size,
                                          .packed_size = frame->in_size,
                                          .release = release_stretch,
                                          .owner = (void *)(uintptr_t)stretch };
        sfs_stretch_hold(stretch);
        cr_assert_eq(sfs_pipe_put(pipe, &block, &err), 0, "%s", err.text);
        *at += frame->out_size;
    }
}

/* Puts a range into a pipe and returns what came out. */
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
        put_stretch(splice, pipe, stretch, &at, end);
        sfs_stretch_release(stretch);
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

static const uint32_t spacings[] = { 64 << 10, 256 << 10, 300000, MIB, 4 * MIB };
#define SPACINGS (sizeof spacings / sizeof *spacings)

/* One stream, with the points of its table in different places. */
struct tables {
    struct sfs_unpacked unpacked[SPACINGS];
    struct sfs_spans *spans[SPACINGS];
};

static void open_tables(const struct sfs_buf *stream, struct tables *ret_tables)
{
    *ret_tables = (struct tables){ 0 };
    for (size_t i = 0; i < SPACINGS; i++) {
        AUTO(sfs_buf_close) struct sfs_buf content = { 0 };
        struct sfs_blob *blob = blob_of(stream->data, stream->size);
        struct sfs_unpacked *unpacked = &ret_tables->unpacked[i];
        cr_assert_eq(unpack(blob, SFS_CODEC_GZIP, spacings[i], -1, &content, unpacked, &err), 0,
                     "%s", err.text);
        cr_assert_eq(
            sfs_spans_open(cache, &blob, &unpacked->table, "layer 3", &ret_tables->spans[i], &err),
            0);
    }
}

static void close_tables(struct tables *tables)
{
    for (size_t i = 0; i < SPACINGS; i++) {
        sfs_spans_close(&tables->spans[i]);
        sfs_unpacked_close(&tables->unpacked[i]);
    }
}

/* The same bytes come out wherever the table's points are. Returns how many were copied. */
static uint64_t expect_range(const struct tables *tables, const struct sfs_buf *content,
                             uint64_t at, uint64_t end)
{
    AUTO(sfs_buf_close) struct sfs_buf first = { 0 };
    uint64_t copied = 0;
    for (size_t i = 0; i < SPACINGS; i++) {
        AUTO(sfs_buf_close) struct sfs_buf out = put_range(tables->spans[i], at, end, &copied);
        if (i == 0) {
            expect_content(&out, content->data + at, end - at);
            first = out;
            out = (struct sfs_buf){ 0 };
            continue;
        }
        cr_assert(out.size == first.size && memcmp(out.data, first.data, out.size) == 0,
                  "spacing %u gives other bytes", spacings[i]);
    }
    return copied;
}

static uint64_t expect_splice(const struct sfs_buf *stream, const struct sfs_buf *content,
                              uint64_t at, uint64_t end)
{
    struct tables tables;
    open_tables(stream, &tables);
    uint64_t copied = expect_range(&tables, content, at, end);
    close_tables(&tables);
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
    struct tables tables;
    open_tables(stream, &tables);
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        uint64_t end = ranges[i][1] < content->size ? ranges[i][1] : content->size;
        uint64_t copied = expect_range(&tables, content, ranges[i][0], end);
        if (end - ranges[i][0] < MIB)
            cr_assert_eq(copied, 0);
    }
    close_tables(&tables);
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

/* With small blocks, so that points are where they are wanted; with a name it is not copied whole.
 */
static void add_member(struct sfs_buf *to, const char *data, size_t size, bool has_name)
{
    z_stream stream = { .next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)size };
    gz_header header = { .name = (Bytef *)(uintptr_t) "a name" };
    deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 6, 0);
    if (has_name)
        deflateSetHeader(&stream, &header);
    size_t room = size + size / 8 + 4096, start = to->size;
    stream.next_out = sfs_buf_grow(to, room);
    stream.avail_out = (uInt)room;
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    to->size = start + stream.total_out;
    deflateEnd(&stream);
}

/* Short members, of which every second is not copied whole. */
static void expect_members(unsigned seed)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(9 * MIB, seed);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    uint64_t state = seed;
    for (size_t at = 0, i = 0; at < content.size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        size_t part = 150000 + (size_t)(state >> 33) % 800000;
        part = part < content.size - at ? part : content.size - at;
        add_member(&stream, content.data + at, part, i % 2 == 0);
        at += part;
    }
    expect_splice(&stream, &content, 0, content.size);
}

/* A stretch begins where points are in different MiB of the content. Here a member ends just behind
 * the first MiB, the last point stands just before it, and the next is in another member, with no
 * cut between: it must not look as if one member went on. */
Test(splice, sees_a_member_end_behind_the_last_cut)
{
    AUTO(sfs_buf_close) struct sfs_buf content = { 0 };
    uint64_t state = 1;
    for (char *byte = sfs_buf_grow(&content, 2 * MIB); byte < content.data + 2 * MIB; byte++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        *byte = "etaoin shrdlu"[(state >> 33) % 13];
    }
    for (size_t first = 212000; first < 236000; first += 4000) {
        AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
        const size_t ends[] = { first, MIB + 8000, content.size };
        for (size_t i = 0, at = 0; i < 3; at = ends[i++])
            add_member(&stream, content.data + at, ends[i] - at, true);
        expect_splice(&stream, &content, 0, content.size);
    }
}

Test(splice, puts_whole_members_between_blocks)
{
    for (unsigned seed = 1; seed <= 3; seed++)
        expect_members(seed);
}

/* Decoded at once it looks like a frame, and else it does not. */
Test(splice, takes_an_only_member_for_no_frame)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(2 * MIB, 2);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    add_zlib(&stream, content.data, content.size, 6, 0, NULL);
    expect_splice(&stream, &content, 0, content.size);
}

/* Blocks of nothing take no memory, and are not copied. */
Test(splice, leaves_blocks_of_nothing_alone)
{
    static const char nothing[5] = { 0, 0, 0, (char)0xff, (char)0xff };
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(6 * MIB, 9);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf first = { 0 };
    add_flushed(&first, &content);
    for (size_t at = 0; at < first.size;) {
        char *flush = at > 10 ? memmem(first.data + at, first.size - at, nothing + 1, 4) : NULL;
        size_t end = at == 0 ? 11 : flush ? (size_t)(flush - first.data) + 4 : first.size;
        sfs_buf_add(&stream, first.data + at, end - at);
        for (size_t i = 0; flush && i < MIB / 5; i++)
            sfs_buf_add(&stream, nothing, sizeof nothing);
        at = end;
    }
    AUTO(sfs_buf_close) struct sfs_buf unpacked_content = { 0 };
    AUTO(sfs_unpacked_close) struct sfs_unpacked unpacked = { 0 };
    AUTO(sfs_spans_close) struct sfs_spans *spans = NULL;
    struct sfs_blob *blob = blob_of(stream.data, stream.size);
    uint64_t copied;
    cr_assert_eq(unpack(blob, SFS_CODEC_GZIP, 0, -1, &unpacked_content, &unpacked, &err), 0, "%s",
                 err.text);
    cr_assert_gt(stream.size, 40 * MIB);
    cr_assert_eq(sfs_spans_open(cache, &blob, &unpacked.table, "layer 3", &spans, &err), 0);
    AUTO(sfs_buf_close) struct sfs_buf out = put_range(spans, 0, content.size, &copied);
    expect_content(&out, content.data, content.size);
    cr_assert_lt(out.size, first.size * 2);
}

/* Blocks of 4 MB, as zlib makes them of zeros: whole stretches without a cut. */
Test(splice, finds_no_cut_in_long_blocks)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(MIB, 6);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    memset(sfs_buf_grow(&content, 20 * MIB), 0, 20 * MIB);
    AUTO(sfs_buf_close) struct sfs_buf more = make_content(3 * MIB, 7);
    sfs_buf_add(&content, more.data, more.size);
    add_zlib(&stream, content.data, content.size, 6, 0, NULL);
    expect_ranges(&stream, &content);
}
