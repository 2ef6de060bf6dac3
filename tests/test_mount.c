/* What programs see through a mount: names, metadata, attributes. */
#include "mount_support.h"

#include <dirent.h>
#include <jansson.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

TestSuite(mount_names, .init = mount_init, .fini = mount_fini);

static struct stat stat_of(const char *name)
{
    struct stat st;
    cr_assert_eq(lstat(mount_path(name), &st), 0, "%s: %s", name, strerror(errno));
    return st;
}

Test(mount_names, show_type_mode_owner_and_time)
{
    struct sfs_builder *builder = mount_builder();
    mount_add(builder, "dir",
              &(struct sfs_builder_item){ .inode = { .mode = S_IFDIR | 01777,
                                                     .uid = 1000,
                                                     .gid = 2000000000,
                                                     .mtime_sec = 1700000000,
                                                     .mtime_nsec = 123456789 } });
    mount_add_mode(builder, "dir/program", S_IFREG | 06755);
    mount_add_mode(builder, "dir/fifo", S_IFIFO | 0600);
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    struct stat st = stat_of("dir");
    cr_assert_eq(st.st_mode, S_IFDIR | 01777);
    cr_assert_eq(st.st_uid, 1000);
    cr_assert_eq(st.st_gid, 2000000000);
    cr_assert_eq(st.st_mtim.tv_sec, 1700000000);
    cr_assert_eq(st.st_mtim.tv_nsec, 123456789);
    cr_assert_eq(st.st_ctim.tv_sec, 1700000000);
    cr_assert_eq(stat_of("dir/program").st_mode, S_IFREG | 06755);
    cr_assert_eq(stat_of("dir/fifo").st_mode, S_IFIFO | 0600);
}

Test(mount_names, show_times_before_1970)
{
    struct sfs_builder *builder = mount_builder();
    mount_add(builder, "old",
              &(struct sfs_builder_item){
                  .inode = { .mode = S_IFREG | 0644, .mtime_sec = -86400, .mtime_nsec = 5 } });
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    cr_assert_eq(stat_of("old").st_mtim.tv_sec, -86400);
    cr_assert_eq(stat_of("old").st_mtim.tv_nsec, 5);
}

Test(mount_names, show_device_numbers)
{
    struct sfs_builder *builder = mount_builder();
    mount_add(builder, "disk",
              &(struct sfs_builder_item){
                  .inode = { .mode = S_IFBLK | 0660, .rdev_major = 259, .rdev_minor = 70000 } });
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    struct stat st = stat_of("disk");
    cr_assert_eq(st.st_mode, S_IFBLK | 0660);
    cr_assert_eq(st.st_rdev, makedev(259, 70000));
}

Test(mount_names, give_hard_links_one_inode)
{
    struct sfs_builder *builder = mount_builder();
    mount_add_text(builder, "a", "same");
    struct sfs_error err;
    cr_assert_eq(sfs_builder_link(builder, "dir/b", "a", &err), 0, "%s", err.text);
    mount_add_text(builder, "c", "other");
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    struct stat a = stat_of("a"), b = stat_of("dir/b"), c = stat_of("c");
    cr_assert_eq(a.st_ino, b.st_ino);
    cr_assert_eq(a.st_nlink, 2);
    cr_assert_eq(b.st_nlink, 2);
    cr_assert_neq(a.st_ino, c.st_ino);
    cr_assert_eq(c.st_nlink, 1);
}

Test(mount_names, read_symlinks)
{
    struct sfs_builder *builder = mount_builder();
    mount_add(builder, "link",
              &(struct sfs_builder_item){ .inode.mode = S_IFLNK | 0777, .target = "a/../b \xff" });
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    char target[64] = "";
    cr_assert_eq(readlink(mount_path("link"), target, sizeof target), 8);
    cr_assert_str_eq(target, "a/../b \xff");
    cr_assert_eq(stat_of("link").st_size, 8);
}

