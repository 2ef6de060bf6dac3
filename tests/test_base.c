/* fs/base: errors in words, buffers, digests, files that appear whole or not at all, the pool. */
#include "base/buf.h"
#include "base/io.h"
#include "base/pool.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stagefs/digest.h>
#include <stagefs/suggest.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

Test(error, puts_context_in_front)
{
    struct sfs_error err;
    int r = sfs_fail(&err, EBADMSG, "entry %d: name is empty", 17);
    cr_assert_eq(r, -EBADMSG);
    r = sfs_fail_while(&err, r, "layer %s", "x");
    cr_assert_eq(r, -EBADMSG);
    cr_assert_str_eq(err.text, "layer x: entry 17: name is empty");
}

Test(error, shows_no_control_bytes_of_hostile_names)
{
    struct sfs_error err;
    sfs_fail(&err, EINVAL, "name '%s'", "a\033[31m\nb");
    cr_assert_str_eq(err.text, "name 'a?[31m?b'");
}

Test(error, keeps_the_reason_behind_a_long_context)
{
    struct sfs_error err;
    char context[4096];
    memset(context, 'x', sizeof context);
    context[sizeof context - 1] = 0;
    sfs_fail(&err, EIO, "the reason");
    sfs_fail_while(&err, -EIO, "%s", context);
    cr_assert(strstr(err.text, "the reason"));
}

Test(buf, grows_and_stays_terminated)
{
    struct sfs_buf buf = { 0 };
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(sfs_buf_printf(&buf, "%d,", i), 0);
    cr_assert_eq(strlen(buf.data), buf.size);
    cr_assert(strncmp(buf.data, "0,1,2,", 6) == 0);
    sfs_buf_close(&buf);
    cr_assert_eq(buf.size, 0);
}

Test(buf, refuses_a_size_that_overflows)
{
    struct sfs_buf buf = { 0 };
    cr_assert_eq(sfs_buf_add_str(&buf, "x"), 0);
    cr_assert_null(sfs_buf_grow(&buf, SIZE_MAX));
    cr_assert_eq(buf.size, 1);
    sfs_buf_close(&buf);
}

