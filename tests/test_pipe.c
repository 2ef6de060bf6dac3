#include "commit/pipe.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stagefs/auto.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

enum { SIZE = 21 << 20 }; /* more blocks than a small ring holds */

static struct sfs_error err;

static char *sample(void)
{
    char *data = malloc(SIZE);
    uint64_t state = 1;
    for (size_t i = 0; i < SIZE; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        data[i] = (char)((state >> 40) & (i >> 21 & 1 ? 0xff : 0x0f));
    }
    return data;
}

static struct sfs_pipe *open_pipe(enum sfs_compression format, unsigned threads, int fd)
{
    struct sfs_pipe *pipe = NULL;
    struct sfs_pipe_options options = { .threads = threads, .fd = fd, .name = "test" };
    cr_assert_eq(sfs_compress_plan(format, 0, &options.plan, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_pipe_open(&options, &pipe, &err), 0, "%s", err.text);
    return pipe;
}

/* Writes in pieces of `piece` bytes; returns what came out, in fresh memory. */
static char *run(enum sfs_compression format, unsigned threads, const char *data, size_t size,
                 size_t piece, struct sfs_pipe_result *ret_result)
{
    AUTO(sfs_close_fd) int fd = memfd_create("pipe", MFD_CLOEXEC);
    AUTO(sfs_pipe_close) struct sfs_pipe *pipe = open_pipe(format, threads, fd);
    for (size_t at = 0; at < size; at += piece)
        cr_assert_eq(sfs_pipe_write(pipe, data + at, size - at < piece ? size - at : piece, &err),
                     0);
    cr_assert_eq(sfs_pipe_finish(pipe, ret_result, &err), 0, "%s", err.text);
    cr_assert_eq(lseek(fd, 0, SEEK_END), (off_t)ret_result->out_size);
    char *out = malloc(ret_result->out_size);
    cr_assert_eq(pread(fd, out, ret_result->out_size, 0), (ssize_t)ret_result->out_size);
    return out;
}

static void same_whatever_the_threads(enum sfs_compression format)
{
    AUTO(sfs_free) char *data = sample();
    static const unsigned threads[] = { 1, 2, 8 };
    static const size_t pieces[] = { SIZE, 512, 1000003 };
    struct sfs_pipe_result first, next;
    AUTO(sfs_free) char *expected = run(format, 1, data, SIZE, SIZE, &first);
    for (size_t i = 0; i < 3; i++) {
        AUTO(sfs_free) char *out = run(format, threads[i], data, SIZE, pieces[i], &next);
        cr_assert_eq(next.out_size, first.out_size);
        cr_assert_eq(memcmp(out, expected, first.out_size), 0);
        cr_assert(sfs_digest_equal(&next.out_digest, &first.out_digest));
        cr_assert(sfs_digest_equal(&next.in_digest, &first.in_digest));
    }
}

Test(pipe, gives_the_same_gzip_with_1_2_and_8_threads)
{
    same_whatever_the_threads(SFS_COMPRESS_GZIP);
}

Test(pipe, gives_the_same_zstd_with_1_2_and_8_threads)
{
    same_whatever_the_threads(SFS_COMPRESS_ZSTD);
}

Test(pipe, gives_the_same_plain_bytes_with_1_2_and_8_threads)
{
    same_whatever_the_threads(SFS_COMPRESS_NONE);
}

Test(pipe, digests_what_goes_in_and_what_comes_out)
{
    AUTO(sfs_free) char *data = sample();
    static const enum sfs_compression formats[] = { SFS_COMPRESS_GZIP, SFS_COMPRESS_ZSTD,
                                                    SFS_COMPRESS_NONE };
    for (size_t i = 0; i < 3; i++) {
        struct sfs_pipe_result result;
        struct sfs_digest in, out;
        AUTO(sfs_free) char *blob = run(formats[i], 2, data, SIZE, SIZE, &result);
        sfs_digest_of(data, SIZE, &in);
        sfs_digest_of(blob, result.out_size, &out);
        cr_assert_eq(result.in_size, SIZE);
        cr_assert(sfs_digest_equal(&in, &result.in_digest));
        cr_assert(sfs_digest_equal(&out, &result.out_digest));
    }
}

Test(pipe, gives_zstd_that_decodes_to_what_went_in)
{
    AUTO(sfs_free) char *data = sample();
    AUTO(sfs_free) char *back = malloc(SIZE);
    struct sfs_pipe_result result;
    AUTO(sfs_free) char *blob = run(SFS_COMPRESS_ZSTD, 3, data, SIZE, 4099, &result);
    cr_assert_eq(ZSTD_decompress(back, SIZE, blob, result.out_size), SIZE);
    cr_assert_eq(memcmp(back, data, SIZE), 0);
}

Test(pipe, gives_gzip_that_decodes_to_what_went_in)
{
    AUTO(sfs_free) char *data = sample();
    AUTO(sfs_free) char *back = malloc(SIZE + 1);
    AUTO(sfs_close_fd) int fd = memfd_create("pipe", MFD_CLOEXEC);
    struct sfs_pipe_result result;
    AUTO(sfs_free) char *blob = run(SFS_COMPRESS_GZIP, 3, data, SIZE, 4099, &result);
    cr_assert_eq(write(fd, blob, result.out_size), (ssize_t)result.out_size);
    lseek(fd, 0, SEEK_SET);
    gzFile file = gzdopen(dup(fd), "rb");
    cr_assert_eq(gzread(file, back, SIZE + 1), SIZE);
    gzclose(file);
    cr_assert_eq(memcmp(back, data, SIZE), 0);
}

Test(pipe, tells_where_each_block_lies)
{
    AUTO(sfs_free) char *data = sample();
    AUTO(sfs_pipe_close) struct sfs_pipe *pipe = open_pipe(SFS_COMPRESS_GZIP, 2, -1);
    struct sfs_pipe_result result;
    cr_assert_eq(sfs_pipe_write(pipe, data, SIZE, &err), 0);
    cr_assert_eq(sfs_pipe_finish(pipe, &result, &err), 0);
    size_t count;
    const struct sfs_segment *segments = sfs_pipe_segments(pipe, &count);
    uint64_t in = 0, out = 0;
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(segments[i].in, in);
        cr_assert_eq(segments[i].out, out);
        in += segments[i].in_size;
        out += segments[i].out_size;
    }
    cr_assert_eq(in, SIZE);
    cr_assert_eq(out, result.out_size);
}