Test(mount_names, may_be_255_bytes_of_anything)
{
    char longest[256], odd[] = "line\nbreak \xc3\x28 \\ \t\"'";
    memset(longest, 'x', 255);
    longest[255] = 0;
    struct sfs_builder *builder = mount_builder();
    mount_add_text(builder, longest, "1");
    mount_add_text(builder, odd, "22");
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    cr_assert_eq(stat_of(longest).st_size, 1);
    cr_assert_eq(stat_of(odd).st_size, 2);
}

Test(mount_names, may_not_be_longer)
{
    char longer[300];
    memset(longer, 'x', 299);
    longer[256] = 0;
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    struct stat st;
    cr_assert_eq(stat(mount_path(longer), &st), -1);
    cr_assert_eq(errno, ENAMETOOLONG);
    cr_assert_eq(mkdir(mount_path(longer), 0700), -1);
    cr_assert_eq(errno, ENAMETOOLONG);
}

Test(mount_names, that_are_missing_are_asked_for_once)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    struct stat st;
    cr_assert_eq(stat(mount_path("nothing"), &st), -1);
    cr_assert_eq(errno, ENOENT);
    unsigned long before = mount_count("lookup");
    for (int i = 0; i < 10; i++)
        cr_assert_eq(stat(mount_path("nothing"), &st), -1);
    cr_assert_eq(mount_count("lookup"), before);
}

Test(mount_names, and_attributes_stay_in_the_kernel)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    stat_of("file");
    unsigned long before = mount_count("lookup") + mount_count("getattr");
    for (int i = 0; i < 10; i++)
        stat_of("file");
    cr_assert_eq(mount_count("lookup") + mount_count("getattr"), before);
}

Test(mount_names, are_found_below_files_only_as_errors)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    struct stat st;
    cr_assert_eq(stat(mount_path("file/x"), &st), -1);
    cr_assert_eq(errno, ENOTDIR);
}

TestSuite(mount_lists, .init = mount_init, .fini = mount_fini);

Test(mount_lists, have_dots_types_and_the_inodes_of_stat)
{
    struct sfs_builder *builder = mount_builder();
    mount_add_mode(builder, "b/sub", S_IFDIR | 0755);
    mount_add_text(builder, "b/a", "");
    mount_add(builder, "b/l",
              &(struct sfs_builder_item){ .inode.mode = S_IFLNK | 0777, .target = "a" });
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    const char *const names[] = { ".", "..", "a", "l", "sub" };
    const char *const paths[] = { "b", ".", "b/a", "b/l", "b/sub" };
    const unsigned char types[] = { DT_DIR, DT_DIR, DT_REG, DT_LNK, DT_DIR };
    DIR *dir = opendir(mount_path("b"));
    cr_assert_not_null(dir);
    for (int i = 0; i < 5; i++) {
        struct dirent *entry = readdir(dir);
        cr_assert_not_null(entry);
        cr_assert_str_eq(entry->d_name, names[i]);
        cr_assert_eq(entry->d_type, types[i], "%s", names[i]);
        cr_assert_eq(entry->d_ino, stat_of(paths[i]).st_ino, "%s", names[i]);
    }
    cr_assert_null(readdir(dir));
    closedir(dir);
}

Test(mount_lists, of_100000_names_are_whole)
{
    enum { NAMES = 100000 };
    struct sfs_builder *builder = mount_builder();
    char name[32];
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "many/%06d", i);
        mount_add_mode(builder, name, S_IFREG | 0600);
    }
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    for (int round = 0; round < 2; round++) { /* from the server, then from the kernel's cache */
        DIR *dir = opendir(mount_path("many"));
        cr_assert_not_null(dir);
        readdir(dir);
        readdir(dir);
        for (int i = 0; i < NAMES; i++) {
            struct dirent *entry = readdir(dir);
            cr_assert_not_null(entry, "at %d", i);
            snprintf(name, sizeof name, "%06d", i);
            cr_assert_str_eq(entry->d_name, name);
        }
        cr_assert_null(readdir(dir));
        closedir(dir);
    }
    cr_assert_eq(stat_of("many/099999").st_mode, S_IFREG | 0600);
}

