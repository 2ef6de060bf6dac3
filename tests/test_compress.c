#include "commit/compress.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stagefs/auto.h>
#include <zlib.h>
#include <zstd.h>

static struct sfs_compress_plan plan_of(enum sfs_compression format, int level)
{
    struct sfs_compress_plan plan;
    struct sfs_error err;
    cr_assert_eq(sfs_compress_plan(format, level, &plan, &err), 0, "%s", err.text);
    return plan;
}

/* Numbers that no compressor finds a pattern in. */
static void fill_noise(char *data, size_t size)
{
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < size; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data[i] = (char)(state >> 32);
    }
}

static void fill_text(char *data, size_t size)
{
    char word[32];
    for (size_t at = 0, i = 0; at < size; i++) {
        int n = snprintf(word, sizeof word, "line %zu of the text\n", i * i % 9973);
        for (int k = 0; k < n && at < size; k++)
            data[at++] = word[k];
    }
}

static void add_block(struct sfs_buf *out, struct sfs_compressor *compressor,
                      const struct sfs_compress_plan *plan, const char *data, size_t size)
{
    size_t bound = sfs_compress_bound(plan, size);
    char *room = malloc(bound);
    ssize_t n = sfs_compressor_run(compressor, data, size, room, bound);
    cr_assert_gt(n, 0);
    sfs_buf_add(out, room, (size_t)n);
    free(room);
}

static size_t compressed_size(enum sfs_compression format, int level, const char *data, size_t size)
{
    struct sfs_compress_plan plan = plan_of(format, level);
    AUTO(sfs_compressor_close) struct sfs_compressor *compressor = sfs_compressor_open(&plan);
    AUTO(sfs_buf_close) struct sfs_buf out = { 0 };
    add_block(&out, compressor, &plan, data, size);
    return out.size;
}

/* gunzip of all members, as zcat does. */
static size_t gunzip(const struct sfs_buf *in, char *out, size_t room)
{
    z_stream z = { .next_in = (Bytef *)in->data, .avail_in = (uInt)in->size };
    size_t done = 0;
    while (z.avail_in > 0) {
        z.next_out = (Bytef *)out + done;
        z.avail_out = (uInt)(room - done);
        cr_assert_eq(inflateInit2(&z, 31), Z_OK);
        cr_assert_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
        done = (size_t)((char *)z.next_out - out);
        inflateEnd(&z);
    }
    return done;
}

Test(compress_gzip, gives_members_that_together_are_one_stream)
{
    enum { SIZE = 3 << 20 };
    AUTO(sfs_free) char *data = malloc(SIZE);
    AUTO(sfs_free) char *back = malloc(SIZE);
    AUTO(sfs_buf_close) struct sfs_buf out = { 0 };
    fill_text(data, SIZE);
    fill_noise(data + (1 << 20), 1 << 20);
    struct sfs_compress_plan plan = plan_of(SFS_COMPRESS_GZIP, 0);
    AUTO(sfs_compressor_close) struct sfs_compressor *compressor = sfs_compressor_open(&plan);
    for (size_t i = 0; i < 3; i++)
        add_block(&out, compressor, &plan, data + (i << 20), 1 << 20);
    cr_assert_eq(gunzip(&out, back, SIZE), SIZE);
    cr_assert_eq(memcmp(data, back, SIZE), 0);
}

Test(compress_gzip, stores_noise_for_next_to_nothing)
{
    enum { SIZE = 1 << 20 };
    AUTO(sfs_free) char *data = malloc(SIZE);
    fill_noise(data, SIZE);
    size_t size = compressed_size(SFS_COMPRESS_GZIP, 0, data, SIZE);
    cr_assert_gt(size, SIZE);
    cr_assert_lt(size, SIZE + SIZE / 1000);
}

Test(compress_gzip, shrinks_text_that_stands_among_noise)
{
    enum { SIZE = 1 << 20 };
    AUTO(sfs_free) char *data = malloc(SIZE);
    fill_noise(data, SIZE);
    fill_text(data + SIZE / 2, SIZE / 2);
    cr_assert_lt(compressed_size(SFS_COMPRESS_GZIP, 0, data, SIZE), SIZE * 7 / 10);
}

