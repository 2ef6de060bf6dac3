#include "layer/tar_header.h"
#include "tar_bytes.h"

#include <errno.h>

Test(tar_number, is_octal_text_or_base_256)
{
    static const struct {
        char field[13];
        int64_t expected; /* INT64_MIN: refused */
    } cases[] = {
        { "00000000644", 0644 },
        { "        644 ", 0644 },
        { "644         ", 0644 },
        { "644\0garbage", 0644 },
        { "            ", 0 },
        { "", 0 },
        { "777777777777", 0777777777777 },
        { "\x80\0\0\0\0\0\0\0\0\0\1\0", 256 },
        { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", -2 },
        { "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", INT64_MAX },
        { "\x80\0\0\0\x80\0\0\0\0\0\0\0", INT64_MIN }, /* over 63 bits */
        { "648", INT64_MIN },
        { "-644", INT64_MIN },
        { "6 4", INT64_MIN },
        { "64 \0x", INT64_MIN },
        { "\0"
          "644",
          INT64_MIN }, /* Go skips the NUL, GNU tar and libarchive stop there */
        { " \0"
          "644",
          INT64_MIN },
        { "0x1f", INT64_MIN },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t number = INT64_MIN;
        int r = sfs_tar_number(cases[i].field, 12, &number);
        cr_assert_eq(r, cases[i].expected == INT64_MIN ? -EBADMSG : 0, "case %zu: %d", i, r);
        cr_assert(r < 0 || number == cases[i].expected, "case %zu: %lld", i, (long long)number);
    }
}

static int parse(struct tar_header header, struct sfs_tar_header *ret_header, struct sfs_error *err)
{
    struct sfs_buf tar = { 0 };
    tar_bytes_put(&tar, header, "", 0);
    int r = sfs_tar_header_parse(tar.data, ret_header, err);
    sfs_buf_close(&tar);
    return r;
}

Test(tar_header_parse, joins_the_prefix_of_ustar_only)
{
    struct sfs_tar_header parsed;
    struct tar_header header = tar_bytes_header("name", '0', 0);
    tar_bytes_text(header.prefix, sizeof header.prefix, "some/prefix");
    cr_assert_eq(parse(header, &parsed, NULL), 0);
    cr_assert_str_eq(parsed.name, "some/prefix/name");
    struct sfs_error err;
    memcpy(header.magic, "ustar  ", 8);
    cr_assert_eq(parse(header, &parsed, &err), -EBADMSG);
    cr_assert_str_eq(err.text, "a GNU header has a time that is no number");
    memcpy(header.magic, "ustarX00", 8);
    cr_assert_eq(parse(header, &parsed, &err), -EBADMSG);
    memset(header.magic, 0, 8);
    cr_assert_eq(parse(header, &parsed, &err), 0);
    cr_assert_str_eq(parsed.name, "name");
}

Test(tar_header_parse, names_and_links_may_fill_their_fields)
{
    struct sfs_tar_header parsed;
    struct tar_header header = tar_bytes_header("", '2', 0);
    memset(header.name, 'n', sizeof header.name);
    memset(header.link, 'l', sizeof header.link);
    memset(header.prefix, 'p', sizeof header.prefix);
    cr_assert_eq(parse(header, &parsed, NULL), 0);
    cr_assert_eq(strlen(parsed.name), 155 + 1 + 100);
    cr_assert_eq(strlen(parsed.link), 100);
}

Test(tar_header_parse, takes_a_sum_of_signed_bytes)
{
    struct tar_header header = tar_bytes_header("\xc3\xa9", '0', 0);
    struct sfs_tar_header parsed;
    struct sfs_buf tar = { 0 };
    tar_bytes_put(&tar, header, "", 0);
    int64_t sum;
    cr_assert_eq(sfs_tar_number(tar.data + 148, 8, &sum), 0);
    tar_bytes_octal(tar.data + 148, 7, (uint64_t)sum - 2 * 256);
    cr_assert_eq(sfs_tar_header_parse(tar.data, &parsed, NULL), 0);
    tar_bytes_octal(tar.data + 148, 7, (uint64_t)sum - 256);
    cr_assert_eq(sfs_tar_header_parse(tar.data, &parsed, NULL), -EBADMSG);
    sfs_buf_close(&tar);
}
