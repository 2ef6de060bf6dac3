/* What merging gives is what extracting the layers one after the other gives. Expectations that
 * are not plain were made with umoci 0.4.7. */
#include "base/buf.h"
#include "tree/nodes.h"
#include "tree_text.h"
#include "tree/tree_inner.h"
#include <stagefs/usage.h>

static void expect_refused(const char *words, const char *const *layers)
{
    AUTO(tree_text_close) struct tree_text merged = { 0 };
    struct sfs_error err = { "" };
    while (*layers)
        tree_text_add(&merged, *layers++);
    cr_assert_eq(tree_text_try_merge(&merged, &err), -EBADMSG);
    cr_assert_null(merged.tree);
    cr_assert_not_null(strstr(err.text, words), "%s", err.text);
}
#define EXPECT_REFUSED(words, ...) expect_refused(words, (const char *const[]){ __VA_ARGS__, NULL })

Test(tree_merge, gives_an_empty_root_for_no_layers)
{
    struct sfs_tree *tree = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_tree_merge(NULL, 0, &tree, &err), 0);
    struct sfs_attr attr;
    sfs_tree_attr(tree, SFS_ROOT, &attr);
    cr_assert_eq(attr.mode, S_IFDIR | 0755);
    cr_assert_eq(attr.nlink, 2);
    cr_assert_eq(sfs_tree_count(tree), 1);
    size_t layer;
    uint32_t inode;
    cr_assert_null(sfs_tree_origin(tree, SFS_ROOT, &layer, &inode));
    cr_assert_eq(layer, SIZE_MAX);
    sfs_tree_close(&tree);
    cr_assert_null(tree);
}

Test(tree_merge, shows_a_single_layer_as_it_is)
{
    EXPECT_MERGE("a one\nd/ 750\nd/e/ 700\nd/e/f two\nl -> d/e\nnull c1,3\n",
                 "d d 750; d d/e; f d/e/f two; f a one; l l d/e; c null 1 3");
}

Test(tree_merge, joins_directories_and_sorts_names)
{
    EXPECT_MERGE("d/ 700\nd/a 1\nd/b 2\nd/c 1\nd/d 3\n", "d d; f d/a 1; f d/c 1", "d d; f d/b 2",
                 "d d; f d/d 3");
}

Test(tree_merge, sorts_bytes_and_puts_shorter_names_first)
{
    EXPECT_MERGE("d/ 700\nd/aaaaaaaa 1\nd/aaaaaaaaa 2\nd/aaaaaaaaaa 1\nd/aaaaaaaab 2\nd/b 1\n"
                 "d/\xc3\xa9 2\n",
                 "d d; f d/aaaaaaaa 1; f d/aaaaaaaaaa 1; f d/b 1",
                 "d d; f d/aaaaaaaaa 2; f d/aaaaaaaab 2; f d/\xc3\xa9 2");
}

Test(tree_merge, takes_files_and_metadata_from_the_highest_layer)
{
    EXPECT_MERGE("a 3\nd/ 711\n", "d d 700; f a 1", "d d 750; f a 2", "d d 711; f a 3");
}

Test(tree_merge, takes_the_root_from_the_highest_layer_that_names_it)
{
    EXPECT_MERGE("/ 700\na\n", "d . 750", "d . 700", "f a");
}

Test(tree_merge, hides_a_file_under_a_whiteout)
{
    EXPECT_MERGE("b 1\n", "f a 1; f b 1", "w a");
}

Test(tree_merge, hides_a_directory_with_all_below_it_under_a_whiteout)
{
    EXPECT_MERGE("", "d d; d d/e; f d/e/f", "w d");
}

Test(tree_merge, brings_nothing_back_that_a_whiteout_hid)
{
    EXPECT_MERGE("d/ 711\nd/new\n", "d d 700; f d/old", "w d", "d d 711; f d/new");
}