Test(compress_gzip, takes_blocks_of_any_size)
{
    AUTO(sfs_free) char *data = malloc(200000);
    AUTO(sfs_free) char *back = malloc(200000);
    fill_noise(data, 200000);
    static const size_t sizes[] = { 1, 511, 512, 32768, 65535, 65536, 65537, 200000 };
    struct sfs_compress_plan plan = plan_of(SFS_COMPRESS_GZIP, 0);
    AUTO(sfs_compressor_close) struct sfs_compressor *compressor = sfs_compressor_open(&plan);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        AUTO(sfs_buf_close) struct sfs_buf out = { 0 };
        add_block(&out, compressor, &plan, data, sizes[i]);
        cr_assert_eq(gunzip(&out, back, 200000), sizes[i]);
        cr_assert_eq(memcmp(data, back, sizes[i]), 0);
    }
}

Test(compress_gzip, obeys_a_level)
{
    enum { SIZE = 1 << 20 };
    AUTO(sfs_free) char *data = malloc(SIZE);
    fill_text(data, SIZE);
    cr_assert_lt(compressed_size(SFS_COMPRESS_GZIP, 9, data, SIZE),
                 compressed_size(SFS_COMPRESS_GZIP, 1, data, SIZE));
}

Test(compress_gzip, does_not_remember_earlier_blocks)
{
    enum { SIZE = 1 << 20 };
    AUTO(sfs_free) char *data = malloc(SIZE);
    AUTO(sfs_buf_close) struct sfs_buf first = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf second = { 0 };
    fill_text(data, SIZE);
    struct sfs_compress_plan plan = plan_of(SFS_COMPRESS_GZIP, 0);
    AUTO(sfs_compressor_close) struct sfs_compressor *compressor = sfs_compressor_open(&plan);
    add_block(&first, compressor, &plan, data, SIZE);
    add_block(&second, compressor, &plan, data, SIZE);
    cr_assert_eq(first.size, second.size);
    cr_assert_eq(memcmp(first.data, second.data, first.size), 0);
}

