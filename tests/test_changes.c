#include "commit_support.h"

#include <errno.h>
#include <fcntl.h>

static const struct sfs_tree *empty(void)
{
    return support_tree(NULL);
}

Test(changes, put_parents_first_and_names_in_order)
{
    expect_layer(empty(), support_tree("b/", "b/2=x", "b/1=", "a=y", "b.txt=z"),
                 "0644 0:0 @0 a=y\n"
                 "0755 0:0 @0 b/\n"
                 "0644 0:0 @0 b/1=\n"
                 "0644 0:0 @0 b/2=x\n"
                 "0644 0:0 @0 b.txt=z\n");
}

Test(changes, keep_all_metadata)
{
    expect_layer(
        empty(),
        support_tree("4755 1:2 @5 +user.a=b s=x", "1777 t/", "fifo p", "c5,1 d", "3:4 @9 l -> t"),
        "0644 0:0 @0 d\n"
        "0777 3:4 @9 l -> t\n"
        "0644 0:0 @0 p\n"
        "4755 1:2 @5 s=x +user.a=b\n"
        "1777 0:0 @0 t/\n");
}

Test(changes, leave_out_what_the_base_has)
{
    struct sfs_tree *base = support_tree("opt/", "opt/a=1", "opt/b=2", "usr/", "usr/x=3");
    expect_layer(base, support_stack(base, support_layer("opt/b=new", "opt/c/", "opt/c/d=4")),
                 "0644 0:0 @0 opt/b=new\n"
                 "0755 0:0 @0 opt/c/\n"
                 "0644 0:0 @0 opt/c/d=4\n");
}

Test(changes, are_none_between_a_tree_and_itself)
{
    struct sfs_tree *tree = support_tree("a/", "a/b=1", "a/c == a/b");
    expect_layer(tree, tree, "");
}

Test(changes, repeat_a_file_whose_mode_alone_changed)
{
    struct sfs_tree *base = support_tree("a=content");
    expect_layer(base, support_stack(base, support_layer("0600 a=content")),
                 "0600 0:0 @0 a=content\n");
}

Test(changes, write_the_root_only_if_it_changed)
{
    struct sfs_tree *base = support_tree("a=1");
    expect_layer(base, support_stack(base, support_layer("0700 5:6 ./")), "0700 5:6 @0 ./\n");
}

Test(changes, hide_removed_names_and_nothing_below_them)
{
    struct sfs_tree *base = support_tree("d/", "d/a=1", "d/s/", "d/s/b=2", "f=3");
    expect_layer(base, support_stack(base, support_layer("-d/s", "-f")),
                 "0000 0:0 @0 d/.wh.s=\n"
                 "0000 0:0 @0 .wh.f=\n");
}

Test(changes, need_no_whiteout_where_a_file_replaces_a_directory)
{
    struct sfs_tree *base = support_tree("d/", "d/a=1");
    expect_layer(base, support_stack(base, support_layer("-d", "d=file")), "0644 0:0 @0 d=file\n");
}

Test(changes, need_no_whiteout_where_a_directory_replaces_a_file)
{
    struct sfs_tree *base = support_tree("d=file");
    expect_layer(base, support_stack(base, support_layer("d/", "d/a=1")),
                 "0755 0:0 @0 d/\n"
                 "0644 0:0 @0 d/a=1\n");
}

Test(changes, hide_the_old_children_of_a_replaced_directory_one_by_one)
{
    struct sfs_tree *base = support_tree("d/", "d/old=1", "d/same=2");
    expect_layer(base, support_stack(base, support_layer("0700 d/", "!d/", "d/same=new")),
                 "0700 0:0 @0 d/\n"
                 "0000 0:0 @0 d/.wh.old=\n"
                 "0644 0:0 @0 d/same=new\n");
}

Test(changes, repeat_unchanged_parents_that_extractors_would_make_otherwise)
{
    struct sfs_tree *base = support_tree("1777 @7 tmp/", "home/", "0700 1000:1000 home/u/",
                                         "home/u/s/", "opt/", "opt/old=1");
    expect_layer(base,
                 support_stack(base, support_layer("tmp/x=1", "home/u/s/f=2", "home/u/s/g=3",
                                                   "opt/y=4", "-opt/old")),
                 "0700 1000:1000 @0 home/u/\n"
                 "0644 0:0 @0 home/u/s/f=2\n"
                 "0644 0:0 @0 home/u/s/g=3\n"
                 "0000 0:0 @0 opt/.wh.old=\n"
                 "0644 0:0 @0 opt/y=4\n"
                 "1777 0:0 @7 tmp/\n"
                 "0644 0:0 @0 tmp/x=1\n");
}

