/* fs/blob: one pass over gzip, zstd and plain streams of every kind; every point it makes is
 * entered again. */
#include "blob_support.h"
#include "support.h"
#include <criterion/criterion.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define MIB (1u << 20)

static struct sfs_error err;

/* Every span, entered by itself, gives the bytes that the pass gave. */
static void check_spans(struct sfs_blob *blob, const struct sfs_seek_table *table,
                        const struct sfs_buf *content)
{
    cr_assert_eq(sfs_seek_check(table, blob->size, &err), 0, "%s", err.text);
    cr_assert_eq(table->out_size, content->size);
    uint8_t *out = malloc(SFS_SPAN_MAX);
    for (uint32_t i = 0; i < table->count; i++) {
        uint64_t size = sfs_seek_size(table, i);
        if (size == 0)
            continue;
        int r = decode_span(blob, table, i, out, &err);
        cr_assert_eq(r, 0, "span %u: %s", i, err.text);
        cr_assert(memcmp(out, content->data + table->points[i].out, size) == 0, "span %u", i);
    }
    free(out);
}

/* The same, where windows lie in a file, as an index has them. */
static void check_spans_from_file(struct sfs_blob *blob, const struct sfs_seek_table *table,
                                  const struct sfs_buf *content)
{
    struct sfs_seek_table filed = *table;
    AUTO(sfs_close_fd) int fd = memfd_create("windows", MFD_CLOEXEC);
    cr_assert_eq(pwrite(fd, table->windows, table->windows_size, 99), table->windows_size);
    filed.windows = NULL;
    filed.windows_fd = fd;
    filed.windows_at = 99;
    check_spans(blob, &filed, content);
}

/* Unpacks, compares with `content` and checks all spans. Returns how many there are. */
static uint32_t check_stream(const struct sfs_buf *stream, enum sfs_codec codec,
                             const struct sfs_buf *content)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = blob_of(stream->data, stream->size);
    AUTO(sfs_buf_close) struct sfs_buf got = { 0 };
    struct sfs_unpacked unpacked;
    int r = unpack(blob, codec, 128 << 10, -1, &got, &unpacked, &err);
    cr_assert_eq(r, 0, "%s", err.text);
    cr_assert_eq(got.size, content->size);
    cr_assert(got.size == 0 || memcmp(got.data, content->data, got.size) == 0);
    struct sfs_digest in, out;
    sfs_digest_of(stream->data, stream->size, &in);
    sfs_digest_of(content->data, content->size, &out);
    cr_assert(sfs_digest_equal(&in, &unpacked.in_digest));
    cr_assert(sfs_digest_equal(&out, &unpacked.out_digest));
    check_spans(blob, &unpacked.table, content);
    check_spans_from_file(blob, &unpacked.table, content);
    uint32_t count = unpacked.table.count;
    sfs_unpacked_close(&unpacked);
    return count;
}

static int unpack_result(const void *data, size_t size, enum sfs_codec codec)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = blob_of(data, size);
    AUTO(sfs_buf_close) struct sfs_buf got = { 0 };
    struct sfs_unpacked unpacked;
    int r = unpack(blob, codec, 128 << 10, -1, &got, &unpacked, &err);
    struct sfs_digest in;
    sfs_digest_of(data, size, &in);
    cr_assert(sfs_digest_equal(&in, &unpacked.in_digest), "digest of a damaged blob");
    sfs_unpacked_close(&unpacked);
    return r;
}

Test(unpack_gzip, enters_what_zlib_writes_at_every_level_and_strategy)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(5 * MIB, 1);
    static const int kinds[][2] = { { 0, 0 },    { 1, 0 },          { 6, 0 },
                                    { 9, 0 },    { 6, Z_FILTERED }, { 6, Z_HUFFMAN_ONLY },
                                    { 6, Z_RLE } };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
        add_zlib(&stream, content.data, content.size, kinds[i][0], kinds[i][1], NULL);
        uint32_t count = check_stream(&stream, SFS_CODEC_GZIP, &content);
        cr_assert_geq(count, 12, "level %d strategy %d: %u points", kinds[i][0], kinds[i][1],
                      count);
    }
}