Test(mount_lists, can_be_taken_up_in_the_middle)
{
    struct sfs_builder *builder = mount_builder();
    mount_add_text(builder, "a", "");
    mount_add_text(builder, "b", "");
    mount_add_text(builder, "c", "");
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    DIR *dir = opendir(mount_now.dir);
    cr_assert_not_null(dir);
    for (int i = 0; i < 3; i++)
        readdir(dir); /* ".", "..", "a" */
    long place = telldir(dir);
    cr_assert_str_eq(readdir(dir)->d_name, "b");
    rewinddir(dir);
    cr_assert_str_eq(readdir(dir)->d_name, ".");
    seekdir(dir, place);
    cr_assert_str_eq(readdir(dir)->d_name, "b");
    cr_assert_str_eq(readdir(dir)->d_name, "c");
    closedir(dir);
}

Test(mount_lists, bring_the_attributes_along)
{
    struct sfs_builder *builder = mount_builder();
    char name[32];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "dir/%d", i);
        mount_add_text(builder, name, "x");
    }
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    DIR *dir = opendir(mount_path("dir"));
    cr_assert_not_null(dir);
    while (readdir(dir))
        continue;
    closedir(dir);
    unsigned long before = mount_count("lookup") + mount_count("getattr");
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "dir/%d", i);
        cr_assert_eq(stat_of(name).st_size, 1);
    }
    cr_assert_eq(mount_count("lookup") + mount_count("getattr"), before);
}

TestSuite(mount_xattrs, .init = mount_init, .fini = mount_fini);

static const unsigned char capability[20] = { 1, 0, 0, 2, 0, 4 };

static struct sfs_tree *tree_with_xattrs(void)
{
    const struct sfs_builder_xattr xattrs[] = {
        { "security.capability", capability, sizeof capability },
        { "user.empty", "", 0 },
        { "user.text", "value", 5 },
    };
    struct sfs_builder *builder = mount_builder();
    mount_add(builder, "file",
              &(struct sfs_builder_item){
                  .inode.mode = S_IFREG | 0755, .xattrs = xattrs, .xattr_count = 3 });
    mount_add_text(builder, "plain", "");
    return mount_tree(builder);
}

Test(mount_xattrs, are_listed_and_read)
{
    mount_up(tree_with_xattrs(), (struct sfs_mount_options){ 0 });
    char list[128], value[32];
    const char expected[] = "security.capability\0user.empty\0user.text";
    cr_assert_eq(listxattr(mount_path("file"), NULL, 0), (ssize_t)sizeof expected);
    cr_assert_eq(listxattr(mount_path("file"), list, sizeof list), (ssize_t)sizeof expected);
    cr_assert_arr_eq(list, expected, sizeof expected);
    cr_assert_eq(getxattr(mount_path("file"), "user.text", NULL, 0), 5);
    cr_assert_eq(getxattr(mount_path("file"), "user.text", value, sizeof value), 5);
    cr_assert_arr_eq(value, "value", 5);
    cr_assert_eq(getxattr(mount_path("file"), "user.empty", value, sizeof value), 0);
    cr_assert_eq(listxattr(mount_path("plain"), list, sizeof list), 0);
}

Test(mount_xattrs, hold_capabilities)
{
    mount_up(tree_with_xattrs(), (struct sfs_mount_options){ 0 });
    char value[32];
    ssize_t size = getxattr(mount_path("file"), "security.capability", value, sizeof value);
    cr_assert_eq(size, (ssize_t)sizeof capability, "%s", strerror(errno));
    cr_assert_arr_eq(value, capability, sizeof capability);
}

Test(mount_xattrs, say_when_there_is_no_room_or_no_such_name)
{
    mount_up(tree_with_xattrs(), (struct sfs_mount_options){ 0 });
    char small[4];
    cr_assert_eq(getxattr(mount_path("file"), "user.text", small, sizeof small), -1);
    cr_assert_eq(errno, ERANGE);
    cr_assert_eq(listxattr(mount_path("file"), small, sizeof small), -1);
    cr_assert_eq(errno, ERANGE);
    cr_assert_eq(getxattr(mount_path("file"), "user.none", small, sizeof small), -1);
    cr_assert_eq(errno, ENODATA);
    cr_assert_eq(getxattr(mount_path("plain"), "user.text", small, sizeof small), -1);
    cr_assert_eq(errno, ENODATA);
}

