#include "layer/tar_write.h"

#include <archive.h>
#include <archive_entry.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>

static struct sfs_tar_entry entry_of(const char *path, uint32_t type, uint64_t size)
{
    return (struct sfs_tar_entry){ .path = path,
                                   .attr = { .mode = type | 0644, .size = size },
                                   .target = "" };
}

static struct sfs_buf header_of(const struct sfs_tar_entry *entry)
{
    struct sfs_buf buf = { 0 };
    struct sfs_error err = { "" };
    cr_assert_eq(sfs_tar_add_header(&buf, entry, &err), 0, "%s", err.text);
    cr_assert_eq(buf.size % SFS_TAR_BLOCK, 0);
    return buf;
}

static int error_of(const struct sfs_tar_entry *entry, struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf buf = { 0 };
    return sfs_tar_add_header(&buf, entry, err);
}

/* What libarchive makes of the header. */
struct read {
    struct archive *archive;
    struct archive_entry *entry;
    struct sfs_buf bytes;
};

static void read_done(struct read *read)
{
    archive_read_free(read->archive);
    sfs_buf_close(&read->bytes);
}

static struct read read_back(const struct sfs_tar_entry *entry)
{
    setlocale(LC_ALL, "C.UTF-8");
    struct read read = { .archive = archive_read_new(), .bytes = header_of(entry) };
    char zeros[SFS_TAR_END] = { 0 };
    sfs_buf_add(&read.bytes, zeros, sizeof zeros);
    archive_read_support_format_tar(read.archive);
    cr_assert_eq(archive_read_open_memory(read.archive, read.bytes.data, read.bytes.size), 0);
    cr_assert_eq(archive_read_next_header(read.archive, &read.entry), ARCHIVE_OK, "%s",
                 archive_error_string(read.archive));
    return read;
}

static char *repeat(char *buf, size_t size, const char *what)
{
    buf[0] = 0;
    for (size_t at = 0, n = strlen(what); at + n < size; at += n)
        memcpy(buf + at, what, n + 1);
    return buf;
}

Test(tar_header, of_a_plain_file_is_these_bytes)
{
    struct sfs_tar_entry entry = entry_of("bin/sh", S_IFREG, 5);
    entry.attr.mode = S_IFREG | 04755;
    entry.attr.uid = 1000;
    entry.attr.gid = 100;
    entry.attr.mtime_sec = 1700000000;
    AUTO(sfs_buf_close) struct sfs_buf header = header_of(&entry);

    char expected[512] = "bin/sh";
    memcpy(expected + 100,
           "0004755\0"
           "0001750\0"
           "0000144\0"
           "00000000005\0"
           "14524770400\0",
           48);
    memcpy(expected + 148, "010404\0 0", 9);
    memcpy(expected + 257,
           "ustar\0"
           "00",
           8);
    memcpy(expected + 329,
           "0000000\0"
           "0000000\0",
           16);
    cr_assert_eq(header.size, sizeof expected);
    for (size_t i = 0; i < sizeof expected; i++)
        cr_assert_eq(header.data[i], expected[i], "byte %zu is %02x", i,
                     (unsigned char)header.data[i]);
}

Test(tar_header, names_a_directory_with_a_slash)
{
    struct sfs_tar_entry entry = entry_of("usr/lib", S_IFDIR, 0);
    AUTO(sfs_buf_close) struct sfs_buf header = header_of(&entry);
    cr_assert_str_eq(header.data, "usr/lib/");
    cr_assert_eq(header.data[156], '5');
}

Test(tar_header, names_the_root)
{
    struct sfs_tar_entry entry = entry_of("", S_IFDIR, 0);
    AUTO(sfs_buf_close) struct sfs_buf header = header_of(&entry);
    cr_assert_str_eq(header.data, "./");
}

Test(tar_header, gives_size_to_regular_files_only)
{
    struct sfs_tar_entry entry = entry_of("link", S_IFLNK, 7);
    entry.target = "../file";
    AUTO(sfs_buf_close) struct sfs_buf header = header_of(&entry);
    cr_assert_str_eq(header.data + 124, "00000000000");
    cr_assert_str_eq(header.data + 157, "../file");

    struct sfs_tar_entry hard = entry_of("b", S_IFREG, 7);
    hard.hard_link = true;
    hard.target = "a";
    AUTO(sfs_buf_close) struct sfs_buf other = header_of(&hard);
    cr_assert_str_eq(other.data + 124, "00000000000");
    cr_assert_eq(other.data[156], '1');
    cr_assert_str_eq(other.data + 157, "a");
}

Test(tar_header, parts_a_long_name_without_pax)
{
    char name[200];
    repeat(name, 180, "directory/");
    struct sfs_tar_entry entry = entry_of(name, S_IFDIR, 0);
    AUTO(read_done) struct read read = read_back(&entry);
    cr_assert_eq(read.bytes.size, SFS_TAR_BLOCK + SFS_TAR_END);
    char *back = strdup(archive_entry_pathname(read.entry));
    back[strlen(back) - 1] = 0;
    cr_assert_str_eq(back, name);
    free(back);
}

