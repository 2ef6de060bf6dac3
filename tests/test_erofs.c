/* Trees with the kernel's EROFS in front: the kernel and erofs-utils judge the image. */
#include "mount_support.h"

#include "mount/erofs_format.h"
#include "mount/erofs_image.h"
#include <dirent.h>
#include <endian.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

TestSuite(erofs, .init = mount_init, .fini = mount_fini, .timeout = 600);

/* Mounts and waits, or skips where this kernel cannot. */
static void erofs_up_trees(const struct mount_trees *trees)
{
    mount_start(trees, (struct sfs_mount_options){ .front = SFS_FRONT_EROFS, .dev = true });
    const char *heard = mount_hear();
    if (strncmp(heard, "---erofs: ", 10) == 0)
        MOUNT_SKIP("this kernel mounts no EROFS from files");
    cr_assert_str_eq(heard, "+");
}

static void erofs_up(const struct sfs_tree *tree)
{
    if (geteuid() != 0)
        MOUNT_SKIP("takes root");
    erofs_up_trees(&(struct mount_trees){ .trees = &tree });
}

/* --- the image -------------------------------------------------------------------------------- */

/* fsck.erofs finds nothing wrong, if it is there. */
static void judge(const struct sfs_tree *tree)
{
    struct sfs_error err;
    struct sfs_forest forest;
    struct sfs_flat flat;
    struct sfs_erofs_image image;
    cr_assert_eq(sfs_forest_open(&forest, &tree, 1, false, &err), 0);
    cr_assert_eq(sfs_flat_open(&flat, &forest, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_erofs_image_make(&flat, NULL, &image, &err), 0, "%s", err.text);
    char path[96], command[512];
    snprintf(path, sizeof path, "%s.image", mount_now.dir);
    FILE *file = fopen(path, "w");
    cr_assert_eq(fwrite(image.data, image.size, 1, file), 1);
    fclose(file);
    cr_assert_eq(truncate(path, (off_t)(SFS_FLAT_AT + sfs_flat_size(&flat))), 0);
    snprintf(command, sizeof command,
             "! command -v fsck.erofs >/dev/null || fsck.erofs %s >/dev/null 2>&1", path);
    int status = system(command);
    unlink(path);
    sfs_erofs_image_done(&image);
    sfs_flat_done(&flat);
    sfs_forest_done(&forest);
    cr_assert_eq(status, 0, "fsck.erofs finds fault with it");
}

/* A table is not in the image's memory: wherever a read begins, its entries lead to pages of the
 * row, one after the other, and there is nothing before and behind it. */
Test(erofs, tables_are_made_when_they_are_read)
{
    char memory[4096] = { 0 };
    struct sfs_erofs_table table = { .at = 4096 - 16, .entries = 600, .first = 1000 };
    const struct sfs_erofs_image image = {
        .data = memory, .size = sizeof memory, .tables = &table, .table_count = 1
    };
    struct erofs_chunk read[512];
    sfs_erofs_image_read(&image, NULL, 0, 4096, (char *)read);
    cr_assert_eq(read[509].block, 0);
    cr_assert_eq(read[510].block, htole32(1000));
    cr_assert_eq(read[511].block, htole32(1001));
    sfs_erofs_image_read(&image, NULL, 4096, 4096, (char *)read);
    cr_assert_eq(read[0].block, htole32(1002));
    cr_assert_eq(read[0].device, 0);
    cr_assert_eq(read[511].block, htole32(1513));
    sfs_erofs_image_read(&image, NULL, 8192, 4096, (char *)read);
    cr_assert_eq(read[85].block, htole32(1599));
    cr_assert_eq(read[86].block, 0);
}

static size_t count_names(const char *path)
{
    size_t count = 0;
    DIR *dir = opendir(path);
    cr_assert_not_null(dir, "%s: %s", path, strerror(errno));
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* The i-th of many names: of all lengths, some before "." and ".." in order, some between. */
static const char *nth_name(unsigned i)
{
    static char name[256];
    static const char *const starts[] = { "!", "-", ".", "..", ".a", "0", "a", "\xc3\xa9" };
    const char *start = starts[i % 8];
    snprintf(name, sizeof name, "%s%u", start, i);
    size_t size = strlen(name), wanted = i % 250 + 1;
    while (size < wanted)
        name[size++] = 'x';
    name[size] = 0;
    return name;
}

Test(erofs, has_all_names_of_directories_of_all_sizes)
{
    static const unsigned counts[] = { 0, 1, 2, 7, 15, 16, 17, 40, 100, 500, 3000 };
    enum { DIRS = sizeof counts / sizeof *counts };
    struct sfs_builder *builder = mount_builder();
    char path[512];
    for (unsigned d = 0; d < DIRS; d++)
        for (unsigned i = 0; i <= counts[d]; i++) {
            snprintf(path, sizeof path, "d%u%s%s", d, i ? "/" : "", i ? nth_name(i) : "");
            mount_add_mode(builder, path, (i ? S_IFIFO : S_IFDIR) | 0755);
        }
    struct sfs_tree *tree = mount_tree(builder);
    judge(tree);
    erofs_up(tree);
    for (unsigned d = 0; d < DIRS; d++) {
        snprintf(path, sizeof path, "d%u", d);
        cr_assert_eq(count_names(mount_path(path)), counts[d] + 2, "%u names", counts[d]);
        for (unsigned i = 1; i <= counts[d]; i++) {
            struct stat st;
            snprintf(path, sizeof path, "d%u/%s", d, nth_name(i));
            cr_assert_eq(lstat(mount_path(path), &st), 0, "%s: %s", path, strerror(errno));
            cr_assert(S_ISFIFO(st.st_mode));
        }
        snprintf(path, sizeof path, "d%u/none", d);
        cr_assert_eq(access(mount_path(path), F_OK), -1);
    }
}

Test(erofs, has_links_of_all_lengths)
{
    struct sfs_builder *builder = mount_builder();
    static char target[4096], got[4097], path[32];
    static const unsigned sizes[] = { 1, 63, 64, 1000, 4031, 4032, 4033, 4094, 4095 };
    memset(target, 't', sizeof target);
    for (unsigned i = 0; i < 300; i++) {
        struct sfs_builder_item item = { .inode.mode = S_IFLNK | 0777 };
        item.target = target + sizeof target - (i < 9 ? sizes[i] : i) - 1;
        target[sizeof target - 1] = 0;
        item.inode.size = strlen(item.target);
        snprintf(path, sizeof path, "link%u", i);
        mount_add(builder, path, &item);
    }
    struct sfs_tree *tree = mount_tree(builder);
    judge(tree);
    erofs_up(tree);
    for (unsigned i = 0; i < 300; i++) {
        snprintf(path, sizeof path, "link%u", i);
        ssize_t size = readlink(mount_path(path), got, sizeof got);
        cr_assert_eq(size, i < 9 ? sizes[i] : i, "link%u: %zd", i, size);
        cr_assert_eq(memcmp(got, target, (size_t)size), 0);
    }
}

Test(erofs, has_attributes)
{
    struct sfs_builder *builder = mount_builder();
    mount_add(builder, "old",
              &(struct sfs_builder_item){ .inode = { .mode = S_IFIFO | 04751,
                                                     .uid = 4000000000u,
                                                     .gid = 70000,
                                                     .mtime_sec = -5,
                                                     .mtime_nsec = 999999999 } });
    mount_add(builder, "device",
              &(struct sfs_builder_item){
                  .inode = { .mode = S_IFBLK | 0600, .rdev_major = 259, .rdev_minor = 70000 } });
    struct sfs_tree *tree = mount_tree(builder);
    judge(tree);
    erofs_up(tree);
    struct stat st;
    cr_assert_eq(lstat(mount_path("old"), &st), 0);
    cr_assert_eq(st.st_mode, S_IFIFO | 04751);
    cr_assert_eq(st.st_uid, 4000000000u);
    cr_assert_eq(st.st_gid, 70000);
    cr_assert_eq(st.st_mtim.tv_sec, -5);
    cr_assert_eq(st.st_mtim.tv_nsec, 999999999);
    cr_assert_eq(lstat(mount_path("device"), &st), 0);
    cr_assert_eq(st.st_rdev, makedev(259, 70000));
}

/* Values of many sizes, so that what stands behind them meets all places of a block. */
Test(erofs, has_extended_attributes_of_all_sizes)
{
    enum { DIRS = 200, LONGEST = 65535 };
    struct sfs_builder *builder = mount_builder();
    char *value = mount_pattern(LONGEST), path[32];
    static char got[LONGEST + 1], names[256];
    for (unsigned i = 0; i < DIRS; i++) {
        const struct sfs_builder_xattr xattrs[] = {
            { .name = "security.x", .value = value, .size = i },
            { .name = "trusted.overlay.y", .value = value, .size = i == 7 ? LONGEST : i * 61 },
            { .name = "user.z", .value = "", .size = 0 },
        };
        snprintf(path, sizeof path, "d%u", i);
        mount_add(builder, path,
                  &(struct sfs_builder_item){
                      .inode.mode = S_IFDIR | 0755, .xattrs = xattrs, .xattr_count = 3 });
        snprintf(path, sizeof path, "d%u/child", i);
        mount_add_mode(builder, path, S_IFIFO | 0644);
    }
    struct sfs_tree *tree = mount_tree(builder);
    judge(tree);
    erofs_up(tree);
    for (unsigned i = 0; i < DIRS; i++) {
        snprintf(path, sizeof path, "d%u", i);
        const char *dir = mount_path(path);
        ssize_t size = i == 7 ? LONGEST : i * 61;
        cr_assert_eq(getxattr(dir, "trusted.overlay.y", got, sizeof got), size, "%s", path);
        cr_assert_eq(memcmp(got, value, (size_t)size), 0);
        cr_assert_eq(getxattr(dir, "security.x", got, sizeof got), (ssize_t)i);
        cr_assert_eq(getxattr(dir, "user.z", got, sizeof got), 0);
        cr_assert_eq(getxattr(dir, "user.none", got, sizeof got), -1);
        cr_assert_eq(listxattr(dir, names, sizeof names),
                     (ssize_t)sizeof "security.x\0trusted.overlay.y\0user.z");
        snprintf(path, sizeof path, "d%u/child", i);
        cr_assert_eq(access(mount_path(path), F_OK), 0);
    }
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void expect_file(const char *name, const char *data, size_t size)
{
    AUTO(sfs_free) char *got = malloc(size + 1);
    AUTO(sfs_close_fd) int fd = open(mount_path(name), O_RDONLY);
    cr_assert_geq(fd, 0);
    for (size_t at = 0; at <= size;) {
        ssize_t n = read(fd, got + at, size + 1 - at);
        cr_assert_geq(n, 0, "%s at %zu: %s", name, at, strerror(errno));
        at += (size_t)n;
        if (n == 0) {
            cr_assert_eq(at, size);
            break;
        }
    }
    cr_assert_eq(memcmp(got, data, size), 0, "%s: other bytes", name);
}

Test(erofs, gives_the_bytes_of_files_side_by_side)
{
    static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 0, 131072, 131073, 3000000, 5, 700001 };
    enum { FILES = sizeof sizes / sizeof *sizes, STEPS = 3 };
    static const size_t steps[STEPS] = { 0, 100003, 1000 };
    struct sfs_builder *builder = mount_builder();
    char *data = mount_pattern(4000000), name[32];
    for (unsigned i = 0; i < FILES * STEPS; i++) {
        snprintf(name, sizeof name, "f%02u", i);
        mount_add_content(builder, name, 0644,
                          (struct mount_content){ .data = data + i,
                                                  .size = sizes[i % FILES],
                                                  .step = steps[i / FILES] });
    }
    erofs_up(mount_tree(builder));
    for (unsigned i = FILES * STEPS; i-- > 0;) {
        snprintf(name, sizeof name, "f%02u", i);
        expect_file(name, data + i, sizes[i % FILES]);
    }
}

Test(erofs, fails_reads_of_damaged_files_alone)
{
    struct sfs_builder *builder = mount_builder();
    mount_add_text(builder, "a", "before");
    mount_add_content(builder, "bad", 0644, (struct mount_content){ .size = 100 });
    mount_add_text(builder, "c", "behind");
    erofs_up(mount_tree(builder));
    char byte;
    int fd = open(mount_path("bad"), O_RDONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(read(fd, &byte, 1), -1);
    cr_assert_eq(errno, EIO);
    close(fd);
    cr_assert_not_null(strstr(mount_hear(), "layer 0"));
    expect_file("a", "before", 6);
    expect_file("c", "behind", 6);
}

/* --- life ------------------------------------------------------------------------------------- */

Test(erofs, shows_numbered_trees)
{
    enum { TREES = 12 }; /* "10" comes before "2" there */
    const struct sfs_tree *trees[TREES];
    struct sfs_tree *one = mount_small_tree();
    for (int i = 0; i < TREES; i++)
        trees[i] = one;
    if (geteuid() != 0)
        MOUNT_SKIP("takes root");
    erofs_up_trees(&(struct mount_trees){ .trees = trees, .count = TREES });
    cr_assert_eq(count_names(mount_now.dir), TREES + 2);
    expect_file("0/file", "hello", 5);
    expect_file("10/file", "hello", 5);
    expect_file("11/file", "hello", 5);
}

Test(erofs, answers_for_statistics_and_ends_with_the_mount)
{
    erofs_up(mount_small_tree());
    expect_file("file", "hello", 5);
    cr_assert_geq(mount_count("read"), 1);
    struct sfs_error err;
    cr_assert_eq(sfs_mount_drop(mount_path("file"), &err), 0, "%s", err.text);
    cr_assert_eq(sfs_unmount(mount_now.dir, &err), 0, "%s", err.text);
    cr_assert_eq(mount_wait(), 0);
    cr_assert_not(mount_is_up());
}

/* The minor number of the FUSE below. */
static unsigned fuse_minor(void)
{
    char line[1024], path[128];
    unsigned minor = 0;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    snprintf(path, sizeof path, " %s ", mount_now.dir);
    while (fgets(line, sizeof line, file))
        if (strstr(line, path) && strstr(line, " - fuse.stagefs "))
            sscanf(line, "%*d %*d %*u:%u", &minor);
    fclose(file);
    return minor;
}

/* Does the first child of the server, the helper of abort.h, hold the abort file of that
 * connection? */
static bool helper_has(unsigned minor)
{
    char path[96], wanted[32], link[256];
    int child = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)mount_now.pid,
             (int)mount_now.pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%d", &child) != 1)
        child = 0;
    if (file)
        fclose(file);
    snprintf(wanted, sizeof wanted, "/%u/abort", minor);
    for (int fd = 0; child && fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", child, fd);
        ssize_t size = readlink(path, link, sizeof link - 1);
        link[size > 0 ? size : 0] = 0;
        const char *end = strstr(link, wanted);
        if (end && !end[strlen(wanted)])
            return true;
    }
    return false;
}

/* EROFS lies over it by then: its device is not the connection's. */
Test(erofs, can_end_the_connection_below)
{
    struct sfs_tree *tree = mount_small_tree();
    for (int i = 0; i < 10; i++) {
        erofs_up(tree);
        if (access("/proc/self/task", F_OK) < 0 || fuse_minor() == 0)
            MOUNT_SKIP("mountinfo tells nothing of it");
        cr_assert(helper_has(fuse_minor()), "mount %d", i);
        cr_assert_eq(mount_end_by(SIGTERM), 0);
        close(mount_now.words);
    }
}

Test(erofs, goes_with_its_process)
{
    erofs_up(mount_small_tree());
    int fd = open(mount_path("file"), O_RDONLY); /* in use */
    cr_assert_geq(fd, 0);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_not(mount_is_up());
    close(fd);
}

Test(erofs, is_cleared_when_its_process_was_killed)
{
    struct sfs_error err;
    struct sfs_tree *tree = mount_small_tree();
    erofs_up(tree);
    struct sfs_mount_options second = { .mountpoint = mount_now.dir, .front = SFS_FRONT_EROFS };
    cr_assert_eq(sfs_mount_serve(tree, &second, &err), -EBUSY);
    mount_end_by(SIGKILL);
    cr_assert(mount_is_up());
    erofs_up(tree); /* over the dead one */
    expect_file("file", "hello", 5);
    mount_end_by(SIGKILL);
    cr_assert_eq(sfs_unmount(mount_now.dir, &err), 0, "%s", err.text);
    cr_assert_not(mount_is_up());
}

Test(erofs, excludes_what_wants_to_see_every_name)
{
    struct sfs_error err;
    struct sfs_tree *tree = mount_small_tree();
    struct sfs_mount_options options = { .mountpoint = mount_now.dir, .front = SFS_FRONT_EROFS };
    options.trace_path = "/tmp/none";
    cr_assert_eq(sfs_mount_serve(tree, &options, &err), -EINVAL);
    options.trace_path = NULL;
    options.passthrough = true;
    cr_assert_eq(sfs_mount_serve(tree, &options, &err), -EINVAL);
}
