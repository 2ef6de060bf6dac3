#include "layer_fixture.h"

#include <sys/sysmacros.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/xattr.h>

static char top[96];

static void open_dir_test(void)
{
    fixture_open();
    snprintf(top, sizeof top, "%s/tree", fixture_dir);
    cr_assert_eq(mkdir(top, 0755), 0);
    cr_assert_eq(chdir(top), 0);
}

static void close_dir_test(void)
{
    cr_assert_eq(chdir("/"), 0);
    fixture_close();
}

TestSuite(layer_dir, .init = open_dir_test, .fini = close_dir_test);

static void put(const char *name, const char *text, mode_t mode)
{
    AUTO(sfs_close_fd) int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    cr_assert_geq(fd, 0, "%s", name);
    cr_assert_eq(sfs_io_write_all(fd, text, strlen(text)), 0);
    cr_assert_eq(fchmod(fd, mode), 0);
}

static struct sfs_layer *open_layer(unsigned flags)
{
    struct sfs_layer *layer = NULL;
    cr_assert_eq(sfs_layer_open_dir(top, flags, "the directory", &layer, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_tables_check(&layer->tables, INT64_MAX, &err), 0, "%s", err.text);
    return layer;
}

Test(layer_dir, shows_names_metadata_and_bytes)
{
    cr_assert_eq(mkdir("d", 0700), 0);
    put("d/file", "hello", 04751);
    put("a", "", 0600);
    cr_assert_eq(symlink("../a", "d/link"), 0);
    cr_assert_eq(mkfifo("pipe", 0), 0);
    cr_assert_eq(chmod("pipe", 0640), 0);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(0);
    fixture_expect(layer, " d755\na f600 0\nd d700\npipe p640\nd/file f4751 5\n"
                          "d/link l777 -> ../a\n");
    fixture_expect_bytes(layer, "d/file", "hello", 5);
    struct stat st;
    cr_assert_eq(stat("d/file", &st), 0);
    cr_assert_eq(fixture_inode(layer, "d/file")->mtime_sec, st.st_mtim.tv_sec);
    cr_assert_eq(fixture_inode(layer, "d/file")->mtime_nsec, st.st_mtim.tv_nsec);
    cr_assert_eq(fixture_inode(layer, "d/file")->uid, st.st_uid);
}

Test(layer_dir, hard_links_are_one_inode)
{
    put("a", "hello", 0644);
    cr_assert_eq(mkdir("d", 0755), 0);
    cr_assert_eq(link("a", "d/b"), 0);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(0);
    fixture_expect(layer, " d755\na f644 5 x2\nd d755\nd/b f644 5 x2\n");
    fixture_expect_bytes(layer, "d/b", "hello", 5);
}

Test(layer_dir, sockets_are_left_out_and_told)
{
    put("a", "", 0600);
    cr_assert_eq(mknod("s", S_IFSOCK | 0600, 0), 0);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(0);
    fixture_expect(layer, " d755\na f600 0\n");
    cr_assert_str_eq(sfs_layer_dir_left_out(layer), "1 socket (s)");
    for (int i = 0; i < 3; i++) {
        char name[] = { (char)('t' + i), 0 };
        cr_assert_eq(mknod(name, S_IFSOCK | 0600, 0), 0);
    }
    AUTO(sfs_layer_close) struct sfs_layer *more = open_layer(0);
    cr_assert_not_null(strstr(sfs_layer_dir_left_out(more), "4 sockets ("));
    cr_assert_not_null(strstr(sfs_layer_dir_left_out(more), ", ...)"));
}

Test(layer_dir, sockets_of_a_context_are_empty_files)
{
    cr_assert_eq(mknod("s", S_IFSOCK, 0), 0);
    cr_assert_eq(chmod("s", 0555), 0);
    cr_assert_eq(link("s", "same"), 0);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(SFS_LAYER_DIR_STUBS);
    fixture_expect(layer, " d755\ns f555 0 x2\nsame f555 0 x2\n");
    cr_assert_null(sfs_layer_dir_left_out(layer));
}

Test(layer_dir, what_is_mounted_inside_is_part_of_it)
{
    cr_assert_eq(mkdir("d", 0755), 0);
    cr_assert_eq(mkdir("d/proc", 0755), 0);
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "d", "tmpfs", 0, "mode=755") < 0)
        cr_skip_test("needs root");
    put("d/file", "hello", 0644);
    cr_assert_eq(mkdir("d/proc", 0755), 0);
    cr_assert_eq(mount("none", "d/proc", "proc", 0, NULL), 0);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(0);
    fixture_expect(layer, " d755\nd d755\nd/file f644 5\nd/proc d555\n");
    fixture_expect_bytes(layer, "d/file", "hello", 5);
    cr_assert_str_eq(sfs_layer_dir_left_out(layer), "1 file system of the kernel's own (d/proc)");
    umount2("d/proc", MNT_DETACH);
    umount2("d", MNT_DETACH);
}

Test(layer_dir, extended_attributes_are_shown_with_any_bytes)
{
    static char large[5000] = "large";
    put("a", "", 0644);
    if (setxattr("a", "user.b", "x\0y", 3, 0) < 0)
        cr_skip_test("no extended attributes here");
    cr_assert_eq(setxattr("a", "user.a", "", 0, 0), 0);
    bool has_large = setxattr("a", "user.large", large, sizeof large, 0) == 0;
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(0);
    fixture_expect_xattr(layer, "a", "user.b", "x\0y", 3);
    fixture_expect_xattr(layer, "a", "user.a", "", 0);
    if (has_large)
        fixture_expect_xattr(layer, "a", "user.large", large, sizeof large);
}