Test(tar_header, survives_names_of_every_length)
{
    char name[600];
    for (size_t i = 1; i < sizeof name; i++) {
        memset(name, 'x', i);
        name[i] = 0;
        for (size_t at = 60; at + 1 < i; at += 61)
            name[at] = '/';
        struct sfs_tar_entry entry = entry_of(name, S_IFREG, 0);
        AUTO(read_done) struct read read = read_back(&entry);
        cr_assert_str_eq(archive_entry_pathname(read.entry), name, "%zu bytes", i);
    }
}

Test(tar_header, survives_link_targets_of_every_length)
{
    char target[300];
    for (size_t i = 1; i < sizeof target; i++) {
        memset(target, 'y', i);
        target[i] = 0;
        struct sfs_tar_entry entry = entry_of("l", S_IFLNK, i);
        entry.target = target;
        AUTO(read_done) struct read read = read_back(&entry);
        cr_assert_str_eq(archive_entry_symlink(read.entry), target, "%zu bytes", i);
    }
}

Test(tar_header, writes_other_letters_as_pax)
{
    struct sfs_tar_entry entry = entry_of("데이터/ü", S_IFREG, 0);
    AUTO(read_done) struct read read = read_back(&entry);
    cr_assert_eq(read.bytes.data[156], 'x');
    cr_assert_str_eq(archive_entry_pathname(read.entry), "데이터/ü");
    cr_assert_null(memmem(read.bytes.data, read.bytes.size, "hdrcharset", 10));
}

Test(tar_header, says_binary_before_a_name_that_is_no_utf8)
{
    static const char *const names[] = { "latin\xfc", "over\xc0\xaf", "surrogate\xed\xa0\x80",
                                         "cut\xe2\x82", "high\xf4\x90\x80\x80" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct sfs_tar_entry entry = entry_of(names[i], S_IFREG, 0);
        AUTO(read_done) struct read read = read_back(&entry);
        cr_assert_not_null(memmem(read.bytes.data, read.bytes.size, "21 hdrcharset=BINARY\n", 21));
        cr_assert_str_eq(archive_entry_pathname(read.entry), names[i]);
    }
}

Test(tar_header, counts_the_digits_of_a_record_in_its_length)
{
    /* 97, 98, 99: where the length itself grows by a digit. */
    char target[1100];
    for (size_t i = 1; i < sizeof target; i++) {
        memset(target, 'z', i);
        memcpy(target, "\xc3\xa9", i > 1 ? 2 : 0);
        target[i] = 0;
        struct sfs_tar_entry entry = entry_of("l", S_IFLNK, i);
        entry.target = target;
        AUTO(read_done) struct read read = read_back(&entry);
        cr_assert_str_eq(archive_entry_symlink(read.entry), target, "%zu bytes", i);
    }
}

Test(tar_header, holds_sizes_over_8_gib)
{
    struct sfs_tar_entry entry = entry_of("big", S_IFREG, 8589934592u);
    AUTO(read_done) struct read read = read_back(&entry);
    cr_assert_eq(archive_entry_size(read.entry), 8589934592);
    entry.attr.size = 8589934591u;
    AUTO(read_done) struct read smaller = read_back(&entry);
    cr_assert_eq(archive_entry_size(smaller.entry), 8589934591);
    cr_assert_eq(smaller.bytes.size, SFS_TAR_BLOCK + SFS_TAR_END);
}

Test(tar_header, holds_large_ids)
{
    struct sfs_tar_entry entry = entry_of("f", S_IFREG, 0);
    entry.attr.uid = 4294967294u;
    entry.attr.gid = 2097152;
    AUTO(read_done) struct read read = read_back(&entry);
    cr_assert_eq(archive_entry_uid(read.entry), 4294967294);
    cr_assert_eq(archive_entry_gid(read.entry), 2097152);
}

Test(tar_header, holds_times_before_1970_and_after_2242)
{
    static const int64_t times[] = { -1, -86400ll * 365 * 60, 077777777777, 0100000000000 };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct sfs_tar_entry entry = entry_of("f", S_IFREG, 0);
        entry.attr.mtime_sec = times[i];
        AUTO(read_done) struct read read = read_back(&entry);
        cr_assert_eq(archive_entry_mtime(read.entry), times[i]);
    }
}

Test(tar_header, drops_nanoseconds)
{
    struct sfs_tar_entry entry = entry_of("f", S_IFREG, 0);
    entry.attr.mtime_sec = 5;
    entry.attr.mtime_nsec = 999999999;
    AUTO(read_done) struct read read = read_back(&entry);
    cr_assert_eq(archive_entry_mtime(read.entry), 5);
    cr_assert_eq(archive_entry_mtime_nsec(read.entry), 0);
}

