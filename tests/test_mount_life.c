/* Mounts from beginning to end: where they may be, how they go, what a killed one leaves. */
#include "mount_support.h"

#include <dirent.h>
#include <sys/sysmacros.h>

TestSuite(mount_end, .init = mount_init, .fini = mount_fini);

static void expect_end_by(int number)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    cr_assert(mount_is_up());
    cr_assert_eq(mount_end_by(number), 0);
    cr_assert_not(mount_is_up());
    cr_assert_str_eq(mount_hear(), "");
}

Test(mount_end, comes_by_sigterm)
{
    expect_end_by(SIGTERM);
}

Test(mount_end, comes_by_sigint)
{
    expect_end_by(SIGINT);
}

Test(mount_end, comes_by_sighup)
{
    expect_end_by(SIGHUP);
}

Test(mount_end, does_not_come_by_a_signal_that_was_ignored_before)
{
    signal(SIGHUP, SIG_IGN); /* as nohup does; the server inherits it */
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    cr_assert_eq(kill(mount_now.pid, SIGHUP), 0);
    cr_assert_eq(access(mount_path("file"), F_OK), 0);
    cr_assert_eq(waitpid(mount_now.pid, NULL, WNOHANG), 0);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
}

Test(mount_end, comes_though_a_file_is_open)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    int fd = open(mount_path("file"), O_RDONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_not(mount_is_up());
    close(fd);
}

Test(mount_end, comes_by_unmounting_from_outside)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    struct sfs_error err;
    cr_assert_eq(sfs_unmount(mount_now.dir, &err), 0, "%s", err.text);
    cr_assert_eq(mount_wait(), 0);
    cr_assert_not(mount_is_up());
}

Test(mount_end, comes_again_and_again)
{
    struct sfs_tree *tree = mount_small_tree();
    for (int i = 0; i < 20; i++) {
        mount_up(tree, (struct sfs_mount_options){ 0 });
        cr_assert_eq(mount_end_by(i % 2 ? SIGTERM : SIGINT), 0);
        close(mount_now.words);
        cr_assert_not(mount_is_up());
    }
}

TestSuite(mount_dead, .init = mount_init, .fini = mount_fini);

static void leave_dead_mount(void)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    cr_assert_eq(access(mount_path("file"), F_OK), 0);
    cr_assert_eq(mount_end_by(SIGKILL), 1000 + SIGKILL);
    close(mount_now.words);
    cr_assert_eq(access(mount_path("other"), F_OK), -1);
    /* The helper of mount/abort.h may come before the kernel has seen all of the server go. */
    cr_assert(errno == ENOTCONN || errno == ECONNABORTED, "%s", strerror(errno));
}

Test(mount_dead, is_cleared_by_unmounting)
{
    leave_dead_mount();
    struct sfs_error err;
    cr_assert_eq(sfs_unmount(mount_now.dir, &err), 0, "%s", err.text);
    cr_assert_not(mount_is_up());
}

Test(mount_dead, is_cleared_by_the_next_mount)
{
    leave_dead_mount();
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    cr_assert_eq(access(mount_path("file"), F_OK), 0);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_not(mount_is_up(), "the dead one is still below");
}

Test(mount_dead, is_cleared_though_a_file_is_open)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    int fd = open(mount_path("file"), O_RDONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(mount_end_by(SIGKILL), 1000 + SIGKILL);
    struct sfs_error err;
    cr_assert_eq(sfs_unmount(mount_now.dir, &err), 0, "%s", err.text);
    cr_assert_not(mount_is_up());
    close(fd);
}

/* A reader holds a page while it waits for its answer, and whoever stores pages ahead (a MiB at a
 * time) waits for that page: only the end of the connection parts them. */
Test(mount_dead, lets_go_of_readers_whose_pages_are_to_be_stored, .timeout = 60)
{
    if (geteuid() != 0)
        MOUNT_SKIP("ends of connections are for root here");
    static char bytes[4u << 20];
    struct sfs_builder *builder = mount_builder();
    mount_add_content(builder, "file", 0644,
                      (struct mount_content){ .data = bytes, .size = sizeof bytes });
    mount_stall = 256u << 10;
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    pid_t reader = fork();
    if (reader == 0) {
        char byte;
        int fd = open(mount_path("file"), O_RDONLY);
        _exit(pread(fd, &byte, 1, 1u << 20) < 0 ? 0 : 1);
    }
    nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
    cr_assert_eq(mount_end_by(SIGKILL), 1000 + SIGKILL);
    int status;
    cr_assert_eq(waitpid(reader, &status, 0), reader);
    cr_assert_eq(status, 0, "the reader was not told: %#x", (unsigned)status);
}