Test(tree_merge, keeps_a_name_of_the_layer_that_whites_it_out)
{
    EXPECT_MERGE("a 2\nd/ 711\nd/new\n", "f a 1; d d; f d/old",
                 "w a; f a 2; w d; d d 711; f d/new");
    EXPECT_MERGE("a 2\nd/ 711\nd/new\n", "f a 1; d d; f d/old",
                 "f a 2; w a; d d 711; f d/new; w d");
}

Test(tree_merge, lets_a_whiteout_of_nothing_pass)
{
    EXPECT_MERGE("a\n", "f a", "w b; w c/d/e; o f");
}

Test(tree_merge, makes_no_directory_that_leads_to_whiteouts_only)
{
    EXPECT_MERGE("x 1\n", "f x 1", "w x/y; o x; w d/b; o e");
}

Test(tree_merge, hides_what_is_below_an_opaque_directory)
{
    EXPECT_MERGE("d/ 711\nd/new\n", "d d 700; f d/old; d d/e; f d/e/f", "d d 711; o d; f d/new");
}

Test(tree_merge, keeps_metadata_of_an_opaque_directory_that_is_not_named)
{
    EXPECT_MERGE("d/ 700\nd/new\n", "d d 700; f d/old", "o d; f d/new");
    EXPECT_MERGE("d/ 700\n", "d d 700; f d/old", "o d");
    EXPECT_MERGE("d/ 755\n", "f d/old", "o d");
}

Test(tree_merge, hides_everything_under_an_opaque_root)
{
    EXPECT_MERGE("new\n", "f old; d d", "o .; f new");
}

Test(tree_merge, shows_what_is_above_an_opaque_directory)
{
    EXPECT_MERGE("d/ 700\nd/b 2\nd/c 3\n", "d d; f d/a 1", "d d; o d; f d/b 2", "d d; f d/c 3");
}

Test(tree_merge, takes_metadata_of_an_implied_directory_from_below)
{
    EXPECT_MERGE("d/ 750\nd/e/ 711\nd/e/a\nd/e/b\n", "d d 750; d d/e 711; f d/e/a", "f d/e/b");
}

Test(tree_merge, makes_a_directory_that_nobody_names_0755)
{
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE("f d/a", "f d/b");
    struct sfs_attr attr;
    sfs_node node;
    cr_assert_eq(sfs_tree_find(merged.tree, SFS_ROOT, "d", 1, &node), 0);
    sfs_tree_attr(merged.tree, node, &attr);
    cr_assert_eq(attr.mode, S_IFDIR | 0755);
    cr_assert_eq(attr.uid, 0);
    cr_assert_eq(attr.mtime_sec, 0);
    size_t layer;
    uint32_t inode;
    cr_assert_eq(sfs_tree_origin(merged.tree, node, &layer, &inode), merged.layers[1]);
    cr_assert_eq(layer, 1);
}

Test(tree_merge, makes_a_fresh_directory_where_one_was_whited_out)
{
    EXPECT_MERGE("d/ 755\nd/b\n", "d d 700; f d/a", "w d; f d/b");
}

Test(tree_merge, replaces_a_directory_by_a_file)
{
    EXPECT_MERGE("d file\n", "d d; f d/a", "f d file");
}

Test(tree_merge, replaces_a_file_by_a_directory)
{
    EXPECT_MERGE("d/ 711\nd/a\n", "f d file", "d d 711; f d/a");
}

Test(tree_merge, shows_no_directory_through_a_file_in_between)
{
    EXPECT_MERGE("d/ 711\nd/new\n", "d d 700; f d/old", "f d file", "d d 711; f d/new");
    EXPECT_MERGE("d/ 755\nd/new\n", "d d 700; f d/old", "f d file", "f d/new");
}

Test(tree_merge, makes_one_node_of_the_names_of_an_inode)
{
    EXPECT_MERGE("a 1 #1\nb 1 #1\nd/ 700\nd/c 1 #1\n", "f a 1; h b a; d d; h d/c a");
}

Test(tree_merge, counts_only_names_that_are_still_there)
{
    EXPECT_MERGE("a 1\nb 2\n", "f a 1; h b a; h c a", "f b 2; w c");
}

