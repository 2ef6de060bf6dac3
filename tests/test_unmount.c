#include "mount_support.h"

TestSuite(unmount, .init = mount_init, .fini = mount_fini);

static struct sfs_error err;

/* Mounts at DIR/name, which is made for it. */
static const char *mount_at(const char *name)
{
    const char *path = mount_path(name);
    cr_assert_eq(mkdir(path, 0755), 0);
    mount_up(mount_small_tree(), (struct sfs_mount_options){ .mountpoint = path });
    return path;
}

static void expect_gone(const char *path)
{
    cr_assert_eq(mount_wait(), 0);
    cr_assert_eq(rmdir(path), 0, "%s", strerror(errno));
}

Test(unmount, finds_paths_with_odd_bytes)
{
    const char *path = mount_at("blank tab\tnewline\nback\\slash\\040 \xff");
    cr_assert_eq(sfs_unmount(path, &err), 0, "%s", err.text);
    expect_gone(path);
}

Test(unmount, takes_a_trailing_slash)
{
    const char *path = mount_at("here");
    char slashed[128];
    snprintf(slashed, sizeof slashed, "%s//", path);
    cr_assert_eq(sfs_unmount(slashed, &err), 0, "%s", err.text);
    expect_gone(path);
}

Test(unmount, follows_a_symlink_to_the_mountpoint)
{
    const char *path = mount_at("here"), *link = mount_path("link");
    cr_assert_eq(symlink("here", link), 0);
    cr_assert_eq(sfs_unmount(link, &err), 0, "%s", err.text);
    unlink(link);
    expect_gone(path);
}

Test(unmount, follows_a_symlink_to_a_dead_mount)
{
    const char *path = mount_at("here"), *link = mount_path("link");
    cr_assert_eq(symlink("here", link), 0);
    cr_assert_eq(mount_end_by(SIGKILL), 1000 + SIGKILL);
    cr_assert_eq(sfs_unmount(link, &err), 0, "%s", err.text);
    unlink(link);
    cr_assert_eq(rmdir(path), 0);
}

Test(unmount, takes_a_relative_path)
{
    const char *path = mount_at("here");
    cr_assert_eq(chdir(mount_now.dir), 0);
    cr_assert_eq(sfs_unmount("here", &err), 0, "%s", err.text);
    expect_gone(path);
}

static unsigned dawdling; /* seconds */

/* As a server that has much to write when its mount is gone. */
static bool dawdle(void *user)
{
    (void)user;
    sleep(dawdling);
    return false;
}

static bool has_ended_with_mount(unsigned seconds)
{
    siginfo_t info = { 0 };
    dawdling = seconds;
    mount_up(mount_small_tree(), (struct sfs_mount_options){ .was_used = dawdle });
    cr_assert_eq(sfs_unmount(mount_now.dir, &err), 0, "%s", err.text);
    cr_assert_not(mount_is_up());
    cr_assert_eq(waitid(P_PID, (id_t)mount_now.pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    return info.si_pid != 0;
}

Test(unmount, waits_until_the_server_has_ended)
{
    cr_assert(has_ended_with_mount(1));
    cr_assert_eq(mount_wait(), 0);
}

Test(unmount, does_not_wait_for_ever)
{
    cr_assert_not(has_ended_with_mount(60));
    mount_end_by(SIGKILL);
}

Test(unmount, leaves_alone_what_is_in_use)
{
    const char *path = mount_at("here");
    char file[128];
    snprintf(file, sizeof file, "%s/file", path);
    int fd = open(file, O_RDONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(sfs_unmount(path, &err), -EBUSY);
    cr_assert_not_null(strstr(err.text, "is in use"), "%s", err.text);
    cr_assert_eq(access(file, F_OK), 0);
    close(fd);
    cr_assert_eq(sfs_unmount(path, &err), 0, "%s", err.text);
    expect_gone(path);
}

Test(unmount, says_where_nothing_is_mounted)
{
    cr_assert_eq(sfs_unmount(mount_now.dir, &err), -EINVAL);
    cr_assert_not_null(strstr(err.text, "nothing is mounted on"), "%s", err.text);
    cr_assert_eq(sfs_unmount("/tmp/stagefs-no-such-directory", &err), -ENOENT);
}

Test(unmount, does_not_touch_the_mounts_of_others)
{
    cr_assert_eq(sfs_unmount("/proc", &err), -EINVAL);
    cr_assert_not_null(strstr(err.text, "is not a stagefs mount (proc"), "%s", err.text);
    cr_assert_eq(access("/proc/self", F_OK), 0);
}

/* Its answer comes without fusermount3, which would only say that its table lacks the mount. */
Test(unmount, names_who_may_where_another_user_may_not)
{
    const char *path = mount_at("here");
    pid_t child = fork();
    if (child == 0) {
        if (setresuid(65534, 65534, 0) < 0)
            _exit(2);
        bool told = sfs_unmount(path, &err) == -EACCES &&
                    strstr(err.text, "was mounted by root: only root may unmount it");
        _exit(told ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0, "%d", status);
    cr_assert_eq(sfs_unmount(path, &err), 0, "%s", err.text);
    expect_gone(path);
}

Test(unmount, takes_one_of_two_away)
{
    const char *a = mount_at("a");
    pid_t first = mount_now.pid;
    const char *b = mount_at("b");
    cr_assert_eq(sfs_unmount(b, &err), 0, "%s", err.text);
    expect_gone(b);
    char file[128];
    snprintf(file, sizeof file, "%s/file", a);
    cr_assert_eq(access(file, F_OK), 0);
    mount_now.pid = first;
    cr_assert_eq(sfs_unmount(a, &err), 0, "%s", err.text);
    expect_gone(a);
}
