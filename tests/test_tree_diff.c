#include "tree_text.h"
#include "tree/tree_inner.h"

struct changes {
    struct sfs_buf text;
    int stop_after; /* 0: never */
};

/* One line a change: "+path", "-path", "*path content mode ..."; "!" in front: replaces. */
static int note_change(void *user, const struct sfs_change *change)
{
    static const char *const what[] = { "type",  "content", "mode", "owner",
                                        "mtime", "xattrs",  "link" };
    struct changes *changes = user;
    cr_assert_eq(change->a == UINT32_MAX, change->kind == SFS_ADDED);
    cr_assert_eq(change->b == UINT32_MAX, change->kind == SFS_REMOVED);
    sfs_buf_printf(&changes->text, "%s%c%s", change->replaces ? "!" : "", "+-*"[change->kind],
                   change -> path);
    for (size_t i = 0; i < sizeof what / sizeof *what; i++)
        if (change->what & 1u << i)
            sfs_buf_printf(&changes->text, " %s", what[i]);
    sfs_buf_add_str(&changes->text, "\n");
    return changes->stop_after && --changes->stop_after == 0 ? 42 : 0;
}

static void expect_changes(const struct sfs_tree *a, const struct sfs_tree *b, unsigned flags,
                           const char *expected)
{
    struct changes changes = { 0 };
    sfs_buf_add_str(&changes.text, "");
    struct sfs_error err = { "" };
    cr_assert_eq(sfs_tree_diff(a, b, flags, note_change, &changes, &err), 0, "%s", err.text);
    cr_assert_str_eq(changes.text.data, expected, "got:\n%s", changes.text.data);
    sfs_buf_close(&changes.text);
}

/* Two trees that share nothing. */
static void expect_apart(const char *a, const char *b, unsigned flags, const char *expected)
{
    AUTO(tree_text_close) struct tree_text left = TREE_TEXT_MERGE(a);
    AUTO(tree_text_close) struct tree_text right = TREE_TEXT_MERGE(b);
    expect_changes(left.tree, right.tree, flags, expected);
}

/* What the layer `top` changes on `base`. */
static void expect_on_top(const char *base, const char *top, unsigned flags, const char *expected)
{
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE(base, top);
    AUTO(sfs_tree_close) struct sfs_tree *below = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_tree_merge(merged.layers, 1, &below, &err), 0);
    expect_changes(below, merged.tree, flags, expected);
}

Test(tree_diff, finds_nothing_where_nothing_changed)
{
    expect_on_top("d d; f d/a; f b 1; h c b; l l d", "", 0, "");
    expect_on_top("d d 750; f d/a 1", "d d 750", 0, "");
}

Test(tree_diff, reports_what_was_added_with_all_in_it)
{
    expect_on_top("f a", "d d; f d/x; d d/e; f d/e/y; f b", 0, "+b\n+d\n+d/e\n+d/e/y\n+d/x\n");
}

Test(tree_diff, reports_only_the_top_of_what_was_removed)
{
    expect_on_top("d d; f d/x; d d/e; f d/e/y; f b", "w d; w b", 0, "-b\n-d\n");
    expect_on_top("d d; f d/x; d d/e; f d/e/y; f b", "w d/e", 0, "-d/e\n");
}

Test(tree_diff, reports_all_that_was_removed_when_told)
{
    expect_on_top("d d; f d/x; d d/e; f d/e/y; f b", "w d; w b", SFS_DIFF_REMOVED_BELOW,
                  "-b\n-d\n-d/e\n-d/e/y\n-d/x\n");
}

Test(tree_diff, reports_no_directory_for_what_changed_in_it)
{
    expect_on_top("d d; f d/a 1; f d/b 1", "f d/a 2; w d/b; f d/c", 0,
                  "*d/a content\n-d/b\n+d/c\n");
}

Test(tree_diff, says_what_of_the_metadata_changed)
{
    expect_on_top("d d 700; d e 700; d f 700; d g 700", "d d 711; d e 700 5; d f 700 0 9", 0,
                  "*d mode\n*e owner\n*f mtime\n");
    expect_on_top("d . 700", "d . 755", 0, "* mode\n");
}

Test(tree_diff, goes_depth_first_in_the_order_of_names)
{
    expect_on_top("", "d a; f a/z; f a.b; f a-; f b", 0, "+a\n+a/z\n+a-\n+a.b\n+b\n");
}

Test(tree_diff, tells_a_directory_that_became_a_file)
{
    expect_on_top("d d; f d/x", "f d", 0, "!*d type mode\n");
    expect_on_top("d d; f d/x", "f d", SFS_DIFF_REMOVED_BELOW, "!*d type mode\n-d/x\n");
}

Test(tree_diff, tells_a_file_that_became_a_directory)
{
    expect_on_top("f d", "d d; f d/x", 0, "!*d type mode\n+d/x\n");
}

Test(tree_diff, tells_other_changes_of_type)
{
    expect_on_top("f a; l b x", "l a x; f b", 0, "*a type mode\n*b type mode\n");
}

