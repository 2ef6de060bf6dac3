#include "tree_text.h"

#include "base/limits.h"
#include "tree/tree_inner.h"

static const char *const usual =
    "d usr; d usr/lib; f usr/lib/a 1; f b 2; l lib usr/lib; l abs /usr/lib;"
    "l usr/up ../b; l usr/escape ../../../../b; l l1 l2; l l2 lib/a;"
    "l dangling none/x; l self self; l ping pong; l pong ping;"
    "l tofile b; l dot .; l slash usr/; l root /";

/* What `path` leads to: where it is found without any symlink. */
static void expect_resolves(const char *path, unsigned flags, const char *plain)
{
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE(usual);
    sfs_node node = UINT32_MAX, wanted = SFS_ROOT;
    struct sfs_error err = { "" };
    cr_assert_eq(sfs_tree_resolve(merged.tree, path, flags, &node, &err), 0, "%s", err.text);
    char copy[256], *save = NULL;
    snprintf(copy, sizeof copy, "%s", plain);
    for (char *name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save))
        cr_assert_eq(sfs_tree_find(merged.tree, wanted, name, strlen(name), &wanted), 0);
    cr_assert_eq(node, wanted, "%s", path);
}

static void expect_fails(const char *path, unsigned flags, int code, const char *words)
{
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE(usual);
    sfs_node node = 4711;
    struct sfs_error err = { "" };
    cr_assert_eq(sfs_tree_resolve(merged.tree, path, flags, &node, &err), -code, "%s", path);
    cr_assert_eq(node, 4711);
    cr_assert_not_null(strstr(err.text, words), "%s", err.text);
}

Test(tree_resolve, walks_plain_paths)
{
    expect_resolves("", 0, "");
    expect_resolves("/", 0, "");
    expect_resolves("usr/lib/a", 0, "usr/lib/a");
    expect_resolves("//usr///lib/./a", 0, "usr/lib/a");
    expect_resolves("usr/lib/", 0, "usr/lib");
}

Test(tree_resolve, follows_symlinks_in_the_middle)
{
    expect_resolves("lib/a", 0, "usr/lib/a");
    expect_resolves("abs/a", 0, "usr/lib/a");
    expect_resolves("dot/dot/slash/lib/a", 0, "usr/lib/a");
    expect_resolves("root/b", 0, "b");
}

Test(tree_resolve, follows_the_last_symlink_only_when_told)
{
    expect_resolves("lib", 0, "lib");
    expect_resolves("lib", SFS_RESOLVE_FOLLOW, "usr/lib");
    expect_resolves("l1", 0, "l1");
    expect_resolves("l1", SFS_RESOLVE_FOLLOW, "usr/lib/a");
    expect_resolves("dangling", 0, "dangling");
}

Test(tree_resolve, follows_the_last_symlink_before_a_slash)
{
    expect_resolves("lib/", 0, "usr/lib");
    expect_resolves("lib/.", 0, "usr/lib");
    expect_resolves("lib/..", 0, "usr");
}

Test(tree_resolve, stays_inside_the_root)
{
    expect_resolves("../../..", 0, "");
    expect_resolves("../b", 0, "b");
    expect_resolves("usr/../../../b", 0, "b");
    expect_resolves("usr/up", SFS_RESOLVE_FOLLOW, "b");
    expect_resolves("usr/escape", SFS_RESOLVE_FOLLOW, "b");
}

Test(tree_resolve, names_what_is_missing)
{
    expect_fails("usr/none", 0, ENOENT, "usr/none: no such file or directory");
    expect_fails("usr/none/x", 0, ENOENT, "usr/none/x: there is no none");
    expect_fails("dangling", SFS_RESOLVE_FOLLOW, ENOENT, "dangling: there is no none");
    expect_fails("dangling/y", 0, ENOENT, "there is no none");
}

Test(tree_resolve, goes_through_directories_only)
{
    expect_fails("b/x", 0, ENOTDIR, "b/x: b is not a directory");
    expect_fails("b/", 0, ENOTDIR, "b is not a directory");
    expect_fails("b/..", 0, ENOTDIR, "b is not a directory");
    expect_fails("tofile/x", 0, ENOTDIR, "b is not a directory");
    expect_fails("tofile/", 0, ENOTDIR, "b is not a directory");
}

Test(tree_resolve, gives_up_on_loops)
{
    expect_fails("self", SFS_RESOLVE_FOLLOW, ELOOP, "too many symlinks");
    expect_fails("ping/x", 0, ELOOP, "too many symlinks");
    expect_resolves("self", 0, "self");
}

/* A chain of `count` symlinks to the file "end". */
static int resolve_chain(int count)
{
    AUTO(tree_text_close) struct tree_text merged = { 0 };
    struct sfs_buf text = { 0 };
    sfs_buf_add_str(&text, "f end");
    for (int i = 0; i < count; i++) {
        sfs_buf_printf(&text, ";l c%d ", i);
        sfs_buf_printf(&text, i ? "c%d" : "end", i - 1);
    }
    tree_text_add(&merged, text.data);
    sfs_buf_close(&text);
    struct sfs_error err;
    cr_assert_eq(tree_text_try_merge(&merged, &err), 0);
    char last[16];
    sfs_node node;
    snprintf(last, sizeof last, "c%d", count - 1);
    return sfs_tree_resolve(merged.tree, last, SFS_RESOLVE_FOLLOW, &node, &err);
}

Test(tree_resolve, follows_as_many_symlinks_as_the_kernel_does)
{
    cr_assert_eq(resolve_chain(SFS_MAX_LINK_HOPS), 0);
    cr_assert_eq(resolve_chain(SFS_MAX_LINK_HOPS + 1), -ELOOP);
}

Test(tree_resolve, takes_long_paths)
{
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE(usual);
    struct sfs_buf path = { 0 };
    for (int i = 0; i < 100000; i++)
        sfs_buf_add_str(&path, "usr/../");
    sfs_buf_add_str(&path, "b");
    sfs_node node, wanted;
    struct sfs_error err;
    cr_assert_eq(sfs_tree_resolve(merged.tree, path.data, 0, &node, &err), 0);
    cr_assert_eq(sfs_tree_find(merged.tree, SFS_ROOT, "b", 1, &wanted), 0);
    cr_assert_eq(node, wanted);
    sfs_buf_add_str(&path, "/x");
    cr_assert_eq(sfs_tree_resolve(merged.tree, path.data, 0, &node, &err), -ENOTDIR);
    sfs_buf_close(&path);
}