Test(mount_xattrs, that_no_file_has_are_not_asked_for_again)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    char value[8];
    for (int i = 0; i < 5; i++)
        cr_assert_eq(getxattr(mount_path("file"), "user.text", value, sizeof value), -1);
    cr_assert_eq(errno, EOPNOTSUPP);
    cr_assert_eq(mount_count("getxattr"), 1);
}

static struct sfs_tree *tree_with_trusted_xattrs(void)
{
    const struct sfs_builder_xattr xattrs[] = {
        { "trusted.overlay.metacopy", "", 0 },
        { "trusted.text", "value", 5 },
        { "user.text", "value", 5 },
    };
    struct sfs_builder *builder = mount_builder();
    mount_add(builder, "file",
              &(struct sfs_builder_item){
                  .inode.mode = S_IFREG | 0755, .xattrs = xattrs, .xattr_count = 3 });
    return mount_tree(builder);
}

/* How many bytes of names somebody is told of; 0: another status than a size. */
static ssize_t names_told_to(uid_t uid)
{
    pid_t pid = fork();
    if (pid == 0) {
        char list[64];
        if (setgid(uid) < 0 || setuid(uid) < 0)
            _exit(0);
        _exit((int)listxattr(mount_path("file"), list, sizeof list));
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

Test(mount_xattrs, that_are_trusted_are_listed_for_root_only)
{
    if (geteuid() != 0)
        MOUNT_SKIP("needs root");
    mount_up(tree_with_trusted_xattrs(), (struct sfs_mount_options){ .allow_other = true });
    const char all[] = "trusted.overlay.metacopy\0trusted.text\0user.text";
    cr_assert_eq(names_told_to(0), (ssize_t)sizeof all);
    cr_assert_eq(names_told_to(65534), (ssize_t)sizeof "user.text");
}

Test(mount_xattrs, of_an_image_do_not_steer_an_overlay)
{
    if (geteuid() != 0)
        MOUNT_SKIP("needs root");
    mount_up(tree_with_trusted_xattrs(), (struct sfs_mount_options){ .for_overlay = true });
    char value[8];
    const char *path = mount_path("file");
    cr_assert_eq(getxattr(path, "trusted.overlay.metacopy", value, sizeof value), -1);
    cr_assert_eq(errno, ENODATA);
    cr_assert_eq(getxattr(path, "trusted.overlay.overlay.metacopy", value, sizeof value), 0);
    cr_assert_eq(getxattr(path, "trusted.text", value, sizeof value), 5);
}

/* user::rw-, user:65534:---, group::r--, mask::r--, other::r-- in the kernel's form, version 2. */
static const unsigned char acl[] = { 2,   0,   0,   0,   1,   0,   6,   0,   255, 255, 255,
                                     255, 2,   0,   0,   0,   254, 255, 0,   0,   4,   0,
                                     4,   0,   255, 255, 255, 255, 16,  0,   4,   0,   255,
                                     255, 255, 255, 32,  0,   4,   0,   255, 255, 255, 255 };

Test(mount_xattrs, with_access_control_lists_are_obeyed)
{
    if (geteuid() != 0)
        MOUNT_SKIP("needs root");
    const struct sfs_builder_xattr xattr = { "system.posix_acl_access", acl, sizeof acl };
    struct sfs_builder *builder = mount_builder();
    mount_add(builder, "file",
              &(struct sfs_builder_item){
                  .inode.mode = S_IFREG | 0644, .xattrs = &xattr, .xattr_count = 1 });
    mount_up(mount_tree(builder), (struct sfs_mount_options){ .allow_other = true });
    char value[64];
    cr_assert_eq(getxattr(mount_path("file"), xattr.name, value, sizeof value), sizeof acl);
    cr_assert_arr_eq(value, acl, sizeof acl);
    pid_t pid = fork();
    if (pid == 0) /* "other" may read, this user may not */
        _exit(setresuid(65534, 65534, 65534) < 0 || open(mount_path("file"), O_RDONLY) >= 0);
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
}

TestSuite(mount_whole, .init = mount_init, .fini = mount_fini);

Test(mount_whole, is_read_only)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    cr_assert_eq(open(mount_path("new"), O_WRONLY | O_CREAT, 0600), -1);
    cr_assert_eq(errno, EROFS);
    cr_assert_eq(open(mount_path("file"), O_WRONLY), -1);
    cr_assert_eq(errno, EROFS);
    cr_assert_eq(unlink(mount_path("file")), -1);
    cr_assert_eq(errno, EROFS);
}

Test(mount_whole, stays_read_only_when_remounted_writable)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    if (mount(NULL, mount_now.dir, NULL, MS_REMOUNT, NULL) < 0)
        MOUNT_SKIP("this user may not remount");
    cr_assert_eq(mkdir(mount_path("new"), 0700), -1);
    cr_assert_eq(errno, EROFS);
    cr_assert_eq(open(mount_path("new"), O_WRONLY | O_CREAT, 0600), -1);
    cr_assert_eq(errno, EROFS);
    cr_assert_eq(unlink(mount_path("file")), -1);
    cr_assert_eq(errno, EROFS);
    cr_assert_eq(rename(mount_path("file"), mount_path("other")), -1);
    cr_assert_eq(errno, EROFS);
    cr_assert_eq(link(mount_path("file"), mount_path("other")), -1);
    cr_assert_eq(errno, EROFS);
    cr_assert_eq(symlink("x", mount_path("other")), -1);
    cr_assert_eq(errno, EROFS);
    cr_assert_eq(chmod(mount_path("file"), 0600), -1);
    cr_assert_eq(errno, EROFS);
    cr_assert_eq(setxattr(mount_path("file"), "user.a", "b", 1, 0), -1);
    cr_assert_eq(errno, EROFS);
}