Test(tree_merge, links_to_a_file_of_a_lower_layer)
{
    EXPECT_MERGE("a 1 #1\nd/ 700\nd/b 1 #1\n", "f a 1", "d d; h d/b a");
}

Test(tree_merge, links_to_a_file_that_the_same_layer_replaces_later)
{
    EXPECT_MERGE("a 2\nb 1\n", "f a 1", "h b a; f a 2");
}

Test(tree_merge, keeps_a_linked_inode_whose_name_a_higher_layer_takes)
{
    EXPECT_MERGE("a 2\nb 1\n", "f a 1", "h b a", "f a 2");
    EXPECT_MERGE("b 1\n", "f a 1", "h b a", "w a");
    EXPECT_MERGE("b 1 #1\nc 1 #1\n", "f a 1", "h b a", "h c a; w a");
}

Test(tree_merge, resolves_a_link_as_of_its_own_layer)
{
    EXPECT_MERGE("a 3\nb 1\nc 2\n", "f a 1", "h b a", "f a 2", "h c a", "f a 3");
}

Test(tree_merge, joins_links_to_one_inode_from_several_layers)
{
    EXPECT_MERGE("a 1 #1\nb 1 #1\nc 1 #1\nd 1 #1\n", "f a 1; h b a", "h c b", "h d c");
}

Test(tree_merge, links_to_a_link_that_is_gone)
{
    EXPECT_MERGE("c 1\n", "f a 1", "h b a; w a", "h c b; w b");
}

Test(tree_merge, links_to_a_symlink_itself)
{
    EXPECT_MERGE("a -> zz #1\nb -> zz #1\n", "l a zz", "h b a");
}

Test(tree_merge, follows_symlinks_on_the_way_to_a_link_target)
{
    EXPECT_MERGE("b 1 #1\nd/ 700\nd/a 1 #1\ns -> /d\n", "d d; f d/a 1; l s /d", "h b s/a");
    EXPECT_MERGE("b 1 #1\nd/ 700\nd/a 1 #1\ns -> ../../d\n", "d d; f d/a 1",
                 "l s ../../d; h b s/a");
}

Test(tree_merge, does_not_follow_the_last_component_of_a_link_target)
{
    EXPECT_MERGE("b -> a #1\ns -> a #1\n", "l s a", "h b s");
}

Test(tree_merge, ignores_a_broken_link_that_is_hidden)
{
    EXPECT_MERGE("b 2\n", "f a 1", "h b nowhere", "w a; f b 2");
}

Test(tree_merge, refuses_a_link_to_nothing)
{
    EXPECT_REFUSED("layer 1: hard link b to gone: nothing there", "f a 1", "h b gone");
    EXPECT_REFUSED("layer 0: hard link b to a/x", "h b a/x");
    EXPECT_REFUSED("layer 2: hard link b to a: nothing there", "f a", "w a", "h b a");
}

Test(tree_merge, refuses_a_link_to_a_directory)
{
    EXPECT_REFUSED("layer 1: hard link b to d: that is a directory", "d d", "h b d");
}

Test(tree_merge, refuses_links_that_lead_to_each_other)
{
    EXPECT_REFUSED("too many links", "h a b; h b a");
}

Test(tree_merge, refuses_a_link_through_a_loop_of_symlinks)
{
    EXPECT_REFUSED("too many links", "l s t; l t s", "h b s/x");
}

Test(tree_merge, writes_through_a_symlink_where_the_directory_is_implied)
{
    EXPECT_MERGE("lib -> usr/lib\nusr/ 750\nusr/lib/ 711\nusr/lib/a 2\nusr/lib/b\nusr/lib/c\n",
                 "d usr 750; d usr/lib 711; l lib usr/lib; f usr/lib/a 1; f usr/lib/c",
                 "f lib/b; f lib/a 2");
}

Test(tree_merge, replaces_a_symlink_by_a_directory_that_is_named)
{
    EXPECT_MERGE("lib/ 711\nlib/b\nusr/ 700\nusr/a\n", "d usr; l lib usr; f usr/a",
                 "d lib 711; f lib/b");
}

