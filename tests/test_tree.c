/* Looking at a tree: names, metadata, bytes, walking. */
#include "tree_text.h"

static sfs_node at(const struct sfs_tree *tree, const char *path)
{
    sfs_node node = UINT32_MAX;
    struct sfs_error err;
    cr_assert_eq(sfs_tree_resolve(tree, path, 0, &node, &err), 0, "%s", err.text);
    return node;
}

Test(tree, finds_names_and_only_those)
{
    AUTO(tree_text_close)
    struct tree_text merged = TREE_TEXT_MERGE("f a; f ab; f abc; d b; f b/x; f c");
    sfs_node node;
    cr_assert_eq(sfs_tree_find(merged.tree, SFS_ROOT, "ab", 2, &node), 0);
    cr_assert_eq(node, at(merged.tree, "ab"));
    cr_assert_eq(sfs_tree_find(merged.tree, SFS_ROOT, "abc", 2, &node), 0);
    cr_assert_eq(node, at(merged.tree, "ab"));
    const char *const absent[] = { "", ".", "..", "aa", "abcd", "x", "~", "A" };
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        cr_assert_eq(sfs_tree_find(merged.tree, SFS_ROOT, absent[i], strlen(absent[i]), &node),
                     -ENOENT, "%s", absent[i]);
}

Test(tree, finds_nothing_in_a_file)
{
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE("f a");
    sfs_node node;
    cr_assert_eq(sfs_tree_find(merged.tree, at(merged.tree, "a"), "b", 1, &node), -ENOTDIR);
    uint32_t count = 7;
    cr_assert_null(sfs_tree_list(merged.tree, at(merged.tree, "a"), &count));
    cr_assert_eq(count, 0);
}

Test(tree, knows_the_parent_of_a_directory)
{
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE("d a; d a/b", "f a/b/c/x");
    cr_assert_eq(sfs_tree_parent(merged.tree, at(merged.tree, "a/b/c")), at(merged.tree, "a/b"));
    cr_assert_eq(sfs_tree_parent(merged.tree, at(merged.tree, "a")), SFS_ROOT);
    cr_assert_eq(sfs_tree_parent(merged.tree, SFS_ROOT), SFS_ROOT);
}

Test(tree, tells_metadata_of_the_layer_that_gives_a_name)
{
    AUTO(tree_text_close)
    struct tree_text merged = TREE_TEXT_MERGE("f a 123 4755 7 99; c dev 5 6", "l l target");
    struct sfs_attr attr;
    sfs_tree_attr(merged.tree, at(merged.tree, "a"), &attr);
    cr_assert_eq(attr.mode, S_IFREG | 04755);
    cr_assert_eq(attr.uid, 7);
    cr_assert_eq(attr.mtime_sec, 99);
    cr_assert_eq(attr.size, 3);
    sfs_tree_attr(merged.tree, at(merged.tree, "dev"), &attr);
    cr_assert_eq(attr.rdev_major, 5);
    cr_assert_eq(attr.rdev_minor, 6);
    sfs_tree_attr(merged.tree, at(merged.tree, "l"), &attr);
    cr_assert_eq(attr.size, 6);
    cr_assert_str_eq(sfs_tree_target(merged.tree, at(merged.tree, "l")), "target");
    cr_assert_str_eq(sfs_tree_target(merged.tree, at(merged.tree, "a")), "");
}

Test(tree, tells_which_layer_a_node_is_from)
{
    AUTO(tree_text_close)
    struct tree_text merged = TREE_TEXT_MERGE("f a; d d", "f b; f d/x", "h c a");
    size_t layer;
    uint32_t inode, other;
    cr_assert_eq(sfs_tree_origin(merged.tree, at(merged.tree, "b"), &layer, &inode),
                 merged.layers[1]);
    cr_assert_eq(layer, 1);
    cr_assert_eq(sfs_tree_origin(merged.tree, at(merged.tree, "d"), &layer, &inode),
                 merged.layers[0]);
    cr_assert_eq(sfs_tree_origin(merged.tree, at(merged.tree, "c"), &layer, &inode),
                 merged.layers[0]);
    sfs_tree_origin(merged.tree, at(merged.tree, "a"), &layer, &other);
    cr_assert_eq(inode, other);
    cr_assert_eq(sfs_tree_layers(merged.tree), 3);
    cr_assert_str_eq(sfs_tree_layer_label(merged.tree, 2), "layer 2");
}

static struct sfs_layer *layer_with_xattrs(void)
{
    struct sfs_builder *builder = sfs_builder_open();
    const struct sfs_builder_xattr xattrs[] = { { "user.b", "two\0x", 5 }, { "user.a", "", 0 } };
    const struct sfs_builder_item item = { .inode.mode = S_IFREG | 0644,
                                           .xattrs = xattrs,
                                           .xattr_count = 2 };
    struct sfs_layer *layer = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_builder_add(builder, "x", &item, &err), 0);
    cr_assert_eq(sfs_layer_open_built(builder, "xattrs", &layer, &err), 0);
    sfs_builder_close(&builder);
    return layer;
}