Test(changes, give_the_content_to_the_first_name_of_a_hard_link)
{
    expect_layer(empty(), support_tree("z=data", "m == z", "a/", "+user.k=v a/q=other", "b == a/q"),
                 "0755 0:0 @0 a/\n"
                 "0644 0:0 @0 a/q=other +user.k=v\n"
                 "0644 0:0 @0 b == a/q +user.k=v\n"
                 "0644 0:0 @0 m=data\n"
                 "0644 0:0 @0 z == m\n");
}

Test(changes, link_names_of_symlinks_and_devices_too)
{
    expect_layer(empty(), support_tree("l -> t", "m == l", "c1,3 x", "y == x"),
                 "0777 0:0 @0 l -> t\n"
                 "0777 0:0 @0 m == l\n"
                 "0644 0:0 @0 x\n"
                 "0644 0:0 @0 y == x\n");
}

Test(changes, never_link_to_what_only_the_base_holds)
{
    struct sfs_tree *base = support_tree("a=data");
    expect_layer(base, support_stack(base, support_layer("b == a")),
                 "0644 0:0 @0 a=data\n"
                 "0644 0:0 @0 b == a\n");
}

Test(changes, refuse_names_that_mean_something_in_a_layer)
{
    struct sfs_error err = { "" };
    AUTO(sfs_changes_done) struct sfs_changes changes = { 0 };
    int r = sfs_changes_find(empty(), support_tree("d/", "d/.wh.x=1"), &changes, &err);
    cr_assert_eq(r, -ENOTSUP);
    cr_assert_eq(strncmp(err.text, "d/.wh.x: a layer cannot hold", 28), 0, "%s", err.text);
    cr_assert_eq(changes.count, 0);
}

Test(changes, count_what_there_is)
{
    struct sfs_tree *base = support_tree("gone=1");
    struct sfs_tree *tree = support_stack(base, support_layer("-gone", "a=123", "b == a", "d/"));
    AUTO(made_layer_done)
    struct made_layer made = make_layer(base, tree, SFS_COMPRESS_NONE, -1, NULL);
    cr_assert_eq(made.changes.count, 4);
    cr_assert_eq(made.changes.files, 1);
    cr_assert_eq(made.changes.whiteouts, 1);
    cr_assert_eq(made.changes.file_bytes, 3);
}

Test(layer_write, fills_holes_with_zeros)
{
    AUTO(made_layer_done)
    struct made_layer made =
        make_layer(empty(), support_tree("sparse#3000000"), SFS_COMPRESS_GZIP, -1, NULL);
    AUTO(sfs_free) char *got = list_layer(&made);
    cr_assert_eq(strlen(got), strlen("0644 0:0 @0 sparse=\n") + 3000000);
    cr_assert_str_eq(got + strlen(got) - 4, "..x\n");
    cr_assert_eq(made.result.in_size, 512 + 3000320 + 1024);
    cr_assert_lt(made.result.out_size, 10000);
}

Test(layer_write, drops_labels_of_the_builders_machine)
{
    expect_layer(empty(), support_tree("+security.selinux=x +user.a=b f=1"),
                 "0644 0:0 @0 f=1 +user.a=b\n");
}

Test(layer_write, clamps_times_to_the_epoch_and_leaves_earlier_ones)
{
    AUTO(made_layer_done)
    struct made_layer made =
        make_layer(empty(), support_tree("@100 a=1", "@99.5 b=2", "@101 c/", "@500 l -> a"),
                   SFS_COMPRESS_NONE, 100, NULL);
    AUTO(sfs_free) char *got = list_layer(&made);
    cr_assert_str_eq(got, "0644 0:0 @100 a=1\n0644 0:0 @99 b=2\n0755 0:0 @100 c/\n"
                          "0777 0:0 @100 l -> a\n");
}