Test(unpack_gzip, enters_what_isa_l_and_libdeflate_write)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(5 * MIB, 2);
    for (int level = 1; level <= 3; level++) {
        AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
        add_isal(&stream, content.data, content.size, level);
        uint32_t count = check_stream(&stream, SFS_CODEC_GZIP, &content);
        cr_assert_geq(count, 8, "level %d: %u points", level, count);
    }
    for (int level = 0; level <= 12; level += 3) {
        AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
        add_libdeflate(&stream, content.data, content.size, level);
        cr_assert_geq(check_stream(&stream, SFS_CODEC_GZIP, &content), 8, "level %d", level);
    }
}

Test(unpack_gzip, reads_streams_of_fixed_codes_even_if_few_points_are_found)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(2 * MIB, 3);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    add_zlib(&stream, content.data, content.size, 6, Z_FIXED, NULL);
    check_stream(&stream, SFS_CODEC_GZIP, &content);
}

Test(unpack_gzip, starts_at_members_without_a_window)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(3 * MIB, 4);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    for (size_t at = 0; at < content.size; at += 100000) {
        size_t size = content.size - at < 100000 ? content.size - at : 100000;
        add_libdeflate(&stream, content.data + at, size, 6);
    }
    cr_assert_geq(check_stream(&stream, SFS_CODEC_GZIP, &content), 24);
}

Test(unpack_gzip, reads_members_of_every_size_and_empty_ones)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(600000, 5);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    size_t at = 0;
    for (size_t size = 0; at < content.size; size = size * 3 / 2 + 1) {
        size_t part = content.size - at < size ? content.size - at : size;
        add_zlib(&stream, content.data + at, part, (int)(size % 10), 0, NULL);
        add_zlib(&stream, "", 0, 6, 0, NULL);
        at += part;
    }
    check_stream(&stream, SFS_CODEC_GZIP, &content);
}

Test(unpack_gzip, skips_all_that_a_header_may_hold)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(300000, 6);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    static Bytef extra[5000], name[70000], comment[] = "a comment";
    memset(extra, 7, sizeof extra);
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    for (unsigned flags = 0; flags < 16; flags++) {
        gz_header header = { .text = 1,
                             .hcrc = (flags & 1) ? 1 : 0,
                             .extra = (flags & 2) ? extra : NULL,
                             .extra_len = sizeof extra,
                             .name = (flags & 4) ? name : NULL,
                             .comment = (flags & 8) ? comment : NULL };
        size_t at = content.size / 16 * flags;
        size_t size = flags < 15 ? content.size / 16 : content.size - at;
        add_zlib(&stream, content.data + at, size, 6, 0, &header);
    }
    check_stream(&stream, SFS_CODEC_GZIP, &content);
}

Test(unpack_gzip, notices_a_wrong_header_checksum)
{
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    Bytef name[] = "name";
    gz_header header = { .hcrc = 1, .name = name };
    add_zlib(&stream, "abc", 3, 6, 0, &header);
    stream.data[12] ^= 1;
    cr_assert_eq(unpack_result(stream.data, stream.size, SFS_CODEC_GZIP), -EBADMSG);
}

Test(unpack_gzip, refuses_a_name_without_end)
{
    static const uint8_t head[10] = { 0x1f, 0x8b, 8, 8 };
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    sfs_buf_add(&stream, head, sizeof head);
    memset(sfs_buf_grow(&stream, 3 * MIB), 'x', 3 * MIB);
    cr_assert_eq(unpack_result(stream.data, stream.size, SFS_CODEC_GZIP), -EBADMSG);
}

Test(unpack_gzip, ignores_what_gzip_ignores_behind_the_end)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(1 * MIB, 7);
    static const size_t sizes[] = { 1, 2, 511, 3 * MIB };
    for (int byte = 0; byte < 2; byte++) {
        for (size_t i = 0; i < 4; i++) {
            AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
            add_zlib(&stream, content.data, content.size, 6, 0, NULL);
            size_t end = stream.size;
            memset(sfs_buf_grow(&stream, sizes[i]), byte * 'g', sizes[i]);
            check_stream(&stream, SFS_CODEC_GZIP, &content);
            cr_assert_gt(stream.size, end);
        }
    }
}