Test(tree_merge, whites_out_through_a_symlink)
{
    EXPECT_MERGE("lib -> usr\nusr/ 700\nusr/b\n", "d usr; l lib usr; f usr/a; f usr/b", "w lib/a");
    EXPECT_MERGE("lib -> usr\nusr/ 700\nusr/c\n", "d usr; l lib usr; f usr/a; f usr/b",
                 "o lib; f lib/c");
}

Test(tree_merge, lets_higher_layers_change_what_came_through_a_symlink)
{
    EXPECT_MERGE("lib -> usr\nusr/ 700\nusr/b 3\n", "d usr; l lib usr", "f lib/a 2; f lib/b 2",
                 "d usr; w usr/a; f usr/b 3");
    EXPECT_MERGE("lib -> usr\nusr/ 700\nusr/c\n", "d usr; l lib usr", "f lib/a 2",
                 "d usr; o usr; f usr/c");
    EXPECT_MERGE("lib -> usr\nusr/ 700\nusr/d 3\n", "d usr; l lib usr; f usr/d 1", "f lib/d 2",
                 "f lib/d 3");
}

Test(tree_merge, writes_through_the_symlink_that_was_there_at_the_time)
{
    EXPECT_MERGE("a/ 700\na/x 1\nb/ 700\nb/x 2\nl -> b\n", "d a; d b; l l a", "f l/x 1", "l l b",
                 "f l/x 2");
}

Test(tree_merge, writes_through_symlinks_below_symlinks)
{
    EXPECT_MERGE("a -> b\nb/ 700\nb/c -> ../d\nd/ 700\nd/e -> /f\nf/ 700\nf/x\n",
                 "d b; d d; d f; l a b; l b/c ../d; l d/e /f", "f a/c/e/x");
}

Test(tree_merge, writes_through_a_symlink_of_a_graft)
{
    EXPECT_MERGE("a -> b\nb/ 700\nb/s -> ../t\nt/ 700\nt/x\n", "d b; d t; l a b", "l a/s ../t",
                 "f a/s/x");
}

Test(tree_merge, lets_a_directory_hide_a_symlink_that_leads_nowhere)
{
    EXPECT_MERGE("l/ 755\nl/x\n", "l l gone", "f l/x");
    EXPECT_MERGE("l -> gone\n", "l l gone", "w l/x");
    EXPECT_MERGE("l/ 755\nl/x\n", "l l l", "f l/x");
}

Test(tree_merge, links_to_what_came_through_a_symlink)
{
    EXPECT_MERGE("h 1 #1\nlib -> usr\nusr/ 700\nusr/x 1 #1\n", "d usr; l lib usr", "f lib/x 1",
                 "h h usr/x");
    EXPECT_MERGE("h 1 #1\nlib -> usr\nusr/ 700\nusr/x 1 #1\n", "d usr; l lib usr", "f lib/x 1",
                 "h h lib/x");
}

Test(tree_merge, survives_directories_as_deep_as_layers_may_be)
{
    struct sfs_buf path = { 0 };
    sfs_buf_add_str(&path, "f ");
    for (int i = 0; i < 1000; i++)
        sfs_buf_add_str(&path, "d/");
    sfs_buf_add_str(&path, "x");
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE(path.data, "o d/d/e; w d/d/f");
    cr_assert_eq(sfs_tree_count(merged.tree), 1002);
    sfs_buf_close(&path);
}

