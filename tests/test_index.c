#include "layer/index.h"

#include "layer_fixture.h"
#include <errno.h>
#include <stagefs/format.h>
#include <sys/mman.h>

static char path[96];

static void open_index_test(void)
{
    fixture_open();
    snprintf(path, sizeof path, "%s/index", fixture_dir);
}

TestSuite(index, .init = open_index_test, .fini = fixture_close);

/* A small layer of every kind of section. */
static void write_index_with(const void *window, uint32_t window_size)
{
    struct sfs_point points[2] = { { .out = 0, .in = 0 },
                                   { .out = 600, .in = 600, .window_size = window_size } };
    static const uint8_t tags[32] = { 1, 2, 3 };
    struct sfs_index index = {
        .blob_size = 1024,
        .codec = SFS_CODEC_NONE,
        .seek = { .codec = SFS_CODEC_NONE,
                  .check = SFS_CHECK_GMAC,
                  .in_size = 1024,
                  .out_size = 1024,
                  .count = 2,
                  .points = points,
                  .tags = tags,
                  .windows = window,
                  .windows_size = window_size,
                  .key = { 9, 8, 7 } },
    };
    struct sfs_extent extent = { 0, 512, 5 };
    struct sfs_builder_xattr xattr = { "user.a", "value", 5 };
    struct sfs_builder_item file = { .inode = { .mode = S_IFREG | 0644, .size = 5 },
                                     .extents = &extent,
                                     .extent_count = 1,
                                     .xattrs = &xattr,
                                     .xattr_count = 1 };
    struct sfs_builder_item link = { .inode = { .mode = S_IFLNK | 0777 }, .target = "dir/file" };
    AUTO(sfs_builder_close) struct sfs_builder *builder = sfs_builder_open();
    AUTO(sfs_tables_close) void *memory = NULL;
    cr_assert_eq(sfs_builder_add(builder, "dir/file", &file, &err), 0);
    cr_assert_eq(sfs_builder_add(builder, "link", &link, &err), 0);
    cr_assert_eq(sfs_builder_whiteout(builder, "gone", &err), 0);
    cr_assert_eq(sfs_builder_finish(builder, &index.tables, &memory, &err), 0);
    index.digest.bytes[0] = 0xaa;
    index.diff_id.bytes[31] = 0xbb;
    AUTO(sfs_close_fd) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_eq(sfs_index_write(fd, &index, &err), 0, "%s", err.text);
}

static void write_index(void)
{
    write_index_with(NULL, 0);
}

static int open_index(struct sfs_index *index)
{
    AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    *index = (struct sfs_index){ .fd = -1 };
    return sfs_index_open(&fd, index, &err);
}

Test(index, what_was_written_is_read)
{
    AUTO(sfs_index_close) struct sfs_index index;
    write_index();
    cr_assert_eq(open_index(&index), 0, "%s", err.text);
    AUTO(sfs_free) char *text = tables_text(&index.tables);
    cr_assert_str_eq(text, "dir implied\ngone -\nlink l777 -> dir/file\ndir/file f644 5\n");
    cr_assert_eq(index.blob_size, 1024);
    cr_assert_eq(index.copy_size, 0);
    cr_assert_eq(index.digest.bytes[0], 0xaa);
    cr_assert_eq(index.diff_id.bytes[31], 0xbb);
    cr_assert_eq(index.seek.count, 2);
    cr_assert_eq(index.seek.points[1].out, 600);
    cr_assert_eq(index.seek.tags[2], 3);
    cr_assert_eq(index.seek.key[2], 7);
    cr_assert_eq(index.tables.xattr_count, 1);
}

Test(index, the_first_bytes_are_as_the_header_says)
{
    static const char start[] = "SFSINDEX\4\0\0\0\40\1\0\0";
    AUTO(sfs_free) char *data = NULL;
    size_t size = 0;
    write_index();
    cr_assert_eq(sfs_io_read_file(AT_FDCWD, path, 1 << 20, &data, &size, &err), 0);
    cr_assert_eq(memcmp(data, start, sizeof start - 1), 0);
    uint64_t file_size;
    memcpy(&file_size, data + 16, sizeof file_size);
    cr_assert_eq(file_size, size);
    cr_assert_eq((unsigned char)data[32], 0xaa);
}