Test(layer_write, warns_when_clamping_makes_python_compile_again)
{
    struct support_warnings warnings;
    support_warnings_init(&warnings);
    AUTO(made_layer_done)
    struct made_layer made =
        make_layer(empty(), support_tree("@500 m.py=1", "@500 m.cpython-311.pyc=2"),
                   SFS_COMPRESS_NONE, 100, &warnings.progress);
    cr_assert_eq(warnings.count, 1);
    cr_assert_eq(strncmp(warnings.last, "1 .py file newer", 15), 0, "%s", warnings.last);
}

Test(layer_write, says_that_holes_become_zeros)
{
    struct support_warnings warnings;
    support_warnings_init(&warnings);
    AUTO(made_layer_done)
    struct made_layer made = make_layer(empty(), support_tree("a#2000001", "b#3000001", "small#99"),
                                        SFS_COMPRESS_ZSTD, -1, &warnings.progress);
    cr_assert_eq(warnings.count, 1);
    cr_assert_eq(
        strncmp(warnings.last, "5000000 bytes of holes are written as zeros (sparse files: 2)", 61),
        0, "%s", warnings.last);
    cr_assert_gt(made.result.in_size, 5000000);
}

Test(layer_write, is_an_empty_tar_for_no_changes)
{
    struct sfs_tree *tree = support_tree("a=1");
    AUTO(made_layer_done)
    struct made_layer made = make_layer(tree, tree, SFS_COMPRESS_NONE, -1, NULL);
    cr_assert_eq(made.result.in_size, 1024);
    cr_assert_eq(made.result.out_size, 1024);
}

static void count_reports(void *user, const char *what, uint64_t done, uint64_t total)
{
    uint64_t *last = user;
    cr_assert_str_eq(what, "committing");
    cr_assert_leq(*last, done);
    cr_assert_eq(total, 20000000);
    *last = done;
}

Test(layer_write, tells_how_far_it_is)
{
    uint64_t last = 0;
    struct sfs_progress progress = { .report = count_reports, .user = &last };
    AUTO(made_layer_done)
    struct made_layer made =
        make_layer(empty(), support_tree("f#20000000"), SFS_COMPRESS_ZSTD, -1, &progress);
    cr_assert_eq(last, 20000000);
}

static int break_pin(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, size_t size,
                     struct sfs_slice *ret_slice, struct sfs_error *error)
{
    (void)layer, (void)inode, (void)offset, (void)size, (void)ret_slice;
    return sfs_fail(error, EIO, "the disk is broken");
}

static int write_nowhere(const struct sfs_tree *tree, int fd, struct sfs_error *error)
{
    AUTO(sfs_changes_done) struct sfs_changes changes = { 0 };
    struct sfs_layer_written written;
    cr_assert_eq(sfs_changes_find(empty(), tree, &changes, error), 0);
    struct sfs_layer_write write = { .tree = tree,
                                     .changes = &changes,
                                     .pipe = { .threads = 2, .fd = fd, .name = "the layer" } };
    cr_assert_eq(sfs_compress_plan(SFS_COMPRESS_GZIP, 0, &write.pipe.plan, error), 0);
    return sfs_layer_write(&write, &written, error);
}

Test(layer_write, names_the_file_that_cannot_be_read)
{
    static const struct sfs_layer_ops broken = { .pin = break_pin };
    struct sfs_error error = { "" };
    struct sfs_builder *builder = sfs_builder_open();
    struct sfs_layer *layer = NULL;
    struct sfs_extent extent = { .size = 5 };
    struct sfs_builder_item item = { .inode = { .mode = S_IFREG | 0644, .size = 5 },
                                     .extents = &extent,
                                     .extent_count = 1 };
    cr_assert_eq(sfs_builder_add(builder, "usr/lib/x", &item, &error), 0);
    cr_assert_eq(sfs_layer_open_built(builder, "built", &layer, &error), 0);
    layer->ops = &broken;
    cr_assert_eq(write_nowhere(support_stack(empty(), layer), -1, &error), -EIO);
    cr_assert_str_eq(error.text, "usr/lib/x: the disk is broken");
    sfs_builder_close(&builder);
}

Test(layer_write, names_the_destination_when_it_is_full)
{
    struct sfs_error error = { "" };
    AUTO(sfs_close_fd) int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    cr_assert_eq(write_nowhere(support_tree("a=1", "b#30000000"), fd, &error), -ENOSPC);
    cr_assert_str_eq(error.text, "writing the layer: No space left on device");
}
