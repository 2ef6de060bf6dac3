#include "commit/order.h"

#include "commit_support.h"
#include "tree/profile.h"
#include <errno.h>

static struct sfs_error err;

/* The names of what differs from an empty tree, ordered by a profile; "> " behind a link: where to.
 * The caller frees. */
static char *order_text(const struct sfs_tree *tree, const char *profile_text, bool is_estargz,
                        int expected)
{
    AUTO(sfs_profile_done) struct sfs_profile profile = { 0 };
    AUTO(sfs_changes_done) struct sfs_changes changes = { 0 };
    const struct sfs_order order = { tree, &profile, is_estargz };
    struct sfs_buf text = { 0 };
    cr_assert_eq(sfs_profile_parse(&profile, "profile", profile_text, strlen(profile_text), &err),
                 0);
    cr_assert_eq(sfs_changes_find(support_tree(NULL), tree, &changes, &err), 0);
    cr_assert_eq(sfs_changes_order(&changes, &order, &err), expected);
    sfs_buf_add_str(&text, "");
    for (size_t i = 0; i < changes.count; i++) {
        const struct sfs_item *item = &changes.items[i];
        sfs_buf_printf(&text, " %s", sfs_changes_path(&changes, item));
        if (item->kind == SFS_ITEM_LINK)
            sfs_buf_printf(&text, ">%s", sfs_changes_path(&changes, &changes.items[item->first]));
    }
    return text.data;
}

static void expect_order(const struct sfs_tree *tree, const char *profile, bool is_estargz,
                         const char *expected)
{
    AUTO(sfs_free) char *got = order_text(tree, profile, is_estargz, 0);
    cr_assert_str_eq(got, expected);
}

static const struct sfs_tree *some_tree(void)
{
    return support_tree("a=1", "b/", "b/c/", "b/c/x=2", "b/y=3", "d/", "d/e=4", "d/z -> e",
                        "f == a");
}

Test(order, is_that_of_the_names_without_a_profile)
{
    expect_order(some_tree(), "", false, " a b b/c b/c/x b/y d d/e d/z f>a");
}

Test(order, puts_what_is_read_first_behind_its_directories)
{
    expect_order(some_tree(), "read /d/e 0+1\nread /b/c/x 0+1\nopen /b/y\n", false,
                 " d d/e b b/c b/c/x b/y a d/z f>a");
}

Test(order, passes_over_what_is_not_read_or_not_there)
{
    expect_order(some_tree(), "stat /d/e\nlist /b\nread /no 0+1\nnone /b/no\nread /b 0+1\n", false,
                 " a b b/c b/c/x b/y d d/e d/z f>a");
}

Test(order, follows_symlinks_and_takes_them_along_where_they_were_followed)
{
    expect_order(some_tree(), "read /d/z 0+1\nlink /d/z\n", false,
                 " d d/e d/z a b b/c b/c/x b/y f>a");
}

Test(order, keeps_hard_links_behind_their_first_name)
{
    expect_order(some_tree(), "read /d/e 0+1\nread /f 0+1\n", true,
                 " d d/e a .prefetch.landmark b b/c b/c/x b/y d/z f>a");
    expect_order(support_tree("a/", "a/1=x", "b == a/1", "c=y"), "read /c 0+1\n", true,
                 " c .prefetch.landmark a a/1 b>a/1");
}

Test(order, says_in_estargz_that_there_is_nothing_to_prefetch)
{
    expect_order(some_tree(), "", true, " .no.prefetch.landmark a b b/c b/c/x b/y d d/e d/z f>a");
    expect_order(some_tree(), "read /no 0+1\n", true,
                 " .no.prefetch.landmark a b b/c b/c/x b/y d d/e d/z f>a");
}

Test(order, refuses_a_file_that_would_be_a_mark)
{
    const struct sfs_tree *tree = support_tree("a=1", "stargz.index.json={}");
    AUTO(sfs_free) char *got = order_text(tree, "", true, -ENOTSUP);
    cr_assert(strstr(err.text, "stargz.index.json"));
    expect_order(tree, "", false, " a stargz.index.json");
}

Test(order, writes_the_landmark_as_one_byte)
{
    const struct sfs_profile nothing = { 0 };
    const struct sfs_tree *tree = support_tree("a=1");
    AUTO(sfs_changes_done) struct sfs_changes changes = { 0 };
    cr_assert_eq(sfs_changes_find(support_tree(NULL), tree, &changes, &err), 0);
    cr_assert_eq(sfs_changes_order(&changes, &(struct sfs_order){ tree, &nothing, true }, &err), 0);
    AUTO(made_layer_done)
    struct made_layer made = write_changes(tree, changes, SFS_COMPRESS_ESTARGZ, -1, NULL);
    changes = (struct sfs_changes){ 0 };
    AUTO(sfs_free) char *got = list_layer(&made);
    const char start[] = "0444 0:0 @0 .no.prefetch.landmark=\x0f\n0644 0:0 @0 a=1\n";
    cr_assert(strncmp(got, start, sizeof start - 1) == 0, "%s", got);
}