Test(tar_header, holds_nanoseconds_if_asked_to)
{
    static const struct {
        int64_t sec;
        uint32_t nsec;
        const char *record;
    } times[] = { { 5, 250000000, "mtime=5.250000000\n" },
                  { 5, 1, "mtime=5.000000001\n" },
                  { -6, 750000000, "mtime=-5.250000000\n" },
                  { -1, 750000000, "mtime=-0.250000000\n" },
                  { -6, 0, "mtime=-6\n" } };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct sfs_tar_entry entry = entry_of("f", S_IFREG, 0);
        entry.attr.mtime_sec = times[i].sec;
        entry.attr.mtime_nsec = times[i].nsec;
        entry.has_nanoseconds = true;
        AUTO(sfs_buf_close) struct sfs_buf header = header_of(&entry);
        cr_assert_not_null(
            memmem(header.data, header.size, times[i].record, strlen(times[i].record)), "%s",
            times[i].record);
    }
    struct sfs_tar_entry whole = entry_of("f", S_IFREG, 0);
    whole.attr.mtime_sec = 5;
    whole.has_nanoseconds = true;
    AUTO(sfs_buf_close) struct sfs_buf header = header_of(&whole);
    cr_expect_eq(header.size, SFS_TAR_BLOCK, "whole seconds fit into ustar");
}

Test(tar_header, has_the_map_of_a_sparse_file)
{
    const struct sfs_extent extents[] = { { .file_offset = 512, .size = 3 },
                                          { .file_offset = 1u << 20, .size = 5 } };
    struct sfs_tar_entry entry = entry_of("holes", S_IFREG, 1ull << 40);
    entry.is_sparse = true;
    entry.extents = extents;
    entry.extent_count = 2;
    AUTO(read_done) struct read read = read_back(&entry);
    cr_assert_str_eq(archive_entry_pathname(read.entry), "holes");
    cr_assert_eq(archive_entry_size(read.entry), 1ll << 40);
    cr_assert_str_eq(read.bytes.data + read.bytes.size - SFS_TAR_END - SFS_TAR_BLOCK,
                     "2\n512\n3\n1048576\n5\n");
}

Test(tar_header, keeps_xattrs_byte_by_byte)
{
    const struct sfs_xattr xattrs[] = { { "security.capability", "\1\0\0\2\n\0=\xff", 8 },
                                        { "user.empty", "", 0 } };
    struct sfs_tar_entry entry = entry_of("ping", S_IFREG, 0);
    entry.xattrs = xattrs;
    entry.xattr_count = 2;
    AUTO(read_done) struct read read = read_back(&entry);
    cr_assert_eq(archive_entry_xattr_reset(read.entry), 2);
    const char *name;
    const void *value;
    size_t size;
    int found = 0;
    while (archive_entry_xattr_next(read.entry, &name, &value, &size) == ARCHIVE_OK) {
        bool is_capability = strcmp(name, "security.capability") == 0;
        cr_assert(is_capability ? size == 8 && memcmp(value, xattrs[0].value, 8) == 0 : size == 0);
        found++;
    }
    cr_assert_eq(found, 2);
}

Test(tar_header, keeps_device_numbers)
{
    struct sfs_tar_entry entry = entry_of("null", S_IFCHR, 0);
    entry.attr.rdev_major = 4095;
    entry.attr.rdev_minor = 1048575;
    AUTO(read_done) struct read read = read_back(&entry);
    cr_assert_eq(archive_entry_rdevmajor(read.entry), 4095);
    cr_assert_eq(archive_entry_rdevminor(read.entry), 1048575);
    cr_assert_eq(archive_entry_filetype(read.entry), AE_IFCHR);
}

Test(tar_header, refuses_what_a_tar_cannot_express)
{
    struct sfs_error err;
    struct sfs_tar_entry socket = entry_of("run/s", S_IFSOCK, 0);
    cr_assert_eq(error_of(&socket, &err), -ENOTSUP);
    cr_assert_str_eq(err.text, "run/s: a tar cannot express a file of type 140000");

    const struct sfs_xattr xattr = { "user.a=b", "x", 1 };
    struct sfs_tar_entry equals = entry_of("f", S_IFREG, 0);
    equals.xattrs = &xattr;
    equals.xattr_count = 1;
    cr_assert_eq(error_of(&equals, &err), -ENOTSUP);

    struct sfs_tar_entry huge = entry_of("f", S_IFREG, UINT64_MAX);
    cr_assert_eq(error_of(&huge, &err), -ENOTSUP);
}

Test(tar, sets_a_size_afterwards_also_one_beyond_octal)
{
    static const uint64_t sizes[] = { 0, 5, 077777777777ull, 077777777777ull + 1, 1ull << 45 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const struct sfs_tar_entry entry = { .path = "a", .attr = { .mode = S_IFREG | 0644 } };
        AUTO(sfs_buf_close) struct sfs_buf buf = { 0 };
        struct sfs_error error;
        cr_assert_eq(sfs_tar_add_header(&buf, &entry, &error), 0);
        sfs_tar_set_size(buf.data, sizes[i]);
        struct archive *archive = archive_read_new();
        struct archive_entry *read;
        archive_read_support_format_tar(archive);
        cr_assert_eq(archive_read_open_memory(archive, buf.data, buf.size), ARCHIVE_OK);
        cr_assert_eq(archive_read_next_header(archive, &read), ARCHIVE_OK, "%s",
                     archive_error_string(archive));
        cr_assert_eq((uint64_t)archive_entry_size(read), sizes[i]);
        archive_read_free(archive);
    }
}