Test(tree, tells_extended_attributes)
{
    AUTO(sfs_layer_close) struct sfs_layer *layer = layer_with_xattrs();
    AUTO(sfs_tree_close) struct sfs_tree *tree = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_tree_merge(&layer, 1, &tree, &err), 0);
    sfs_node node = at(tree, "x");
    cr_assert_eq(sfs_tree_xattr_count(tree, node), 2);
    cr_assert_eq(sfs_tree_xattr_count(tree, SFS_ROOT), 0);
    cr_assert_str_eq(sfs_tree_xattr(tree, node, 0).name, "user.a");
    cr_assert_eq(sfs_tree_xattr(tree, node, 0).size, 0);
    struct sfs_xattr xattr = sfs_tree_xattr(tree, node, 1);
    cr_assert_str_eq(xattr.name, "user.b");
    cr_assert_eq(xattr.size, 5);
    cr_assert_eq(memcmp(xattr.value, "two\0x", 5), 0);
}

Test(tree_read, reads_any_range)
{
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE("f a 01234567");
    struct sfs_error err;
    for (uint64_t offset = 0; offset < 10; offset++) {
        for (size_t size = 0; size < 10; size++) {
            char buf[16] = "";
            size_t left = offset < 8 ? 8 - offset : 0, wanted = size < left ? size : left;
            cr_assert_eq(sfs_tree_read(merged.tree, at(merged.tree, "a"), buf, size, offset, &err),
                         (ssize_t)wanted);
            cr_assert_eq(memcmp(buf, "01234567" + (offset < 8 ? offset : 8), wanted), 0);
        }
    }
    char byte;
    cr_assert_eq(
        sfs_tree_read(merged.tree, at(merged.tree, "a"), &byte, SIZE_MAX, UINT64_MAX, &err), 0);
}

Test(tree_read, lends_no_more_than_the_file_holds)
{
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE("f a 01234567");
    struct sfs_slice slice;
    struct sfs_error err;
    cr_assert_eq(sfs_tree_pin(merged.tree, at(merged.tree, "a"), 6, 100, &slice, &err), 0);
    cr_assert_eq(slice.size, 2);
    cr_assert_eq(memcmp(slice.data, "67", 2), 0);
    sfs_slice_release(&slice);
    cr_assert_eq(sfs_tree_pin(merged.tree, at(merged.tree, "a"), 8, 1, &slice, &err), -EINVAL);
    cr_assert_eq(sfs_tree_pin(merged.tree, at(merged.tree, "a"), 0, 0, &slice, &err), -EINVAL);
}

Test(tree_read, refuses_what_is_no_regular_file)
{
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE("l l a; c dev 1 3");
    struct sfs_error err;
    char byte;
    cr_assert_eq(sfs_tree_read(merged.tree, SFS_ROOT, &byte, 1, 0, &err), -EISDIR);
    cr_assert_eq(sfs_tree_read(merged.tree, at(merged.tree, "l"), &byte, 1, 0, &err), -EINVAL);
    cr_assert_eq(sfs_tree_read(merged.tree, at(merged.tree, "dev"), &byte, 1, 0, &err), -EINVAL);
}

/* Data at 100-200, 200-250 and 1000-1100 of 1500 bytes. */
static struct sfs_layer *layer_with_holes(void)
{
    struct sfs_builder *builder = sfs_builder_open();
    const struct sfs_extent extents[] = { { 100, 0, 100 }, { 200, 500, 50 }, { 1000, 600, 100 } };
    struct sfs_builder_item item = { .inode = { .mode = S_IFREG | 0644, .size = 1500 },
                                     .extents = extents,
                                     .extent_count = 3 };
    struct sfs_layer *layer = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_builder_add(builder, "sparse", &item, &err), 0);
    item.extent_count = 0;
    cr_assert_eq(sfs_builder_add(builder, "hole", &item, &err), 0);
    item.inode.size = 0;
    cr_assert_eq(sfs_builder_add(builder, "empty", &item, &err), 0);
    cr_assert_eq(sfs_layer_open_built(builder, "sparse", &layer, &err), 0);
    sfs_builder_close(&builder);
    return layer;
}

static void expect_seek(const struct sfs_tree *tree, const char *path, uint64_t offset, bool hole,
                        int64_t expected)
{
    uint64_t found = 12345;
    int r = sfs_tree_seek(tree, at(tree, path), offset, hole, &found);
    cr_assert_eq(r < 0 ? r : (int64_t)found, expected, "%s %s %llu: %lld", path,
                 hole ? "hole" : "data", (unsigned long long)offset,
                 r < 0 ? (long long)r : (long long)found);
}

