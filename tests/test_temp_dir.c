/* Directories under temporary names: what is removed, and above all what is not. */
#include "base/temp_dir.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static char dir[64];
static struct sfs_error error;

static void set_up(void)
{
    snprintf(dir, sizeof dir, "/tmp/stagefs-test-temp-XXXXXX");
    cr_assert(mkdtemp(dir));
}

static void tear_down(void)
{
    sfs_temp_remove(AT_FDCWD, dir);
    cr_expect_lt(access(dir, F_OK), 0, "%s is still there", dir);
}

TestSuite(temp_dir, .init = set_up, .fini = tear_down);

static void shell(const char *command)
{
    char text[600];
    snprintf(text, sizeof text, "cd '%s' && %s", dir, command);
    cr_assert_eq(system(text), 0, "%s", command);
}

static bool there(const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    cr_assert_eq(stat(path, &st), 0, "%s", path);
    return st.st_mode & 07777;
}

Test(temp_dir, removes_what_is_deeper_than_any_path)
{
    AUTO(sfs_temp_dir_close) struct sfs_temp_dir temp = { .fd = -1, .parent = -1 };
    cr_assert_eq(sfs_temp_dir_open(&temp, dir, &error), 0, "%s", error.text);
    int fd = fcntl(temp.fd, F_DUPFD_CLOEXEC, 3);
    for (int i = 0; i < 1500; i++) {
        cr_assert_eq(mkdirat(fd, "four", 0755), 0);
        int file = openat(fd, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        close(file);
        int next = openat(fd, "four", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(fd);
        fd = next;
    }
    close(fd);
    char path[200];
    snprintf(path, sizeof path, "%s", temp.path);
    sfs_temp_dir_close(&temp);
    cr_expect_lt(access(path, F_OK), 0);
}

Test(temp_dir, removes_what_has_no_rights_and_the_names_of_links_only)
{
    shell("mkdir -p t/a/b t/0 victim && touch t/a/b/f victim/f && ln -s ../victim t/link && "
          "ln -s ../../victim t/a/link && chmod 0 t/a/b t/a t/0");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sfs_temp_remove(fd, "t");
    close(fd);
    cr_expect_not(there("t"));
    cr_expect(there("victim/f"));
}

Test(temp_dir, sweeps_what_a_killed_process_left)
{
    shell("mkdir -p .stagefs-tmp-left/a other victim && touch .stagefs-tmp-left/a/f victim/f && "
          "ln -s victim .stagefs-tmp-link");
    AUTO(sfs_temp_dir_close) struct sfs_temp_dir one = { .fd = -1, .parent = -1 };
    AUTO(sfs_temp_dir_close) struct sfs_temp_dir two = { .fd = -1, .parent = -1 };
    cr_assert_eq(sfs_temp_dir_open(&one, dir, &error), 0, "%s", error.text);
    cr_assert_eq(sfs_temp_dir_open(&two, dir, &error), 0, "%s", error.text);
    cr_expect_not(there(".stagefs-tmp-left"));
    cr_expect(there("victim/f") && there(".stagefs-tmp-link") && there("other"));
    cr_expect(there(one.name) && there(two.name), "a sweep took one that is in use");
}

Test(temp_dir, sweeps_nothing_where_others_may_write)
{
    shell("mkdir .stagefs-tmp-left && chmod 1777 .");
    AUTO(sfs_temp_dir_close) struct sfs_temp_dir temp = { .fd = -1, .parent = -1 };
    cr_assert_eq(sfs_temp_dir_open(&temp, dir, &error), 0, "%s", error.text);
    cr_expect(there(".stagefs-tmp-left"));
    cr_expect_eq(mode_of(temp.path), 0700);
}

Test(temp_dir, has_a_home_of_this_user_alone)
{
    AUTO(sfs_free) char *home = NULL;
    mode_t before = umask(0);
    shell("chmod 1777 .");
    cr_assert_eq(sfs_temp_dir_home(dir, &home, &error), 0, "%s", error.text);
    umask(before);
    cr_expect_eq(mode_of(home), 0700);
}

Test(temp_dir, has_no_home_where_others_could_take_it_away)
{
    AUTO(sfs_free) char *home = NULL;
    shell("chmod 0777 .");
    cr_expect_eq(sfs_temp_dir_home(dir, &home, &error), -EPERM);
    shell("chmod 1777 . && mkdir victim && ln -s victim stagefs-$(id -u)");
    cr_expect_lt(sfs_temp_dir_home(dir, &home, &error), 0);
    cr_expect_null(home);
}

Test(temp_dir, private_directories_are_that_whatever_the_umask)
{
    static const mode_t masks[] = { 0, 0022, 0777 };
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        char path[200];
        snprintf(path, sizeof path, "%s/private%zu", dir, i);
        mode_t before = umask(masks[i]);
        cr_expect_eq(sfs_io_make_private_dir(path, &error), 0, "%s", error.text);
        umask(before);
        cr_expect_eq(mode_of(path), 0700);
    }
}