Test(tree_diff, compares_symlinks_and_devices)
{
    expect_on_top("l a x; l b x; c d 1 3; c e 1 3", "l a y; l b x; c d 1 5; c e 1 3", 0,
                  "*a link\n*d content\n");
}

Test(tree_diff, takes_files_of_other_layers_for_changed)
{
    expect_on_top("f a 1; f b 1", "f a 1", 0, "*a content\n");
}

Test(tree_diff, compares_bytes_when_told)
{
    expect_apart("f a 12345678; f b 12345678; f c 1; f e",
                 "f a 12345678; f b 12345679; f c 12; f e", SFS_DIFF_CONTENT,
                 "*b content\n*c content\n");
}

Test(tree_diff, fails_where_bytes_cannot_be_read)
{
    AUTO(tree_text_close) struct tree_text left = TREE_TEXT_MERGE("f a 1");
    AUTO(tree_text_close) struct tree_text right = TREE_TEXT_MERGE("f a 1");
    static const struct sfs_layer_ops none = { 0 };
    right.layers[0]->ops = &none;
    struct changes changes = { 0 };
    struct sfs_error err = { "" };
    cr_assert_eq(
        sfs_tree_diff(left.tree, right.tree, SFS_DIFF_CONTENT, note_change, &changes, &err), -EIO);
    cr_assert_neq(err.text[0], '\0');
    cr_assert_null(changes.text.data);
}

static struct tree_text merge_xattr(const char *name, const char *value)
{
    struct tree_text merged = { .count = 1 };
    struct sfs_builder *builder = sfs_builder_open();
    const struct sfs_builder_xattr xattr = { name, value, strlen(value) };
    const struct sfs_builder_item item = { .inode.mode = S_IFDIR | 0755,
                                           .xattrs = &xattr,
                                           .xattr_count = *name ? 1 : 0 };
    struct sfs_error err;
    cr_assert_eq(sfs_builder_add(builder, "d", &item, &err), 0);
    cr_assert_eq(sfs_layer_open_built(builder, "xattr", &merged.layers[0], &err), 0);
    sfs_builder_close(&builder);
    cr_assert_eq(tree_text_try_merge(&merged, &err), 0);
    return merged;
}

Test(tree_diff, compares_extended_attributes)
{
    AUTO(tree_text_close) struct tree_text base = merge_xattr("user.a", "one");
    const struct {
        const char *name, *value, *expected;
    } cases[] = { { "user.a", "one", "" },
                  { "user.a", "two", "*d xattrs\n" },
                  { "user.a", "on", "*d xattrs\n" },
                  { "user.b", "one", "*d xattrs\n" },
                  { "", "", "*d xattrs\n" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO(tree_text_close)
        struct tree_text other = merge_xattr(cases[i].name, cases[i].value);
        expect_changes(base.tree, other.tree, 0, cases[i].expected);
    }
}

Test(tree_diff, reports_a_group_that_gained_a_name)
{
    expect_on_top("f a 1; f b 2", "h c a", 0, "*a link\n+c\n");
    expect_on_top("f a 1; h b a", "h c a", 0, "*a link\n*b link\n+c\n");
}

Test(tree_diff, reports_no_group_that_lost_a_name)
{
    expect_on_top("f a 1; h b a; h c a", "w a", 0, "-a\n");
    expect_on_top("f a 1; h b a; h c a", "f a 2", 0, "*a content link\n");
}

Test(tree_diff, reports_names_that_were_joined_or_parted)
{
    expect_apart("f a 1; f b 1; f c 1", "f a 1; h b a; f c 1", SFS_DIFF_CONTENT,
                 "*a link\n*b link\n");
    expect_apart("f a 1; h b a; f c 1", "f a 1; f b 1; f c 1", SFS_DIFF_CONTENT,
                 "*a link\n*b link\n");
    expect_apart("f a 1; h b a; f c 1; h d c", "f a 1; h c a; f b 1; h d b", SFS_DIFF_CONTENT,
                 "*a link\n*b link\n*c link\n*d link\n");
    expect_apart("f a 1; h b a", "f a 1; h b a", SFS_DIFF_CONTENT, "");
}

Test(tree_diff, reports_only_the_new_file_of_a_parted_pair)
{
    expect_on_top("f a 1; h b a", "f a 1", SFS_DIFF_CONTENT, "*a link\n");
}

Test(tree_diff, compares_with_nothing)
{
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE("d d; f d/a; h b d/a");
    AUTO(sfs_tree_close) struct sfs_tree *empty = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_tree_merge(NULL, 0, &empty, &err), 0);
    expect_changes(empty, merged.tree, 0, "+b\n+d\n+d/a\n");
    expect_changes(merged.tree, empty, 0, "-b\n-d\n");
}

Test(tree_diff, stops_when_told)
{
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE("f a; f b; f c");
    AUTO(sfs_tree_close) struct sfs_tree *empty = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_tree_merge(NULL, 0, &empty, &err), 0);
    struct changes changes = { .stop_after = 2 };
    cr_assert_eq(sfs_tree_diff(empty, merged.tree, 0, note_change, &changes, &err), 42);
    cr_assert_str_eq(changes.text.data, "+a\n+b\n");
    sfs_buf_close(&changes.text);
}
