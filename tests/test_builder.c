#include "base/limits.h"
#include "tables_text.h"

static struct sfs_builder *builder;
static struct sfs_error err;

static void open_builder(void)
{
    builder = sfs_builder_open();
    cr_assert_not_null(builder);
}

static void close_builder(void)
{
    sfs_builder_close(&builder);
}

static int try_add(const char *path, uint32_t mode, const char *target)
{
    struct sfs_builder_item item = { .inode.mode = mode, .target = target };
    return sfs_builder_add(builder, path, &item, &err);
}

static void add_dir(const char *path, uint32_t permissions)
{
    cr_assert_eq(try_add(path, S_IFDIR | permissions, NULL), 0, "%s", err.text);
}

static void add_link(const char *path, const char *target)
{
    cr_assert_eq(try_add(path, S_IFLNK | 0777, target), 0, "%s", err.text);
}

static void add_file(const char *path, uint64_t size)
{
    struct sfs_extent extent = { .data_offset = 512, .size = size };
    struct sfs_builder_item item = { .inode = { .mode = S_IFREG | 0644, .size = size },
                                     .extents = &extent,
                                     .extent_count = 1 };
    cr_assert_eq(sfs_builder_add(builder, path, &item, &err), 0, "%s", err.text);
}

static void hard_link(const char *path, const char *target)
{
    cr_assert_eq(sfs_builder_link(builder, path, target, &err), 0, "%s", err.text);
}

static void whiteout(const char *path)
{
    cr_assert_eq(sfs_builder_whiteout(builder, path, &err), 0, "%s", err.text);
}

static void opaque(const char *path)
{
    cr_assert_eq(sfs_builder_opaque(builder, path, &err), 0, "%s", err.text);
}

