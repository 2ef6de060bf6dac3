#include "commit/contents.h"

#include "commit_support.h"
#include <zstd.h>

Test(json, escapes_what_json_does_not_take)
{
    AUTO(sfs_buf_close) struct sfs_buf buf = { 0 };
    sfs_json_add_string(&buf, "a\"b\\c\n\x01é");
    cr_assert_str_eq(buf.data, "\"a\\u0022b\\u005cc\\u000a\\u0001é\"");
}

Test(json, writes_base64)
{
    static const char *const wanted[] = { "", "YQ==", "YWI=", "YWJj", "YWJjZA==" };
    for (size_t size = 0; size < 5; size++) {
        AUTO(sfs_buf_close) struct sfs_buf buf = { 0 };
        sfs_buf_add_str(&buf, ">");
        sfs_json_add_base64(&buf, "abcd", size);
        cr_assert_eq(buf.size, 1 + strlen(wanted[size]));
        cr_assert_str_eq(buf.data + 1, wanted[size]);
    }
}

Test(split, is_these_lines)
{
    AUTO(sfs_split_close) struct sfs_split *split = sfs_split_open();
    AUTO(sfs_buf_close) struct sfs_buf packed = { 0 };
    char plain[512];
    uint64_t size;
    sfs_split_add_bytes(split, "he", 2);
    sfs_split_add_bytes(split, "ad", 2);
    sfs_split_add_file(split, "a", 9, 0xb90956c775a41001u);
    sfs_split_add_file(split, "d/", 0, 0);
    sfs_split_add_bytes(split, "end", 3);
    cr_assert_eq(sfs_split_finish(split, &packed, &size), 0);
    cr_assert_eq(ZSTD_decompress(plain, sizeof plain, packed.data, packed.size), size);
    plain[size] = 0;
    cr_assert_str_eq(plain, "{\"type\":2,\"payload\":\"aGVhZA==\",\"position\":0}\n"
                            "{\"type\":1,\"name\":\"a\",\"size\":9,\"payload\":\"uQlWx3WkEAE=\","
                            "\"position\":1}\n"
                            "{\"type\":1,\"name\":\"d/\",\"payload\":null,\"position\":2}\n"
                            "{\"type\":2,\"payload\":\"ZW5k\",\"position\":3}\n");
}