Test(tree_seek, finds_data_and_holes)
{
    AUTO(sfs_layer_close) struct sfs_layer *layer = layer_with_holes();
    AUTO(sfs_tree_close) struct sfs_tree *tree = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_tree_merge(&layer, 1, &tree, &err), 0);
    const struct {
        uint64_t offset;
        int64_t data, hole;
    } cases[] = { { 0, 100, 0 },           { 99, 100, 99 },        { 100, 100, 250 },
                  { 200, 200, 250 },       { 249, 249, 250 },      { 250, 1000, 250 },
                  { 1099, 1099, 1100 },    { 1100, -ENXIO, 1100 }, { 1499, -ENXIO, 1499 },
                  { 1500, -ENXIO, -ENXIO } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_seek(tree, "sparse", cases[i].offset, false, cases[i].data);
        expect_seek(tree, "sparse", cases[i].offset, true, cases[i].hole);
    }
    expect_seek(tree, "hole", 7, false, -ENXIO);
    expect_seek(tree, "hole", 7, true, 7);
    expect_seek(tree, "empty", 0, true, -ENXIO);
    expect_seek(tree, ".", 0, false, -ENXIO);
}

static uint64_t prefetched[3];
static bool prefetch_fits = true;

static bool note_prefetch(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, uint64_t size,
                          enum sfs_pool_priority priority)
{
    (void)layer, (void)inode;
    prefetched[0] = offset;
    prefetched[1] = size;
    prefetched[2] = priority;
    return prefetch_fits;
}

Test(tree_prefetch, asks_the_layer_for_what_the_file_has)
{
    static const struct sfs_layer_ops ops = { .prefetch = note_prefetch };
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE("f a 01234567");
    merged.layers[0]->ops = &ops;
    cr_assert(sfs_tree_prefetch(merged.tree, at(merged.tree, "a"), 2, UINT64_MAX, SFS_POOL_AHEAD));
    cr_assert_eq(prefetched[0], 2);
    cr_assert_eq(prefetched[1], 6);
    cr_assert_eq(prefetched[2], SFS_POOL_AHEAD);
    prefetched[1] = 77;
    sfs_tree_prefetch(merged.tree, at(merged.tree, "a"), 8, 1, SFS_POOL_AHEAD);
    sfs_tree_prefetch(merged.tree, SFS_ROOT, 0, 1, SFS_POOL_AHEAD);
    cr_assert_eq(prefetched[1], 77);
}

Test(tree_prefetch, says_when_the_layer_has_no_room)
{
    static const struct sfs_layer_ops ops = { .prefetch = note_prefetch };
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE("f a 01234567");
    merged.layers[0]->ops = &ops;
    prefetch_fits = false;
    cr_assert_not(sfs_tree_prefetch(merged.tree, at(merged.tree, "a"), 0, 1, SFS_POOL_AHEAD));
    /* What has no bytes needs no room. */
    cr_assert(sfs_tree_prefetch(merged.tree, SFS_ROOT, 0, 1, SFS_POOL_AHEAD));
}

struct visits {
    struct sfs_buf text;
    const char *skip, *stop;
};

static int visit(void *user, const char *path, sfs_node node)
{
    (void)node;
    struct visits *visits = user;
    sfs_buf_printf(&visits->text, "[%s]", path);
    if (visits->stop && strcmp(path, visits->stop) == 0)
        return -EINTR;
    return visits->skip && strcmp(path, visits->skip) == 0 ? SFS_WALK_SKIP : 0;
}

static void expect_walk(const char *dir, const char *skip, const char *stop, const char *expected)
{
    AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE("f a/b/c; f a/b/d; f a/e; f f");
    struct visits visits = { .skip = skip, .stop = stop };
    struct sfs_error err;
    int r = sfs_tree_walk(merged.tree, at(merged.tree, dir), visit, &visits, &err);
    cr_assert_eq(r, stop ? -EINTR : 0);
    cr_assert_str_eq(visits.text.data, expected);
    sfs_buf_close(&visits.text);
}

Test(tree_walk, visits_parents_first_and_names_in_order)
{
    expect_walk("", NULL, NULL, "[][a][a/b][a/b/c][a/b/d][a/e][f]");
}

Test(tree_walk, tells_paths_from_where_it_began)
{
    expect_walk("a", NULL, NULL, "[][b][b/c][b/d][e]");
    expect_walk("f", NULL, NULL, "[]");
}

Test(tree_walk, skips_what_the_visitor_says)
{
    expect_walk("", "a/b", NULL, "[][a][a/b][a/e][f]");
    expect_walk("", "", NULL, "[]");
}

Test(tree_walk, stops_when_the_visitor_says)
{
    expect_walk("", NULL, "a/b/c", "[][a][a/b][a/b/c]");
    expect_walk("", NULL, "", "[]");
}