static void finish(struct sfs_tables *tables, void **memory)
{
    cr_assert_eq(sfs_builder_finish(builder, tables, memory, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_tables_check(tables, 1 << 20, &err), 0, "%s", err.text);
}

static void expect(const char *text)
{
    struct sfs_tables tables;
    AUTO(sfs_tables_close) void *memory = NULL;
    finish(&tables, &memory);
    AUTO(sfs_free) char *actual = tables_text(&tables);
    cr_assert_str_eq(actual, text);
}

static void expect_refused(int r, const char *words)
{
    cr_assert_eq(r, -EBADMSG, "%d", r);
    cr_assert_not_null(strstr(err.text, words), "%s", err.text);
}

TestSuite(builder, .init = open_builder, .fini = close_builder);

Test(builder, nothing_added_is_an_empty_root)
{
    expect("");
}

Test(builder, names_come_sorted_directory_by_directory)
{
    add_file("b", 1);
    add_dir("a", 0755);
    add_file("a/z", 1);
    add_file("a/y", 1);
    add_file("a!", 1);
    expect("a d755\na! f644 1\nb f644 1\na/y f644 1\na/z f644 1\n");
}

Test(builder, shorter_names_and_high_bytes_sort_as_memcmp_sorts_them)
{
    add_file("longname-b", 1);
    add_file("longname", 1);
    add_file("longname-a", 1);
    add_file("\xff", 1);
    add_file("z", 1);
    expect("longname f644 1\nlongname-a f644 1\nlongname-b f644 1\nz f644 1\n\xff f644 1\n");
}

Test(builder, dots_and_slashes_in_paths_mean_nothing)
{
    add_dir("./", 0700);
    add_dir("./a//", 0755);
    add_file("/a/./b", 3);
    expect(" d700\na d755\na/b f644 3\n");
}

Test(builder, a_path_that_climbs_is_refused)
{
    expect_refused(try_add("a/../b", S_IFREG, NULL), "\"..\"");
    expect_refused(try_add("..", S_IFDIR, NULL), "\"..\"");
    expect_refused(sfs_builder_link(builder, "a", "../b", &err), "\"..\"");
    expect_refused(sfs_builder_whiteout(builder, "../a", &err), "\"..\"");
    expect_refused(sfs_builder_opaque(builder, "a/..", &err), "\"..\"");
}

Test(builder, a_name_that_only_begins_with_dots_is_fine)
{
    add_file("..a", 1);
    add_file("...", 1);
    expect("... f644 1\n..a f644 1\n");
}

Test(builder, missing_parents_are_implied)
{
    add_file("a/b/c", 1);
    expect("a implied\na/b implied\na/b/c f644 1\n");
}

Test(builder, an_implied_directory_that_comes_later_is_no_longer_implied)
{
    add_file("a/c", 1);
    add_dir("a", 0711);
    expect("a d711\na/c f644 1\n");
}

Test(builder, the_last_of_two_files_wins)
{
    add_file("a", 1);
    add_file("a", 2);
    expect("a f644 2\n");
}

Test(builder, a_directory_over_a_directory_keeps_its_children)
{
    add_dir("a", 0755);
    add_file("a/b", 1);
    opaque("a");
    add_dir("a", 0700);
    expect("a opaque d700\na/b f644 1\n");
}

Test(builder, a_file_over_a_directory_removes_what_was_below)
{
    add_file("a/b/c/d", 1);
    add_file("a/b/e", 1);
    add_file("a/f", 1);
    opaque("a");
    add_file("a", 7);
    add_file("b", 7);
    expect("a f644 7\nb f644 7\n");
}

Test(builder, a_directory_over_a_file_hides_the_lower_directory)
{
    add_file("a", 1);
    add_dir("a", 0755);
    add_file("a/b", 1);
    expect("a - d755\na/b f644 1\n");
}

Test(builder, names_can_come_back_after_their_directory_was_replaced)
{
    add_file("a/b", 1);
    add_file("a", 1);
    add_dir("a", 0755);
    add_file("a/b", 2);
    expect("a - d755\na/b f644 2\n");
}

Test(builder, a_file_below_a_file_is_refused)
{
    add_file("a", 1);
    expect_refused(try_add("a/b", S_IFREG, NULL), "a is not a directory");
}

Test(builder, the_root_must_be_a_directory)
{
    expect_refused(try_add("./", S_IFREG, NULL), "root");
    expect_refused(sfs_builder_whiteout(builder, "/", &err), "root");
    expect_refused(sfs_builder_link(builder, "/", "a", &err), "root");
}

Test(builder, a_symlink_in_the_middle_of_a_path_is_followed_inside_the_layer)
{
    add_dir("usr/lib", 0755);
    add_link("lib", "usr/lib");
    add_link("abs", "/lib");
    add_file("lib/a", 1);
    add_file("abs/b", 1);
    expect("abs l777 -> /lib\nlib l777 -> usr/lib\nusr implied\nusr/lib d755\nusr/lib/a f644 1\n"
           "usr/lib/b f644 1\n");
}

Test(builder, a_symlink_that_climbs_stops_at_the_root)
{
    add_link("up", "../../../x");
    add_file("up/a", 1);
    expect("up l777 -> ../../../x\nx implied\nx/a f644 1\n");
}

Test(builder, symlinks_in_a_circle_are_refused)
{
    add_link("a", "b");
    add_link("b", "a");
    expect_refused(try_add("a/c", S_IFREG, NULL), "too many symbolic links");
}

Test(builder, a_symlink_that_becomes_a_directory_is_not_followed_any_more)
{
    add_link("a", "b");
    add_file("a/x", 1);
    add_dir("a", 0755);
    add_file("a/x", 2);
    expect("a - d755\nb implied\na/x f644 2\nb/x f644 1\n");
}

Test(builder, a_directory_that_becomes_a_symlink_is_followed)
{
    add_file("a/x", 1);
    add_link("a", "b");
    add_file("a/x", 2);
    expect("a l777 -> b\nb implied\nb/x f644 2\n");
}

Test(builder, a_symlink_needs_a_target_that_the_kernel_takes)
{
    static char target[SFS_MAX_SYMLINK + 2];
    memset(target, 'a', sizeof target - 1);
    expect_refused(try_add("a", S_IFLNK, ""), "no target");
    expect_refused(try_add("a", S_IFLNK, target), "longer than");
    target[SFS_MAX_SYMLINK] = 0;
    cr_assert_eq(try_add("a", S_IFLNK, target), 0);
}

Test(builder, a_symlink_has_the_mode_that_linux_gives_it)
{
    cr_assert_eq(try_add("a", S_IFLNK | 04640, "b"), 0);
    expect("a l777 -> b\n");
}

Test(builder, hard_links_share_an_inode)
{
    add_file("a", 5);
    hard_link("d/b", "./a");
    hard_link("c", "d/b");
    expect("a f644 5 x3\nc f644 5 x3\nd implied\nd/b f644 5 x3\n");
}

Test(builder, a_hard_link_keeps_the_inode_when_its_target_is_replaced)
{
    add_file("a", 5);
    hard_link("b", "a");
    add_file("a", 6);
    expect("a f644 6\nb f644 5\n");
}

Test(builder, a_hard_link_to_a_symlink_is_that_symlink)
{
    add_link("a", "x");
    hard_link("b", "a");
    expect("a l777 -> x x2\nb l777 -> x x2\n");
}

Test(builder, a_hard_link_out_of_the_layer_keeps_its_path)
{
    hard_link("a", "/usr//./bin/x/");
    hard_link("b", "a");
    expect("a => usr/bin/x x2\nb => usr/bin/x x2\n");
}

Test(builder, a_hard_link_to_a_whiteout_points_below)
{
    whiteout("a");
    hard_link("b", "a");
    expect("a -\nb => a\n");
}

Test(builder, a_hard_link_to_itself_changes_nothing)
{
    add_file("a", 5);
    hard_link("a", "a");
    expect("a f644 5\n");
}

Test(builder, a_hard_link_to_a_directory_is_refused)
{
    add_dir("a", 0755);
    expect_refused(sfs_builder_link(builder, "b", "a", &err), "a hard link to a directory");
}

Test(builder, a_hard_link_cannot_replace_the_directory_of_its_target)
{
    add_file("a/b/c", 5);
    expect_refused(sfs_builder_link(builder, "a", "a/b/c", &err), "replaces the directory");
}

Test(builder, a_file_over_a_hard_link_is_a_file)
{
    hard_link("a", "x");
    add_file("a", 3);
    expect("a f644 3\n");
}

Test(builder, a_whiteout_is_a_name_without_an_inode)
{
    whiteout("a/b");
    expect("a implied\na/b -\n");
}

Test(builder, a_whiteout_leaves_what_the_layer_has_itself)
{
    add_file("a", 5);
    whiteout("a");
    whiteout("b");
    add_file("b", 6);
    expect("a - f644 5\nb - f644 6\n");
}

Test(builder, a_name_below_a_whiteout_makes_a_new_directory_there)
{
    whiteout("a");
    add_file("a/b", 5);
    expect("a - implied\na/b f644 5\n");
}

Test(builder, the_root_can_be_opaque)
{
    opaque("");
    expect(" opaque implied\n");
}

Test(builder, every_kind_of_file_keeps_what_belongs_to_it)
{
    struct sfs_builder_item item = { .inode = { .mode = S_IFCHR | 06755,
                                                .mtime_sec = -5,
                                                .mtime_nsec = 7,
                                                .uid = UINT32_MAX,
                                                .gid = 3,
                                                .size = 99,
                                                .rdev_major = 4,
                                                .rdev_minor = 70000,
                                                .source = 11 } };
    cr_assert_eq(sfs_builder_add(builder, "c", &item, &err), 0);
    item.inode.mode = S_IFIFO | 0600;
    cr_assert_eq(sfs_builder_add(builder, "p", &item, &err), 0);
    struct sfs_tables tables;
    AUTO(sfs_tables_close) void *memory = NULL;
    finish(&tables, &memory);
    const struct sfs_inode_rec *device = &tables.inodes[tables.entries[1].inode];
    const struct sfs_inode_rec *fifo = &tables.inodes[tables.entries[2].inode];
    cr_assert_eq(device->mode, S_IFCHR | 06755);
    cr_assert_eq(device->mtime_sec, -5);
    cr_assert_eq(device->mtime_nsec, 7);
    cr_assert_eq(device->uid, UINT32_MAX);
    cr_assert_eq(device->gid, 3);
    cr_assert_eq(device->size, 0);
    cr_assert_eq(device->rdev_minor, 70000);
    cr_assert_eq(device->source, 11);
    cr_assert_eq(fifo->rdev_major, 0);
}

Test(builder, a_socket_is_refused)
{
    expect_refused(try_add("s", S_IFSOCK | 0600, NULL), "unknown file type");
}

Test(builder, extents_must_lie_in_the_file_in_order)
{
    struct sfs_extent bad[][2] = { { { 0, 0, 5 }, { 4, 5, 1 } },
                                   { { 0, 0, 5 }, { 5, 5, 6 } },
                                   { { 11, 0, 1 }, { 0 } },
                                   { { 0, UINT64_MAX, 2 }, { 0 } } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct sfs_builder_item item = { .inode = { .mode = S_IFREG, .size = 10 },
                                         .extents = bad[i],
                                         .extent_count = 2 };
        expect_refused(sfs_builder_add(builder, "a", &item, &err), "outside the file");
    }
}

Test(builder, empty_extents_are_dropped)
{
    struct sfs_extent extents[] = { { 0, 7, 0 }, { 0, 8, 2 }, { 5, 9, 0 }, { 6, 10, 4 } };
    struct sfs_builder_item item = { .inode = { .mode = S_IFREG, .size = 10 },
                                     .extents = extents,
                                     .extent_count = 4 };
    cr_assert_eq(sfs_builder_add(builder, "a", &item, &err), 0);
    struct sfs_tables tables;
    AUTO(sfs_tables_close) void *memory = NULL;
    finish(&tables, &memory);
    cr_assert_eq(tables.extent_count, 2);
    cr_assert_eq(tables.extents[1].data_offset, 10);
}

static const struct sfs_xattr_rec *xattr_of(const struct sfs_tables *tables, sfs_entry entry,
                                            uint32_t i)
{
    return &tables->xattrs[tables->inodes[tables->entries[entry].inode].xattrs + i];
}

Test(builder, attributes_are_sorted_and_the_last_of_a_name_wins)
{
    struct sfs_builder_xattr xattrs[] = { { "user.b", "one", 3 },
                                          { "user.a", "\0\1", 2 },
                                          { "user.b", "two", 3 } };
    struct sfs_builder_item item = { .inode.mode = S_IFREG, .xattrs = xattrs, .xattr_count = 3 };
    cr_assert_eq(sfs_builder_add(builder, "a", &item, &err), 0);
    struct sfs_tables tables;
    AUTO(sfs_tables_close) void *memory = NULL;
    finish(&tables, &memory);
    cr_assert_eq(tables.inodes[tables.entries[1].inode].xattr_count, 2);
    const struct sfs_xattr_rec *a = xattr_of(&tables, 1, 0), *b = xattr_of(&tables, 1, 1);
    cr_assert_str_eq(tables.strings + a->name, "user.a");
    cr_assert_eq(a->value_size, 2);
    cr_assert_eq(memcmp(tables.strings + a->value, "\0\1", 2), 0);
    cr_assert_str_eq(tables.strings + b->value, "two");
}

Test(builder, neighbours_with_equal_attributes_share_them)
{
    struct sfs_builder_xattr xattrs[] = { { "user.b", "one", 3 } };
    struct sfs_builder_item item = { .inode.mode = S_IFREG, .xattrs = xattrs, .xattr_count = 1 };
    cr_assert_eq(sfs_builder_add(builder, "a", &item, &err), 0);
    cr_assert_eq(sfs_builder_add(builder, "b/c", &item, &err), 0);
    xattrs[0].value = "two";
    cr_assert_eq(sfs_builder_add(builder, "d", &item, &err), 0);
    struct sfs_tables tables;
    AUTO(sfs_tables_close) void *memory = NULL;
    finish(&tables, &memory);
    cr_assert_eq(tables.xattr_count, 2);
}

Test(builder, attributes_over_the_kernels_limits_are_refused)
{
    static char value[SFS_MAX_XATTR + 1];
    struct sfs_builder_xattr xattr = { "user.a", value, sizeof value };
    struct sfs_builder_item item = { .inode.mode = S_IFREG, .xattrs = &xattr, .xattr_count = 1 };
    cr_assert_eq(sfs_builder_add(builder, "a", &item, &err), -E2BIG);
    xattr.size--;
    cr_assert_eq(sfs_builder_add(builder, "a", &item, &err), 0);
    xattr.name = "";
    cr_assert_eq(sfs_builder_add(builder, "a", &item, &err), -EBADMSG);
}

Test(builder, names_and_paths_have_limits)
{
    static char path[SFS_MAX_PATH + 2];
    memset(path, 'a', SFS_MAX_NAME + 1);
    expect_refused(try_add(path, S_IFREG, NULL), "longer than 255 bytes");
    path[SFS_MAX_NAME] = 0;
    cr_assert_eq(try_add(path, S_IFREG, NULL), 0);
    memset(path, '/', SFS_MAX_PATH + 1);
    cr_assert_eq(try_add(path, S_IFREG, NULL), -E2BIG);
}

Test(builder, deep_directories_have_a_limit_and_can_be_replaced)
{
    static char path[2 * SFS_MAX_DEPTH + 3];
    for (size_t i = 0; i <= SFS_MAX_DEPTH; i++)
        memcpy(path + 2 * i, "a/", 3);
    cr_assert_eq(try_add(path, S_IFDIR, NULL), -E2BIG);
    path[2 * SFS_MAX_DEPTH] = 0;
    cr_assert_eq(try_add(path, S_IFDIR, NULL), 0, "%s", err.text);
    struct sfs_tables tables;
    add_file("b", 1);
    void *memory = NULL;
    finish(&tables, &memory);
    cr_assert_eq(tables.entry_count, SFS_MAX_DEPTH + 2);
    sfs_tables_close(&memory);
}

Test(builder, a_deep_directory_can_be_replaced_by_a_file)
{
    static char path[2 * SFS_MAX_DEPTH + 1];
    for (size_t i = 0; i < SFS_MAX_DEPTH; i++)
        memcpy(path + 2 * i, "a/", 3);
    add_dir(path, 0755);
    add_file("a", 1);
    expect("a f644 1\n");
}

Test(builder, many_names_come_out_complete)
{
    char path[64];
    for (unsigned i = 0; i < 200000; i++) {
        snprintf(path, sizeof path, "d%u/file%u", i * 7919 % 211, i * 7919 % 200003);
        add_file(path, 1);
    }
    struct sfs_tables tables;
    AUTO(sfs_tables_close) void *memory = NULL;
    finish(&tables, &memory);
    cr_assert_eq(tables.entry_count, 1 + 211 + 200000);
    for (unsigned i = 0; i < 200000; i += 997) {
        sfs_entry dir, file;
        int n = snprintf(path, sizeof path, "d%u", i * 7919 % 211);
        cr_assert_eq(sfs_tables_find(&tables, 0, path, (size_t)n, &dir), 0);
        n = snprintf(path, sizeof path, "file%u", i * 7919 % 200003);
        cr_assert_eq(sfs_tables_find(&tables, dir, path, (size_t)n, &file), 0);
    }
}
