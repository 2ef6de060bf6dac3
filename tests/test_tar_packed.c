/* Bytes out of a stream that may be compressed, and whether libarchive is loaded for them. */
#include "layer/archive_api.h"
#include "layer/tar_packed.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stagefs/auto.h>
#include <string.h>

static struct sfs_error err;

/* A source that lends what it has in pieces. */
struct pieces {
    const char *data;
    size_t size, piece, at;
    bool breaks; /* instead of ending */
};

static int lend_piece(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *error)
{
    struct pieces *pieces = user;
    size_t left = pieces->size - pieces->at;
    if (left == 0 && pieces->breaks)
        return sfs_fail(error, EIO, "the disk is gone");
    *ret_data = pieces->data + pieces->at;
    *ret_size = left < pieces->piece ? left : pieces->piece;
    pieces->at += *ret_size;
    return 0;
}

/* Reads all of it to `out`. */
static int unpack(struct pieces *pieces, struct sfs_buf *out)
{
    const struct sfs_tar_source source = { .next = lend_piece, .user = pieces };
    AUTO(sfs_tar_packed_close) struct sfs_tar_packed *packed = NULL;
    int r = sfs_tar_packed_open(&source, &packed, &err);
    for (size_t size = 1; r == 0 && size > 0;) {
        const void *data;
        r = sfs_tar_packed_next(packed, &data, &size, &err);
        if (r == 0)
            sfs_buf_add(out, data, size);
    }
    return r;
}

static void expect_unpacked(const char *data, size_t size, const char *wanted, size_t wanted_size)
{
    for (size_t piece = 2; piece <= 4096; piece *= 8) {
        AUTO(sfs_buf_close) struct sfs_buf out = { 0 };
        struct pieces pieces = { .data = data, .size = size, .piece = piece };
        cr_assert_eq(unpack(&pieces, &out), 0, "%s", err.text);
        cr_assert_eq(out.size, wanted_size, "%zu bytes of %zu", out.size, wanted_size);
        cr_assert(out.size == 0 || memcmp(out.data, wanted, wanted_size) == 0);
    }
}

static bool libarchive_is_loaded(void)
{
    return sfs_archive_api_get()->archive_read_new != NULL;
}

Test(tar_packed, lends_what_is_not_compressed_without_libarchive)
{
    static const char *const texts[] = {
        "", "B", "\x1f", "x\n", "#!/bin/sh\nexec true\n", "P5 pgm"
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_unpacked(texts[i], strlen(texts[i]), texts[i], strlen(texts[i]));
    cr_assert_not(libarchive_is_loaded());
}

/* A word, as `command` compresses it. */
static size_t compress(const char *command, char *out, size_t room)
{
    char line[100];
    snprintf(line, sizeof line, "printf 'four words of text' | %s", command);
    FILE *stream = popen(line, "r");
    cr_assert(stream);
    size_t size = fread(out, 1, room, stream);
    cr_assert_eq(pclose(stream), 0, "%s", command);
    return size;
}

Test(tar_packed, decodes_what_is_compressed)
{
    static const char *const commands[] = { "gzip", "bzip2", "xz", "zstd -q" };
    static const char text[] = "four words of text";
    char packed[1000];
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        size_t size = compress(commands[i], packed, sizeof packed);
        expect_unpacked(packed, size, text, sizeof text - 1);
        cr_assert_eq(libarchive_is_loaded(), i > 0, "%s", commands[i]);
    }
}

Test(tar_packed, lends_what_only_begins_like_something_compressed)
{
    static const char *const texts[] = { "BZ", "BZhello", "P*",
                                         "\xfd"
                                         "7z",
                                         "\x28\xb5 " };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_unpacked(texts[i], strlen(texts[i]), texts[i], strlen(texts[i]));
    cr_assert(libarchive_is_loaded());
}

Test(tar_packed, hands_on_what_the_source_says)
{
    static const char *const texts[] = { "", "plain", "BZ plain", "\x1f\x8b" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        AUTO(sfs_buf_close) struct sfs_buf out = { 0 };
        struct pieces pieces = { texts[i], strlen(texts[i]), 64, 0, true };
        cr_assert_eq(unpack(&pieces, &out), -EIO, "%s", texts[i]);
        cr_assert_str_eq(err.text, "the disk is gone");
    }
}

Test(tar_packed, passes_over_a_frame_of_zstd_that_is_to_be_skipped)
{
    char packed[1000] = "\x5e\x2a\x4d\x18\x04\0\0\0skip";
    size_t size = compress("zstd -q", packed + 12, sizeof packed - 12);
    expect_unpacked(packed, size + 12, "four words of text", 18);
}