TestSuite(mount_begin, .init = mount_init, .fini = mount_fini);

/* Serves, and expects that not to work. */
static int expect_refusal(struct sfs_mount_options options, const char *words)
{
    struct sfs_tree *tree = mount_small_tree();
    const struct sfs_tree *trees[] = { tree };
    mount_start(&(struct mount_trees){ .trees = trees }, options);
    const char *heard = mount_hear();
    cr_assert_not_null(strstr(heard, words), "heard %s", heard);
    return mount_wait();
}

Test(mount_begin, is_refused_on_a_live_mount)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ .source = "oci:first" });
    pid_t first = mount_now.pid;
    int first_words = mount_now.words;
    cr_assert_eq(expect_refusal((struct sfs_mount_options){ 0 }, "is already mounted (oci:first)"),
                 EBUSY);
    close(mount_now.words);
    mount_now.pid = first;
    mount_now.words = first_words;
    cr_assert_eq(access(mount_path("file"), F_OK), 0);
}

Test(mount_begin, is_refused_where_something_else_is_mounted)
{
    if (mount("tmpfs", mount_now.dir, "tmpfs", 0, "size=64k") < 0)
        MOUNT_SKIP("this user may not mount a tmpfs");
    cr_assert_eq(expect_refusal((struct sfs_mount_options){ 0 }, "is a mountpoint already (tmpfs"),
                 EBUSY);
}

Test(mount_begin, is_refused_where_there_is_no_directory)
{
    char missing[128], file[128];
    snprintf(missing, sizeof missing, "%s/missing", mount_now.dir);
    cr_assert_eq(expect_refusal((struct sfs_mount_options){ .mountpoint = missing }, missing),
                 ENOENT);
    snprintf(file, sizeof file, "%s/file", mount_now.dir);
    close(open(file, O_WRONLY | O_CREAT, 0600));
    cr_assert_eq(
        expect_refusal((struct sfs_mount_options){ .mountpoint = file }, "is not a directory"),
        ENOTDIR);
    unlink(file);
}

Test(mount_begin, hides_what_the_directory_held)
{
    char file[128];
    snprintf(file, sizeof file, "%s/below", mount_now.dir);
    close(open(file, O_WRONLY | O_CREAT, 0600));
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    cr_assert_eq(access(file, F_OK), -1);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_eq(unlink(file), 0);
}

Test(mount_begin, may_be_at_a_relative_path)
{
    cr_assert_eq(chdir(mount_now.dir), 0);
    mount_up(mount_small_tree(), (struct sfs_mount_options){ .mountpoint = "." });
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(access(mount_path("file"), F_OK), 0);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_not(mount_is_up());
}

Test(mount_begin, shows_its_source_whatever_it_holds)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ .source = "oci:a,b c\\d:tag" });
    AUTO(sfs_close_file) FILE *file = fopen("/proc/self/mountinfo", "r");
    AUTO(sfs_free) char *line = NULL;
    size_t capacity = 0;
    bool found = false;
    while (getline(&line, &capacity, file) >= 0)
        if (strstr(line, mount_now.dir))
            found = strstr(line, " - fuse.stagefs oci:a,b\\040c\\134d:tag ro,") != NULL;
    cr_assert(found);
}

Test(mount_begin, raises_read_ahead_where_it_may)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ .read_ahead_kb = 768 });
    struct stat st;
    cr_assert_eq(stat(mount_now.dir, &st), 0);
    char name[64], value[16] = "";
    snprintf(name, sizeof name, "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev),
             minor(st.st_dev));
    if (access(name, W_OK) < 0)
        MOUNT_SKIP("read-ahead cannot be set here");
    int fd = open(name, O_RDONLY);
    cr_assert_gt(read(fd, value, sizeof value - 1), 0);
    close(fd);
    cr_assert_str_eq(value, "768\n");
}