Test(unpack_gzip, finds_points_between_stored_blocks)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(4 * MIB, 8);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    add_libdeflate(&stream, content.data, content.size, 0);
    uint32_t count = check_stream(&stream, SFS_CODEC_GZIP, &content);
    cr_assert_geq(count, 16, "%u points", count);
}

Test(unpack_gzip, enters_a_stream_that_inflates_a_thousand_times)
{
    struct sfs_buf content = { 0 };
    memset(sfs_buf_grow(&content, 200 * MIB), 0, 200 * MIB);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    add_zlib(&stream, content.data, content.size, 9, 0, NULL);
    check_stream(&stream, SFS_CODEC_GZIP, &content);
    sfs_buf_close(&content);
}

Test(unpack_gzip, says_so_if_one_block_is_larger_than_a_span_and_nothing_can_be_kept)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(40 * MIB, 9);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    add_isal(&stream, content.data, content.size, 0);
    int r = unpack_result(stream.data, stream.size, SFS_CODEC_GZIP);
    cr_assert_eq(r, -ENOTSUP);
    cr_assert(strstr(err.text, "seekable copy"), "%s", err.text);
}

Test(unpack_gzip, notices_truncation_at_every_region)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(400000, 10);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    add_zlib(&stream, content.data, content.size / 2, 6, 0, NULL);
    size_t first = stream.size;
    add_zlib(&stream, content.data, content.size / 2, 6, 0, NULL);
    for (size_t size = 0; size < stream.size; size += size < 40 ? 1 : 1 + size / 50) {
        if (size == first)
            continue;
        cr_assert_eq(unpack_result(stream.data, size, SFS_CODEC_GZIP), -EBADMSG, "%zu of %zu", size,
                     stream.size);
    }
    for (size_t cut = 1; cut < 12; cut++)
        cr_assert_eq(unpack_result(stream.data, stream.size - cut, SFS_CODEC_GZIP), -EBADMSG);
}

Test(unpack_gzip, notices_a_flipped_bit_anywhere_but_in_harmless_header_bytes)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(200000, 11);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    add_zlib(&stream, content.data, content.size, 6, 0, NULL);
    for (size_t at = 10; at < stream.size; at += support_step() + at / 100) {
        stream.data[at] ^= (char)(1 << at % 8);
        cr_assert_eq(unpack_result(stream.data, stream.size, SFS_CODEC_GZIP), -EBADMSG, "byte %zu",
                     at);
        stream.data[at] ^= (char)(1 << at % 8);
    }
}

Test(unpack_gzip, keeps_its_windows_small)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(20 * MIB, 12);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 }, got = { 0 };
    add_zlib(&stream, content.data, content.size, 6, 0, NULL);
    AUTO(sfs_blob_close) struct sfs_blob *blob = blob_of(stream.data, stream.size);
    struct sfs_unpacked unpacked;
    cr_assert_eq(unpack(blob, SFS_CODEC_GZIP, 0, -1, &got, &unpacked, &err), 0);
    cr_assert(unpacked.table.count >= 36 && unpacked.table.count <= 80, "%u points",
              unpacked.table.count);
    uint64_t kept = unpacked.table.windows_size + unpacked.table.count * 48ull;
    cr_assert_leq(kept, stream.size / 40, "%llu of %zu", (unsigned long long)kept, stream.size);
    sfs_unpacked_close(&unpacked);
}

Test(unpack_gzip, notices_a_damaged_window)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(4 * MIB, 13);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 }, got = { 0 };
    add_zlib(&stream, content.data, content.size, 6, 0, NULL);
    AUTO(sfs_blob_close) struct sfs_blob *blob = blob_of(stream.data, stream.size);
    AUTO(sfs_free) uint8_t *out = malloc(SFS_SPAN_MAX);
    struct sfs_unpacked unpacked;
    cr_assert_eq(unpack(blob, SFS_CODEC_GZIP, 0, -1, &got, &unpacked, &err), 0);
    const struct sfs_point *point = &unpacked.table.points[1];
    uint32_t refused = 0;
    cr_assert_gt(point->window_size, 0);
    uint8_t *window = (uint8_t *)(uintptr_t)unpacked.table.windows + point->window;
    for (uint32_t i = 0; i < point->window_size; i++) {
        window[i] ^= 1;
        int r = decode_span(blob, &unpacked.table, 1, out, &err);
        /* A few bits of a frame mean nothing. */
        cr_assert(r < 0 ||
                  memcmp(out, content.data + point->out, sfs_seek_size(&unpacked.table, 1)) == 0);
        refused += r < 0;
        window[i] ^= 1;
    }
    cr_assert_gt(refused, point->window_size * 9 / 10);
    sfs_unpacked_close(&unpacked);
}