static int try_bytes(const char *data, size_t size)
{
    AUTO(sfs_index_close) struct sfs_index index = { .fd = -1 };
    AUTO(sfs_close_fd) int fd = memfd_create("index", MFD_CLOEXEC);
    cr_assert_eq(sfs_io_write_all(fd, data, size), 0);
    return sfs_index_open(&fd, &index, &err);
}

Test(index, cut_at_any_length_is_refused)
{
    AUTO(sfs_free) char *data = NULL;
    size_t size = 0;
    write_index();
    cr_assert_eq(sfs_io_read_file(AT_FDCWD, path, 1 << 20, &data, &size, &err), 0);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(try_bytes(data, i), -EBADMSG, "cut at %zu of %zu", i, size);
    cr_assert_eq(try_bytes(data, size), 0);
}

Test(index, any_flipped_bit_is_refused)
{
    AUTO(sfs_free) char *data = NULL;
    size_t size = 0;
    write_index();
    cr_assert_eq(sfs_io_read_file(AT_FDCWD, path, 1 << 20, &data, &size, &err), 0);
    for (size_t i = 0; i < 8 * size; i++) {
        data[i / 8] ^= (char)(1 << i % 8);
        cr_assert_eq(try_bytes(data, size), -EBADMSG, "bit %zu of byte %zu", i % 8, i / 8);
        data[i / 8] ^= (char)(1 << i % 8);
    }
}

Test(index, another_version_is_refused)
{
    AUTO(sfs_free) char *data = NULL;
    size_t size = 0;
    write_index();
    cr_assert_eq(sfs_io_read_file(AT_FDCWD, path, 1 << 20, &data, &size, &err), 0);
    data[8]++;
    cr_assert_eq(try_bytes(data, size), -EBADMSG);
    cr_assert_not_null(strstr(err.text, "another version"), "%s", err.text);
}

Test(index, more_behind_the_end_is_refused)
{
    AUTO(sfs_free) char *data = NULL;
    size_t size = 0;
    write_index();
    cr_assert_eq(sfs_io_read_file(AT_FDCWD, path, 1 << 20, &data, &size, &err), 0);
    cr_assert_eq(try_bytes(data, size + 1), -EBADMSG);
}

/* How many single flipped bytes of the file are found when it is opened. */
static size_t count_found(size_t *ret_size)
{
    AUTO(sfs_free) char *data = NULL;
    size_t found = 0;
    cr_assert_eq(sfs_io_read_file(AT_FDCWD, path, 1 << 20, &data, ret_size, &err), 0);
    for (size_t i = 0; i < *ret_size; i++) {
        data[i] ^= 1;
        found += try_bytes(data, *ret_size) == -EBADMSG;
        data[i] ^= 1;
    }
    return found;
}

Test(index, windows_that_carry_a_checksum_are_left_to_it)
{
    size_t size;
    write_index_with("\x28\xb5\x2f\xfd\x24window..", 13);
    size_t found = count_found(&size);
    cr_assert_eq(found, size - 16);
}

Test(index, windows_without_a_checksum_are_checked_with_the_rest)
{
    size_t size;
    write_index_with("\x28\xb5\x2f\xfd\x20window..", 13);
    size_t found = count_found(&size);
    cr_assert_eq(found, size);
    write_index_with("not zstd.", 9);
    found = count_found(&size);
    cr_assert_eq(found, size);
}

/* The pushed form holds names that nobody has compared with the layer. */
Test(index, the_form_for_other_machines_is_refused)
{
    write_index();
    AUTO(sfs_close_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    struct sfs_index index = { .fd = -1 };
    cr_assert_eq(sfs_index_open(&fd, &index, &err), 0, "%s", err.text);
    static const uint8_t digests[2 * 32];
    struct sfs_index pushed = index;
    pushed.seek.check = SFS_CHECK_PUBLIC;
    pushed.seek.tags = digests;
    AUTO(sfs_free) char *other = sfs_format("%s.pushed", path);
    AUTO(sfs_close_fd) int written = open(other, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(sfs_index_write(written, &pushed, &err), 0, "%s", err.text);
    sfs_index_close(&index);
    cr_assert_eq(sfs_index_open(&written, &index, &err), -EBADMSG);
    cr_assert_not_null(strstr(err.text, "an index of another machine"), "%s", err.text);
    unlink(other);
}