Test(mount_whole, tells_its_size)
{
    struct sfs_builder *builder = mount_builder();
    mount_add_content(builder, "file", 0644,
                      (struct mount_content){ .data = mount_pattern(1 << 20), .size = 1 << 20 });
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    struct statvfs st;
    cr_assert_eq(statvfs(mount_now.dir, &st), 0);
    cr_assert_eq(st.f_blocks * st.f_frsize, 1 << 20);
    cr_assert_eq(st.f_bfree, 0);
    cr_assert_eq(st.f_files, 2);
    cr_assert_eq(st.f_namemax, 255);
}

Test(mount_whole, allows_neither_devices_nor_suid_unless_asked)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    struct statvfs st;
    cr_assert_eq(statvfs(mount_now.dir, &st), 0);
    cr_assert_eq(st.f_flag & (ST_NOSUID | ST_NODEV | ST_RDONLY), ST_NOSUID | ST_NODEV | ST_RDONLY);
}

Test(mount_whole, allows_devices_and_suid_where_root_asks)
{
    if (geteuid() != 0)
        MOUNT_SKIP("needs root");
    mount_up(mount_small_tree(), (struct sfs_mount_options){ .dev = true, .suid = true });
    struct statvfs st;
    cr_assert_eq(statvfs(mount_now.dir, &st), 0);
    cr_assert_eq(st.f_flag & (ST_NOSUID | ST_NODEV | ST_RDONLY), ST_RDONLY);
}

Test(mount_whole, tells_statistics_as_json)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    stat_of("file");
    AUTO(sfs_free) char *json = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_mount_stats(mount_path("file"), &json, &err), 0, "%s", err.text);
    json_t *root = json_loads(json, 0, NULL);
    cr_assert_not_null(root, "%s", json);
    json_t *lookup = json_object_get(json_object_get(root, "requests"), "lookup");
    cr_assert_eq(json_integer_value(json_object_get(lookup, "count")), 1);
    json_decref(root);
}