Test(unpack_zstd, enters_small_frames_of_every_kind)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(5 * MIB, 20);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    add_skippable(&stream, 100);
    size_t at = 0;
    for (unsigned i = 0; at < content.size; i++) {
        size_t size = i % 3 == 0 ? 7 : i % 3 == 1 ? 100000 : 700000;
        if (size > content.size - at)
            size = content.size - at;
        add_zstd(&stream, content.data + at, size, (int)(i % 5) + 1, i % 2, i % 4 < 2);
        at += size;
        if (i % 6 == 0)
            add_skippable(&stream, i % 4 ? 0 : 400000);
        if (i % 7 == 0)
            add_zstd(&stream, "", 0, 1, i % 2, true);
    }
    add_skippable(&stream, 2 * MIB);
    cr_assert_geq(check_stream(&stream, SFS_CODEC_ZSTD, &content), 6);
}

Test(unpack_zstd, reads_a_stream_of_nothing_but_skippable_frames)
{
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    struct sfs_buf nothing = { 0 };
    add_skippable(&stream, 10);
    add_skippable(&stream, 3 * MIB);
    check_stream(&stream, SFS_CODEC_ZSTD, &nothing);
}

static void check_copied(const struct sfs_buf *stream, enum sfs_codec codec,
                         const struct sfs_buf *content)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = blob_of(stream->data, stream->size);
    AUTO(sfs_blob_close) struct sfs_blob *copy = NULL;
    AUTO(sfs_buf_close) struct sfs_buf got = { 0 };
    int fd = memfd_create("copy", MFD_CLOEXEC);
    struct sfs_unpacked unpacked;
    int r = unpack(blob, codec, 0, fd, &got, &unpacked, &err);
    cr_assert_eq(r, 0, "%s", err.text);
    cr_assert(unpacked.uses_copy);
    cr_assert_eq(got.size, content->size);
    cr_assert(got.size == 0 || memcmp(got.data, content->data, got.size) == 0);
    struct sfs_digest out;
    sfs_digest_of(content->data, content->size, &out);
    cr_assert(sfs_digest_equal(&out, &unpacked.out_digest));
    cr_assert_eq(sfs_blob_open_file(&fd, "copy", 0, UINT64_MAX, &copy, &err), 0);
    cr_assert_eq(copy->size, unpacked.copy_size);
    check_spans(copy, &unpacked.table, content);
    sfs_unpacked_close(&unpacked);
}

Test(unpack_zstd, copies_a_large_frame_so_that_it_can_be_entered)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(40 * MIB + 12345, 21);
    for (int pledge = 0; pledge < 2; pledge++) {
        AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
        add_zstd(&stream, content.data, content.size, 1, true, pledge);
        check_copied(&stream, SFS_CODEC_ZSTD, &content);
    }
}

Test(unpack_zstd, copies_all_of_a_stream_whose_last_frame_is_large)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(30 * MIB, 22);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    for (size_t at = 0; at < 12 * MIB; at += 3 * MIB)
        add_zstd(&stream, content.data + at, 3 * MIB, 1, false, true);
    add_zstd(&stream, content.data + 12 * MIB, 18 * MIB, 1, false, true);
    check_copied(&stream, SFS_CODEC_ZSTD, &content);
}

Test(unpack_gzip, copies_a_stream_whose_blocks_are_too_large)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(40 * MIB, 23);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    add_zlib(&stream, content.data, 10 * MIB, 6, 0, NULL);
    add_isal(&stream, content.data + 10 * MIB, 30 * MIB, 0);
    check_copied(&stream, SFS_CODEC_GZIP, &content);
}