static uint32_t read_u32(const char *at)
{
    const unsigned char *bytes = (const unsigned char *)at;
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

Test(compress_zstd, gives_frames_with_size_and_checksum)
{
    enum { SIZE = 4 << 20 };
    AUTO(sfs_free) char *data = malloc(SIZE);
    AUTO(sfs_buf_close) struct sfs_buf out = { 0 };
    fill_text(data, SIZE);
    struct sfs_compress_plan plan = plan_of(SFS_COMPRESS_ZSTD, 0);
    AUTO(sfs_compressor_close) struct sfs_compressor *compressor = sfs_compressor_open(&plan);
    add_block(&out, compressor, &plan, data, SIZE);
    cr_assert_eq(ZSTD_getFrameContentSize(out.data, out.size), SIZE);
    cr_assert(out.data[4] & 4, "the frame header has the checksum flag");
    cr_assert_eq(ZSTD_findFrameCompressedSize(out.data, out.size), out.size);
}

Test(compress_zstd, ends_with_a_seek_table_that_readers_skip)
{
    enum { BLOCK = 100000, COUNT = 3 };
    AUTO(sfs_free) char *data = malloc(BLOCK * COUNT);
    AUTO(sfs_free) char *back = malloc(BLOCK * COUNT);
    AUTO(sfs_buf_close) struct sfs_buf out = { 0 };
    fill_text(data, BLOCK * COUNT);
    struct sfs_compress_plan plan = plan_of(SFS_COMPRESS_ZSTD, 0);
    AUTO(sfs_compressor_close) struct sfs_compressor *compressor = sfs_compressor_open(&plan);
    struct sfs_segment segments[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        size_t before = out.size;
        add_block(&out, compressor, &plan, data + i * BLOCK, BLOCK);
        segments[i] = (struct sfs_segment){ .in = i * BLOCK,
                                            .out = before,
                                            .in_size = BLOCK,
                                            .out_size = (uint32_t)(out.size - before) };
    }
    cr_assert_eq(sfs_compress_add_tail(&plan, segments, COUNT, &out), 0);
    const char *footer = out.data + out.size - 9;
    cr_assert_eq(read_u32(footer), COUNT);
    cr_assert_eq(footer[4], 0);
    cr_assert_eq(read_u32(footer + 5), 0x8f92eab1u);
    const char *frame = footer - 8 * COUNT - 8;
    cr_assert_eq(read_u32(frame), 0x184d2a5eu);
    cr_assert_eq(read_u32(frame + 4), 8 * COUNT + 9);
    cr_assert_eq(read_u32(frame + 8 + 8), segments[1].out_size);
    cr_assert_eq(read_u32(frame + 8 + 12), BLOCK);
    cr_assert_eq(ZSTD_decompress(back, BLOCK * COUNT, out.data, out.size), BLOCK * COUNT);
    cr_assert_eq(memcmp(data, back, BLOCK * COUNT), 0);
}

Test(compress_plan, refuses_levels_that_are_not_there)
{
    struct sfs_compress_plan plan;
    struct sfs_error err;
    cr_assert_eq(sfs_compress_plan(SFS_COMPRESS_GZIP, 13, &plan, &err), -EINVAL);
    cr_assert_str_eq(err.text, "gzip has levels 1 to 12, not 13");
    cr_assert_eq(sfs_compress_plan(SFS_COMPRESS_GZIP, -1, &plan, &err), -EINVAL);
    cr_assert_eq(sfs_compress_plan(SFS_COMPRESS_ZSTD, 100, &plan, &err), -EINVAL);
    cr_assert_eq(sfs_compress_plan(SFS_COMPRESS_NONE, 1, &plan, &err), -EINVAL);
}

Test(compression, is_known_by_its_name)
{
    static const char *const names[] = { "gzip", "zstd", "none", "estargz", "zstd:chunked" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        enum sfs_compression compression;
        cr_assert_eq(sfs_compression_parse(names[i], &compression, NULL), 0, "%s", names[i]);
        cr_assert_str_eq(sfs_compression_name(compression), names[i]);
    }
}

Test(compression, that_is_unknown_lists_those_that_there_are)
{
    enum sfs_compression compression;
    struct sfs_error err;
    cr_assert_eq(sfs_compression_parse("lz4", &compression, &err), -EINVAL);
    cr_assert_str_eq(err.text,
                     "no compression 'lz4' (there are gzip, zstd, none, estargz, zstd:chunked)");
    cr_assert_eq(sfs_compression_parse("zstd:chunky", &compression, &err), -EINVAL);
    cr_assert_str_eq(err.text, "no compression 'zstd:chunky'; did you mean 'zstd:chunked'? (there "
                               "are gzip, zstd, none, estargz, zstd:chunked)");
}

Test(compress_plan, has_the_media_type_of_its_codec)
{
    cr_assert_str_eq(plan_of(SFS_COMPRESS_NONE, 0).media_type,
                     "application/vnd.oci.image.layer.v1.tar");
    cr_assert_str_eq(plan_of(SFS_COMPRESS_ESTARGZ, 0).media_type,
                     "application/vnd.oci.image.layer.v1.tar+gzip");
    cr_assert_str_eq(plan_of(SFS_COMPRESS_ZSTD_CHUNKED, 0).media_type,
                     "application/vnd.oci.image.layer.v1.tar+zstd");
}

Test(compress_plan, names_library_and_level)
{
    struct sfs_compress_plan plan = plan_of(SFS_COMPRESS_ZSTD, 0);
    cr_assert_eq(strncmp(plan.name, "zstd libzstd 1.", 15), 0, "%s", plan.name);
    cr_assert_not_null(strstr(plan.name, " level 3"));
}

Test(compress_plan, makes_room_for_a_chunk_in_a_block)
{
    static const enum sfs_compression formats[] = { SFS_COMPRESS_ESTARGZ,
                                                    SFS_COMPRESS_ZSTD_CHUNKED };
    for (size_t i = 0; i < 2; i++) {
        struct sfs_compress_plan plan = plan_of(formats[i], 0);
        cr_assert_neq(plan.contents, SFS_CONTENTS_NONE);
        cr_assert_gt(plan.chunk_size, 0);
        cr_assert_geq(plan.block_size, plan.chunk_size);
    }
}

Test(compress_zstd, with_a_table_of_contents_has_no_seek_table)
{
    struct sfs_compress_plan plan = plan_of(SFS_COMPRESS_ZSTD_CHUNKED, 0);
    const struct sfs_segment segment = { .in_size = 1, .out_size = 1 };
    AUTO(sfs_buf_close) struct sfs_buf tail = { 0 };
    cr_assert_eq(sfs_compress_add_tail(&plan, &segment, 1, &tail), 0);
    cr_assert_eq(tail.size, 0);
}
