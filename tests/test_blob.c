/* fs/blob: files and ranges of them, and the tag that guards what was read from them. */
#include "blob/gmac.h"
#include "blob_support.h"
#include <criterion/criterion.h>

static struct sfs_error err;

/* A file of the bytes 0, 1, 2, ... */
static int make_file(size_t size)
{
    int fd = memfd_create("blob", MFD_CLOEXEC);
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)i;
        cr_assert_eq(sfs_io_write_all(fd, &byte, 1), 0);
    }
    return fd;
}

Test(blob_file, reads_up_to_its_end)
{
    int fd = make_file(200);
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    cr_assert_eq(sfs_blob_open_file(&fd, "a file", 0, UINT64_MAX, &blob, &err), 0);
    cr_assert_eq(fd, -1, "the descriptor was taken over");
    cr_assert_eq(blob->size, 200);
    uint8_t bytes[300];
    cr_assert_eq(sfs_blob_read_at(blob, bytes, 300, 190, &err), 10);
    cr_assert_eq(bytes[9], 199);
    cr_assert_eq(sfs_blob_read_at(blob, bytes, 300, 200, &err), 0);
    cr_assert_eq(sfs_blob_read_at(blob, bytes, 300, UINT64_MAX, &err), 0);
}

Test(blob_file, shows_only_its_range)
{
    int fd = make_file(200);
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    cr_assert_eq(sfs_blob_open_file(&fd, "a member", 50, 20, &blob, &err), 0);
    sfs_blob_will_read(blob, 10, UINT64_MAX);
    sfs_blob_will_read(blob, 20, 1);
    uint8_t bytes[100];
    cr_assert_eq(sfs_blob_read_at(blob, bytes, 100, 5, &err), 15);
    cr_assert_eq(bytes[0], 55);
    cr_assert_eq(bytes[14], 69);
}

Test(blob_file, refuses_a_range_that_the_file_does_not_have)
{
    static const uint64_t ranges[][2] = {
        { 0, 201 }, { 200, 1 }, { 201, 0 }, { 201, UINT64_MAX }, { 2, UINT64_MAX - 1 }
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        int fd = make_file(200);
        struct sfs_blob *blob = NULL;
        cr_assert_eq(sfs_blob_open_file(&fd, "f", ranges[i][0], ranges[i][1], &blob, &err),
                     -EBADMSG);
        cr_assert_geq(fd, 0, "the caller keeps the descriptor");
        cr_assert_str_eq(err.text, "f is truncated: it has 200 bytes");
        close(fd);
    }
}

Test(blob_file, refuses_what_is_no_file)
{
    int fd = open("/", O_RDONLY | O_CLOEXEC);
    struct sfs_blob *blob = NULL;
    cr_assert_eq(sfs_blob_open_file(&fd, "/", 0, UINT64_MAX, &blob, &err), -EINVAL);
    close(fd);
}

Test(blob_file, says_so_if_the_file_was_cut_under_it)
{
    int fd = make_file(200), other = dup(fd);
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    cr_assert_eq(sfs_blob_open_file(&fd, "f", 0, UINT64_MAX, &blob, &err), 0);
    cr_assert_eq(ftruncate(other, 100), 0);
    uint8_t bytes[200];
    cr_assert_eq(sfs_blob_read_at(blob, bytes, 200, 0, &err), -EIO);
    cr_assert(strstr(err.text, "truncated"), "%s", err.text);
    close(other);
}

Test(gmac, tells_changed_bytes_other_keys_and_other_places_apart)
{
    struct sfs_gmac *gmac = sfs_gmac_open();
    uint8_t key[16], other[16], tag[16], data[1000] = { 1, 2, 3 };
    cr_assert_eq(sfs_gmac_make_key(key), 0);
    cr_assert_eq(sfs_gmac_make_key(other), 0);
    /* In pieces of odd sizes, as a pass sees them. */
    cr_assert_eq(sfs_gmac_start(gmac, key, 17), 0);
    cr_assert_eq(sfs_gmac_add(gmac, data, 1), 0);
    cr_assert_eq(sfs_gmac_add(gmac, data + 1, 0), 0);
    cr_assert_eq(sfs_gmac_add(gmac, data + 1, 500), 0);
    cr_assert_eq(sfs_gmac_add(gmac, data + 501, 499), 0);
    cr_assert_eq(sfs_gmac_finish(gmac, tag), 0);
    cr_assert_eq(sfs_gmac_check(gmac, key, 17, data, 1000, tag), 1);
    cr_assert_eq(sfs_gmac_check(gmac, key, 18, data, 1000, tag), 0);
    cr_assert_eq(sfs_gmac_check(gmac, other, 17, data, 1000, tag), 0);
    cr_assert_eq(sfs_gmac_check(gmac, key, 17, data, 999, tag), 0);
    data[999] ^= 1;
    cr_assert_eq(sfs_gmac_check(gmac, key, 17, data, 1000, tag), 0);
    sfs_gmac_close(&gmac);
}