Test(unpack_zstd, says_so_if_a_frame_is_too_large_and_nothing_can_be_kept)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(30 * MIB, 24);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    add_zstd(&stream, content.data, content.size, 1, false, true);
    cr_assert_eq(unpack_result(stream.data, stream.size, SFS_CODEC_ZSTD), -ENOTSUP);
}

Test(unpack_zstd, refuses_a_window_that_would_take_too_much_memory)
{
    /* A frame header with a window of 2 GiB, and an empty block. */
    static const uint8_t frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0 };
    cr_assert_eq(unpack_result(frame, sizeof frame, SFS_CODEC_ZSTD), -ENOTSUP);
    cr_assert(strstr(err.text, "128 MiB"), "%s", err.text);
}

Test(unpack_zstd, notices_truncation_and_flipped_bits)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(300000, 25);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    add_zstd(&stream, content.data, content.size, 3, true, true);
    for (size_t size = 0; size < stream.size; size += support_step() + size / 50)
        cr_assert_eq(unpack_result(stream.data, size, SFS_CODEC_ZSTD), -EBADMSG, "%zu", size);
    for (size_t at = 0; at < stream.size; at += support_step() + at / 100) {
        stream.data[at] ^= 0x10;
        int r = unpack_result(stream.data, stream.size, SFS_CODEC_ZSTD);
        /* A frame header has one bit that nobody reads, and four bytes of size. */
        cr_assert(r == -EBADMSG || at == 4 || (at <= 8 && r == -ENOTSUP), "byte %zu", at);
        stream.data[at] ^= 0x10;
    }
}

Test(unpack_none, cuts_plain_bytes_into_spans)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(3 * MIB + 17, 30);
    cr_assert_eq(check_stream(&content, SFS_CODEC_NONE, &content), 4);
}

Test(unpack, reads_an_empty_blob)
{
    struct sfs_buf nothing = { 0 };
    cr_assert_eq(check_stream(&nothing, SFS_CODEC_NONE, &nothing), 0);
    cr_assert_eq(unpack_result("", 0, SFS_CODEC_GZIP), -EBADMSG);
    cr_assert_eq(unpack_result("", 0, SFS_CODEC_ZSTD), -EBADMSG);
}

Test(unpack, can_be_closed_or_finished_before_the_end)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(30 * MIB, 31);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    add_zlib(&stream, content.data, content.size, 1, 0, NULL);
    AUTO(sfs_blob_close) struct sfs_blob *blob = blob_of(stream.data, stream.size);
    for (int blocks = 0; blocks < 4; blocks++) {
        struct sfs_unpack_options options = { .codec = SFS_CODEC_GZIP, .copy_fd = -1 };
        AUTO(sfs_unpack_close) struct sfs_unpack *pass = NULL;
        cr_assert_eq(sfs_unpack_open(blob, &options, &pass, &err), 0);
        const void *data;
        size_t size;
        for (int i = 0; i < blocks; i++)
            cr_assert_eq(sfs_unpack_next(pass, &data, &size, &err), 0);
        if (blocks % 2 == 0)
            continue;
        struct sfs_unpacked unpacked;
        cr_assert_eq(sfs_unpack_finish(pass, &unpacked, &err), 0);
        cr_assert_eq(unpacked.table.out_size, content.size);
        sfs_unpacked_close(&unpacked);
    }
}

static ssize_t fail_to_read(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                            struct sfs_error *words)
{
    (void)buf;
    (void)size;
    if (offset < 3 * MIB)
        return memory_read_at(blob, buf, size, offset, words);
    return sfs_fail(words, EIO, "the disk is broken");
}

Test(unpack, tells_what_the_disk_says)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(8 * MIB, 33);
    static const struct sfs_blob_ops broken = { .read_at = fail_to_read, .close = memory_close };
    AUTO(sfs_blob_close) struct sfs_blob *blob = blob_of(content.data, content.size);
    blob->ops = &broken;
    AUTO(sfs_buf_close) struct sfs_buf got = { 0 };
    struct sfs_unpacked unpacked;
    cr_assert_eq(unpack(blob, SFS_CODEC_NONE, 0, -1, &got, &unpacked, &err), -EIO);
    cr_assert_str_eq(err.text, "the disk is broken");
}
