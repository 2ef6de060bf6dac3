/* .dockerignore, by the rules of moby/patternmatcher/ignorefile. */
#include "dockerfile/ignore.h"

#include "base/buf.h"
#include <criterion/criterion.h>

static void expect(const char *text, const char *patterns)
{
    struct sfs_vars list = { 0 };
    struct sfs_buf joined = { 0 };
    sfs_buf_add_str(&joined, "");
    cr_assert_eq(sfs_ignore_parse(text, strlen(text), &list), 0);
    for (size_t i = 0; i < list.count; i++)
        sfs_buf_printf(&joined, "%s[%s]", i ? " " : "", list.items[i]);
    cr_expect_str_eq(joined.data, patterns);
    sfs_buf_close(&joined);
    sfs_vars_close(&list);
}

Test(ignore, drops_comments_and_blank_lines)
{
    expect("# comment\n\n  \na\n #data\n", "[a] [#data]");
}

Test(ignore, trims_and_cleans)
{
    expect("  a/./b/../c/  \r\n", "[a/c]");
}

Test(ignore, makes_patterns_relative)
{
    expect("/a\n//b\n/\n", "[a] [b] [/]");
}

Test(ignore, keeps_exceptions)
{
    expect("!a\n! /b\n!\n", "[!a] [!b] [!]");
}

Test(ignore, skips_a_byte_order_mark)
{
    expect("\xef\xbb\xbf# x\na", "[a]");
}