Test(tree_merge, joins_many_layers)
{
    AUTO(tree_text_close) struct tree_text merged = { 0 };
    struct sfs_error err;
    char layer[256];
    for (int i = 0; i < 30; i++) {
        snprintf(layer, sizeof layer, "d d; f d/n%02d; f d/same %d; f d/s%d %d", i, i, i % 7, i);
        tree_text_add(&merged, layer);
    }
    cr_assert_eq(tree_text_try_merge(&merged, &err), 0);
    sfs_node dir;
    cr_assert_eq(sfs_tree_find(merged.tree, SFS_ROOT, "d", 1, &dir), 0);
    uint32_t count;
    const struct sfs_dirent *names = sfs_tree_list(merged.tree, dir, &count);
    cr_assert_eq(count, 38);
    for (uint32_t i = 1; i < count; i++)
        cr_assert_lt(strcmp(names[i - 1].name, names[i].name), 0);
    char content[8];
    cr_assert_eq(sfs_tree_read(merged.tree, names[37].node, content, 8, 0, &err), 2);
    cr_assert_eq(memcmp(content, "29", 2), 0);
}

/* --- one layer alone, as overlayfs has it ------------------------------------------------------
 */

struct marked {
    struct sfs_tree *tree;
    struct sfs_buf text;
};

static int note_marked(void *user, const char *path, sfs_node node)
{
    struct marked *marked = user;
    unsigned flags = marked->tree->nodes[node].flags;
    struct sfs_attr attr;
    sfs_tree_attr(marked->tree, node, &attr);
    if (flags & SFS_NODE_WHITEOUT)
        cr_assert(attr.mode == S_IFCHR && attr.rdev_major == 0 && attr.rdev_minor == 0);
    if (*path)
        sfs_buf_printf(&marked->text, "%s%s%s:%o", marked->text.size ? " " : "",
                       flags & SFS_NODE_WHITEOUT ? "-"
                       : flags & SFS_NODE_OPAQUE ? "!"
                                                 : "",
                       path, attr.mode & 0777);
    return 0;
}

/* The topmost layer alone: a name is "-NAME" hidden, "!NAME" opaque. */
static void expect_alone(const char *text, const char *const *layers)
{
    AUTO(tree_text_close) struct tree_text merged = tree_text_merge_list(layers);
    struct sfs_error err;
    struct sfs_tree **trees;
    size_t count;
    cr_assert_eq(sfs_tree_split(merged.tree, &trees, &count, &err), 0, "%s", err.text);
    struct marked marked = { trees[count - 1], { 0 } };
    cr_assert_eq(sfs_tree_walk(marked.tree, SFS_ROOT, note_marked, &marked, &err), 0);
    cr_assert_str_eq(marked.text.size ? marked.text.data : "", text);
    sfs_buf_close(&marked.text);
    sfs_tree_split_close(&trees, count);
}
#define EXPECT_ALONE(text, ...) expect_alone(text, (const char *const[]){ __VA_ARGS__, NULL })

Test(tree_split, shows_what_a_layer_hides)
{
    EXPECT_ALONE("-a:0 b:644", "f a; f c", "w a; f b");
    EXPECT_ALONE("!d:711 d/new:644", "d d; f d/old", "d d 711; o d; f d/new");
    EXPECT_ALONE("a:644 !d:711", "f a 1; d d; f d/old", "w a; f a 2; w d; d d 711");
}

Test(tree_split, hides_all_below_an_opaque_root_name_by_name)
{
    EXPECT_ALONE("-a:0 !d:700 -e:0 new:644", "f a; d d; f d/x; f e/f", "o .; f new; d d 700");
}

Test(tree_split, takes_metadata_of_implied_directories_from_below)
{
    EXPECT_ALONE("d:750 d/e:711 d/e/b:644", "d d 750; d d/e 711; f d/e/a", "f d/x", "f d/e/b");
    EXPECT_ALONE("!d:750", "d d 750; f d/old", "o d");
    EXPECT_ALONE("!d:755 d/new:644", "d d 750; f d/old", "w d; f d/new");
}

Test(tree_split, makes_no_directory_that_is_not_there)
{
    EXPECT_ALONE("-d:0 x:700 -x/y:0", "d d; d x; f x/y", "w d; w d/e; w x/y; w none/z; o nothing");
}

Test(tree_split, shows_files_that_a_layer_links_to_below_it)
{
    EXPECT_ALONE("b:600", "f a 1 600", "h b a");
}