Test(mount_begin, tells_statistics_on_sigusr1)
{
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    cr_assert_eq(kill(mount_now.pid, SIGUSR1), 0);
    const char *heard = mount_hear();
    cr_assert_not_null(strstr(heard, "\"requests\":{\"lookup\":{"), "%s", heard);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
}

Test(mount_begin, writes_statistics_on_sigusr1_where_asked)
{
    char dir[] = "/tmp/stagefs-stats-XXXXXX", path[64];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/stats", dir);
    mount_up(mount_small_tree(), (struct sfs_mount_options){ .stats_path = path });
    cr_assert_eq(kill(mount_now.pid, SIGUSR1), 0);
    cr_assert_eq(mount_end_by(SIGTERM), 0); /* signals are taken in order of number */
    AUTO(sfs_free) char *text = NULL;
    size_t size;
    struct sfs_error err;
    int r = sfs_io_read_file(AT_FDCWD, path, 1 << 20, &text, &size, &err);
    unlink(path);
    rmdir(dir);
    cr_assert_eq(r, 0, "%s", err.text);
    cr_assert_not_null(strstr(text, "\"requests\""));
}

TestSuite(mount_user, .init = mount_init, .fini = mount_fini);

#define NOBODY 65534

/* The rest of the test runs as an ordinary user, in a directory of its own. */
static void become_nobody(void)
{
    if (geteuid() != 0)
        return;
    if (access("/usr/bin/fusermount3", X_OK) < 0)
        MOUNT_SKIP("there is no fusermount3");
    struct stat st;
    if (stat("/dev/fuse", &st) < 0 || (st.st_mode & 6) != 6)
        MOUNT_SKIP("ordinary users may not open /dev/fuse here");
    cr_assert_eq(chown(mount_now.dir, NOBODY, NOBODY), 0);
    cr_assert_eq(setresgid(NOBODY, NOBODY, NOBODY), 0);
    cr_assert_eq(setresuid(NOBODY, NOBODY, NOBODY), 0);
    prctl(PR_SET_DUMPABLE, 1);
}

Test(mount_user, may_mount_and_unmount)
{
    become_nobody();
    mount_up(mount_small_tree(), (struct sfs_mount_options){ .source = "oci:a,b" });
    cr_assert_eq(access(mount_path("file"), R_OK), 0);
    struct sfs_error err;
    cr_assert_eq(sfs_unmount(mount_now.dir, &err), 0, "%s", err.text);
    cr_assert_eq(mount_wait(), 0);
    cr_assert_not(mount_is_up());
}

Test(mount_user, mount_ends_by_sigterm_though_in_use)
{
    become_nobody();
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    int fd = open(mount_path("file"), O_RDONLY);
    struct sfs_error err;
    cr_assert_eq(sfs_unmount(mount_now.dir, &err), -EBUSY);
    cr_assert_not_null(strstr(err.text, "is in use"), "%s", err.text);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_not(mount_is_up());
    close(fd);
}

Test(mount_user, dead_mount_is_cleared_by_the_next)
{
    become_nobody();
    leave_dead_mount();
    mount_up(mount_small_tree(), (struct sfs_mount_options){ 0 });
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_not(mount_is_up());
}

Test(mount_user, may_not_ask_for_devices)
{
    become_nobody();
    cr_assert_eq(expect_refusal((struct sfs_mount_options){ .dev = true }, "only root"), EACCES);
}

Test(mount_user, may_share_only_where_root_allows_it)
{
    become_nobody();
    AUTO(sfs_free) char *conf = NULL;
    size_t size;
    if (sfs_io_read_file(AT_FDCWD, "/etc/fuse.conf", 1 << 20, &conf, &size, NULL) == 0 &&
        strstr(conf, "\nuser_allow_other"))
        MOUNT_SKIP("root allows it here");
    cr_assert_eq(
        expect_refusal((struct sfs_mount_options){ .allow_other = true }, "user_allow_other"),
        EACCES);
}

Test(mount_user, needs_a_mountpoint_it_may_write)
{
    become_nobody();
    cr_assert_eq(expect_refusal((struct sfs_mount_options){ .mountpoint = "/usr" },
                                "is not writable by you"),
                 EACCES);
}