Test(pipe, writes_zeros_without_being_given_them)
{
    AUTO(sfs_free) char *zeros = calloc(1, SIZE);
    AUTO(sfs_pipe_close) struct sfs_pipe *pipe = open_pipe(SFS_COMPRESS_NONE, 1, -1);
    struct sfs_pipe_result result;
    struct sfs_digest expected;
    sfs_digest_of(zeros, SIZE, &expected);
    cr_assert_eq(sfs_pipe_write_zeros(pipe, SIZE, &err), 0);
    cr_assert_eq(sfs_pipe_finish(pipe, &result, &err), 0);
    cr_assert(sfs_digest_equal(&expected, &result.in_digest));
}

Test(pipe, reports_a_full_disk)
{
    AUTO(sfs_free) char *data = sample();
    static const enum sfs_compression formats[] = { SFS_COMPRESS_GZIP, SFS_COMPRESS_ZSTD,
                                                    SFS_COMPRESS_NONE };
    for (size_t i = 0; i < 3; i++) {
        AUTO(sfs_close_fd) int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
        AUTO(sfs_pipe_close) struct sfs_pipe *pipe = open_pipe(formats[i], 2, fd);
        struct sfs_pipe_result result;
        int r = sfs_pipe_write(pipe, data, SIZE, &err);
        if (r == 0)
            r = sfs_pipe_finish(pipe, &result, &err);
        cr_assert_eq(r, -ENOSPC);
        cr_assert_str_eq(err.text, "writing test: No space left on device");
    }
}

Test(pipe, can_be_closed_at_any_point)
{
    AUTO(sfs_free) char *data = sample();
    for (size_t size = 0; size < SIZE; size += 3 << 20) {
        AUTO(sfs_pipe_close) struct sfs_pipe *pipe = open_pipe(SFS_COMPRESS_GZIP, 4, -1);
        cr_assert_eq(sfs_pipe_write(pipe, data, size + 7, &err), 0);
    }
}

Test(pipe, starts_a_block_where_it_is_cut)
{
    AUTO(sfs_pipe_close) struct sfs_pipe *pipe = open_pipe(SFS_COMPRESS_GZIP, 2, -1);
    size_t count;
    cr_assert_eq(sfs_pipe_cut(pipe, &err), 0);
    cr_assert_eq(sfs_pipe_write(pipe, "abc", 3, &err), 0);
    cr_assert_eq(sfs_pipe_cut(pipe, &err), 0);
    cr_assert_eq(sfs_pipe_cut(pipe, &err), 0);
    cr_assert_eq(sfs_pipe_position(pipe), 3);
    cr_assert_eq(sfs_pipe_write(pipe, "de", 2, &err), 0);
    cr_assert_eq(sfs_pipe_drain(pipe, &err), 0);
    const struct sfs_segment *segments = sfs_pipe_segments(pipe, &count);
    cr_assert_eq(count, 2);
    cr_assert_eq(segments[0].in_size, 3);
    cr_assert_eq(segments[1].in, 3);
    cr_assert_eq(segments[1].out, segments[0].out_size);
    cr_assert_eq(sfs_pipe_out_size(pipe), segments[1].out + segments[1].out_size);
}

Test(pipe, puts_raw_bytes_into_the_file_alone)
{
    AUTO(sfs_close_fd) int fd = memfd_create("out", MFD_CLOEXEC);
    AUTO(sfs_pipe_close) struct sfs_pipe *pipe = open_pipe(SFS_COMPRESS_ZSTD, 2, fd);
    struct sfs_pipe_result result;
    struct sfs_digest in, out;
    cr_assert_eq(sfs_pipe_write(pipe, "abc", 3, &err), 0);
    cr_assert_eq(sfs_pipe_drain(pipe, &err), 0);
    uint64_t at = sfs_pipe_out_size(pipe);
    cr_assert_eq(sfs_pipe_put_raw(pipe, "raw", 3, &err), 0);
    cr_assert_eq(sfs_pipe_finish(pipe, &result, &err), 0);
    char data[512];
    ssize_t size = pread(fd, data, sizeof data, 0);
    cr_assert_eq((uint64_t)size, result.out_size);
    cr_assert_eq(memcmp(data + at, "raw", 3), 0);
    cr_assert_eq(sfs_digest_of("abc", 3, &in), 0);
    cr_assert_eq(sfs_digest_of(data, (size_t)size, &out), 0);
    cr_assert(sfs_digest_equal(&in, &result.in_digest));
    cr_assert(sfs_digest_equal(&out, &result.out_digest));
}