Test(digest, reads_what_it_prints)
{
    struct sfs_digest digest, again;
    char text[SFS_DIGEST_TEXT];
    cr_assert_eq(sfs_digest_of("abc", 3, &digest), 0);
    cr_assert_str_eq(sfs_digest_print(&digest, text),
                     "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cr_assert_eq(sfs_digest_parse(text, &again, NULL), 0);
    cr_assert(sfs_digest_equal(&digest, &again));
}

Test(digest, refuses_what_could_be_a_path)
{
    struct sfs_digest digest;
    cr_assert_eq(sfs_digest_parse("sha256:../../../etc/passwd", &digest, NULL), -EINVAL);
    cr_assert_eq(sfs_digest_parse("", &digest, NULL), -EINVAL);
    cr_assert_eq(sfs_digest_parse("sha512:00", &digest, NULL), -ENOTSUP);
    cr_assert_eq(
        sfs_digest_parse("sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
                         &digest, NULL),
        -EINVAL);
}

static char dir[] = "/tmp/stagefs-test-XXXXXX"; /* each test is a process of its own */

static void make_dir(void)
{
    cr_assert(mkdtemp(dir));
}

static void remove_dir(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

Test(io, a_file_appears_whole_under_its_name, .init = make_dir, .fini = remove_dir)
{
    cr_assert_eq(sfs_io_replace_file(dir, "x", "old", 3, 0644, NULL), 0);
    cr_assert_eq(sfs_io_replace_file(dir, "x", "newer", 5, 0644, NULL), 0);
    int dirfd = open(dir, O_RDONLY | O_DIRECTORY);
    char *data;
    size_t size;
    cr_assert_eq(sfs_io_read_file(dirfd, "x", 100, &data, &size, NULL), 0);
    cr_assert_eq(size, 5);
    cr_assert_str_eq(data, "newer");
    cr_assert_eq(sfs_io_read_file(dirfd, "x", 4, &data, &size, NULL), -E2BIG);
    cr_assert_eq(sfs_io_read_file(dirfd, "y", 4, &data, &size, NULL), -ENOENT);
    free(data);
    close(dirfd);
}

/* Devices cannot be made everywhere, pipes can. */
Test(io, outputs_that_are_no_files_are_written_to, .init = make_dir, .fini = remove_dir)
{
    char path[200], text[8] = "";
    struct stat st;
    snprintf(path, sizeof path, "%s/pipe", dir);
    cr_assert_eq(mkfifo(path, 0600), 0);
    AUTO(sfs_close_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_eq(sfs_io_write_output(path, "hello", 5, 0644, NULL), 0);
    cr_assert_eq(read(fd, text, sizeof text), 5);
    cr_assert_eq(lstat(path, &st), 0);
    cr_expect(S_ISFIFO(st.st_mode));
}

static void *write_late(void *path)
{
    AUTO(sfs_close_fd) int fd = open(path, O_WRONLY | O_CLOEXEC);
    for (int i = 0; i < 3; i++) {
        usleep(30000);
        cr_expect_eq(write(fd, "ab", 2), 2);
    }
    return NULL;
}

Test(io, pipes_are_waited_for_but_those_with_a_name_not_for_ever, .init = make_dir,
     .fini = remove_dir)
{
    char path[200];
    char *data;
    size_t size;
    pthread_t writer;
    struct sfs_error err;
    snprintf(path, sizeof path, "%s/pipe", dir);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(pthread_create(&writer, NULL, write_late, path), 0);
    cr_assert_eq(sfs_io_read_file(AT_FDCWD, path, 100, &data, &size, &err), 0, "%s", err.text);
    cr_assert_str_eq(data, "ababab");
    free(data);
    pthread_join(writer, NULL);
    cr_assert_eq(sfs_io_read_file(AT_FDCWD, path, 100, &data, &size, &err), -ETIMEDOUT);
    cr_expect(strstr(err.text, "nobody writes"), "%s", err.text);
    /* one without a name, by the name that shells give it */
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    cr_assert_eq(sfs_io_read_file(AT_FDCWD, path, 100, &data, &size, &err), 0, "%s", err.text);
    cr_expect_str_eq(data, "x");
    free(data);
    close(ends[0]);
}

Test(io, outputs_wait_for_readers_but_not_for_ever, .init = make_dir, .fini = remove_dir)
{
    char path[200];
    struct sfs_error err;
    snprintf(path, sizeof path, "%s/pipe", dir);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(sfs_io_write_output(path, "hello", 5, 0644, &err), -ETIMEDOUT);
    cr_expect(strstr(err.text, "nobody reads"), "%s", err.text);
}

Test(io, outputs_are_written_where_their_links_lead, .init = make_dir, .fini = remove_dir)
{
    char link[200], sub[200], target[220], text[8] = "";
    struct stat st;
    snprintf(link, sizeof link, "%s/link", dir);
    snprintf(sub, sizeof sub, "%s/sub", dir);
    snprintf(target, sizeof target, "%s/target", sub);
    cr_assert_eq(mkdir(sub, 0700), 0);
    cr_assert_eq(symlink("sub/target", link), 0);
    for (int i = 0; i < 2; i++) { /* to nothing at first */
        cr_assert_eq(sfs_io_write_output(link, "hello", 5, 0644, NULL), 0);
        AUTO(sfs_close_fd) int fd = open(target, O_RDONLY | O_CLOEXEC);
        cr_expect_eq(read(fd, text, sizeof text), 5);
        cr_assert_eq(lstat(link, &st), 0);
        cr_expect(S_ISLNK(st.st_mode));
    }
}

Test(io, sweeping_removes_what_a_killed_writer_left_and_nothing_else, .init = make_dir,
     .fini = remove_dir)
{
    struct sfs_io_temp alive;
    cr_assert_eq(sfs_io_temp_open(&alive, dir, 0600, NULL), 0);
    pid_t child = fork();
    if (child == 0) {
        struct sfs_io_temp left;
        sfs_io_temp_open(&left, dir, 0600, NULL);
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    sfs_io_sweep(dir);
    cr_assert_eq(sfs_io_write_all(alive.fd, "x", 1), 0);
    cr_assert_eq(sfs_io_temp_commit(&alive, "kept", NULL), 0);
    sfs_io_temp_close(&alive);
    char command[128];
    snprintf(command, sizeof command, "test \"$(ls -A %s)\" = kept", dir);
    cr_assert_eq(system(command), 0);
}

static void count(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

Test(pool, runs_every_job_once_before_it_closes)
{
    struct sfs_pool *pool;
    cr_assert_eq(sfs_pool_open(3, &pool, NULL), 0);
    atomic_int done = 0;
    for (int i = 0; i < 3000; i++)
        cr_assert_eq(sfs_pool_submit(pool, (enum sfs_pool_priority)(i % 3), count, &done), 0);
    sfs_pool_close(&pool);
    cr_assert_eq(done, 3000);
    cr_assert_null(pool);
}

Test(suggest, finds_the_near_word_and_no_far_one)
{
    static const char *const known[] = { "mount", "umount", "commit", "inspect", NULL };
    cr_assert_str_eq(sfs_suggest("comit", known), "commit");
    cr_assert_str_eq(sfs_suggest("MOUNT", known), "mount");
    cr_assert_str_eq(sfs_suggest("insepct", known), "inspect");
    cr_assert_str_eq(sfs_suggest("com", known), "commit");
    cr_assert_null(sfs_suggest("frobnicate", known));
    cr_assert_null(sfs_suggest("c", known));
    cr_assert_null(sfs_suggest("", known));
}