Test(mount_whole, has_statistics_only_where_it_is)
{
    AUTO(sfs_free) char *json = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_mount_stats("/", &json, &err), -EINVAL);
}

Test(mount_whole, files_can_be_opened_by_handle)
{
    if (geteuid() != 0)
        MOUNT_SKIP("needs root");
    struct sfs_builder *builder = mount_builder();
    mount_add_text(builder, "a/b/c", "deep");
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    struct {
        struct file_handle handle;
        char room[128];
    } deep = { .handle.handle_bytes = 128 };
    int id;
    cr_assert_eq(name_to_handle_at(AT_FDCWD, mount_path("a/b/c"), &deep.handle, &id, 0), 0);
    int root = open(mount_now.dir, O_RDONLY | O_DIRECTORY);
    int fd = open_by_handle_at(root, &deep.handle, O_RDONLY);
    cr_assert_geq(fd, 0, "%s", strerror(errno));
    char text[8] = "";
    cr_assert_eq(read(fd, text, sizeof text), 4);
    cr_assert_str_eq(text, "deep");
}

TestSuite(mount_layers, .init = mount_init, .fini = mount_fini);

static struct sfs_tree *tree_with(const char *name, const char *text)
{
    struct sfs_builder *builder = mount_builder();
    mount_add_text(builder, name, text);
    return mount_tree(builder);
}

static void mount_three_layers(void)
{
    const struct sfs_tree *trees[] = { tree_with("zero", "0"), tree_with("dir/one", "11"),
                                       tree_with("two", "222") };
    mount_start(&(struct mount_trees){ trees, 3 }, (struct sfs_mount_options){ 0 });
    cr_assert_str_eq(mount_hear(), "+");
}

Test(mount_layers, lie_under_their_numbers)
{
    mount_three_layers();
    cr_assert_eq(stat_of("0/zero").st_size, 1);
    cr_assert_eq(stat_of("1/dir/one").st_size, 2);
    cr_assert_eq(stat_of("2/two").st_size, 3);
    struct stat st;
    cr_assert_eq(stat(mount_path("3"), &st), -1);
    cr_assert_eq(errno, ENOENT);
    cr_assert_eq(stat(mount_path("0/two"), &st), -1);
    cr_assert_eq(errno, ENOENT);
    cr_assert_eq(stat_of(".").st_nlink, 5);
}

Test(mount_layers, have_inodes_of_their_own)
{
    mount_three_layers();
    ino_t seen[7] = { stat_of(".").st_ino,    stat_of("0").st_ino,     stat_of("0/zero").st_ino,
                      stat_of("1").st_ino,    stat_of("1/dir").st_ino, stat_of("1/dir/one").st_ino,
                      stat_of("2/two").st_ino };
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < i; j++)
            cr_assert_neq(seen[i], seen[j], "%d %d", i, j);
    cr_assert_eq(stat_of("1/dir/..").st_ino, stat_of("1").st_ino);
    cr_assert_eq(stat_of("1/..").st_ino, stat_of(".").st_ino);
}

Test(mount_layers, are_listed_in_order)
{
    mount_three_layers();
    DIR *dir = opendir(mount_now.dir);
    cr_assert_not_null(dir);
    const char *const names[] = { ".", "..", "0", "1", "2" };
    for (int i = 0; i < 5; i++) {
        struct dirent *entry = readdir(dir);
        cr_assert_str_eq(entry->d_name, names[i]);
        if (i >= 2)
            cr_assert_eq(entry->d_ino, stat_of(names[i]).st_ino);
    }
    cr_assert_null(readdir(dir));
    closedir(dir);
}

Test(mount_layers, are_read_each_from_its_own_bytes)
{
    mount_three_layers();
    char text[8] = "";
    int fd = open(mount_path("2/two"), O_RDONLY);
    cr_assert_eq(read(fd, text, sizeof text), 3);
    cr_assert_str_eq(text, "222");
    close(fd);
}