Test(layer_dir, holes_stay_holes)
{
    put("sparse", "", 0644);
    AUTO(sfs_close_fd) int fd = open("sparse", O_RDWR);
    cr_assert_eq(pwrite(fd, "data", 4, 1 << 20), 4);
    cr_assert_eq(ftruncate(fd, 3 << 20), 0);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(0);
    const struct sfs_inode_rec *inode = fixture_inode(layer, "sparse");
    off_t data = lseek(fd, 0, SEEK_DATA);
    cr_assert_eq(inode->count, 1);
    cr_assert_eq(layer->tables.extents[inode->first].file_offset, (uint64_t)data);
    static char bytes[3 << 20];
    memcpy(bytes + (1 << 20), "data", 4);
    fixture_expect_bytes(layer, "sparse", bytes, sizeof bytes);
}

Test(layer_dir, directories_may_be_deeper_than_any_path)
{
    enum { DEPTH = 300 };
    char name[41];
    memset(name, 'd', 40);
    name[40] = 0;
    for (int i = 0; i < DEPTH; i++) {
        cr_assert_eq(mkdir(name, 0755), 0);
        cr_assert_eq(chdir(name), 0);
    }
    put("deep", "hello", 0644);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(0);
    cr_assert_eq(layer->tables.entry_count, DEPTH + 2);
    AUTO(sfs_free)
    char *data = fixture_read(layer, layer->tables.entries[layer->tables.entry_count - 1].inode);
    cr_assert_str_eq(data, "hello");
}

Test(layer_dir, a_file_that_was_replaced_is_not_read)
{
    put("a", "hello", 0644);
    put("b", "other", 0644);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(0);
    sfs_inode inode = layer->tables.entries[fixture_find(layer, "a")].inode;
    cr_assert_eq(rename("b", "a"), 0);
    struct sfs_slice slice;
    cr_assert_eq(sfs_layer_pin(layer, inode, 0, 5, &slice, &err), -EIO);
    cr_assert_not_null(strstr(err.text, "a was changed since it was listed"), "%s", err.text);
    cr_assert_eq(unlink("a"), 0);
    cr_assert_eq(sfs_layer_pin(layer, inode, 0, 5, &slice, &err), -EIO);
}

Test(layer_dir, a_directory_that_became_a_symlink_is_not_followed)
{
    cr_assert_eq(mkdir("d", 0755), 0);
    put("d/a", "hello", 0644);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(0);
    sfs_inode inode = layer->tables.entries[fixture_find(layer, "d/a")].inode;
    cr_assert_eq(rename("d", "../moved"), 0);
    cr_assert_eq(symlink("../moved", "d"), 0);
    struct sfs_slice slice;
    cr_assert_eq(sfs_layer_pin(layer, inode, 0, 5, &slice, &err), -EIO);
}

Test(layer_dir, a_place_that_is_no_directory_is_refused)
{
    put("a", "", 0644);
    struct sfs_layer *layer = NULL;
    cr_assert_eq(sfs_layer_open_dir("a", 0, "x", &layer, &err), -ENOTDIR);
    cr_assert_eq(sfs_layer_open_dir("nowhere", 0, "x", &layer, &err), -ENOENT);
    cr_assert_not_null(strstr(err.text, "nowhere"));
}

Test(layer_dir, marks_of_an_overlay_are_read_only_when_asked_for)
{
    cr_assert_eq(mkdir("d", 0755), 0);
    if (mknod("gone", S_IFCHR, 0) < 0 || setxattr("d", "trusted.overlay.opaque", "y", 1, 0) < 0)
        cr_skip_test("needs root");
    cr_assert_eq(setxattr("d", "trusted.overlay.origin", "abc", 3, 0), 0);
    AUTO(sfs_layer_close) struct sfs_layer *marks = open_layer(SFS_LAYER_DIR_OVERLAY);
    fixture_expect(marks, " d755\nd opaque d755\ngone -\n");
    cr_assert_eq(fixture_inode(marks, "d")->xattr_count, 0);
    AUTO(sfs_layer_close) struct sfs_layer *plain = open_layer(0);
    fixture_expect(plain, " d755\nd d755\ngone c0\n");
    cr_assert_eq(fixture_inode(plain, "d")->xattr_count, 2);
}

Test(layer_dir, attributes_that_a_command_can_set_are_no_marks_of_an_overlay)
{
    cr_assert_eq(mkdir("d", 0755), 0);
    put("kept", "", 0600);
    if (setxattr("d", "user.overlay.opaque", "y", 1, 0) < 0)
        cr_skip_test("no extended attributes here");
    cr_assert_eq(setxattr("d", "user.overlay.redirect", "/x", 2, 0), 0);
    cr_assert_eq(setxattr("kept", "user.overlay.whiteout", "", 0, 0), 0);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(SFS_LAYER_DIR_OVERLAY);
    fixture_expect(layer, " d755\nd d755\nkept f600 0\n");
    cr_assert_eq(fixture_inode(layer, "d")->xattr_count, 2);
}

Test(layer_dir, an_overlay_that_needs_its_lower_layers_is_refused)
{
    cr_assert_eq(mkdir("d", 0755), 0);
    if (setxattr("d", "trusted.overlay.redirect", "/x", 2, 0) < 0)
        cr_skip_test("needs root");
    struct sfs_layer *layer = NULL;
    cr_assert_eq(sfs_layer_open_dir(top, SFS_LAYER_DIR_OVERLAY, "x", &layer, &err), -ENOTSUP);
    cr_assert_not_null(strstr(err.text, "d: an overlay with redirect"), "%s", err.text);
}
