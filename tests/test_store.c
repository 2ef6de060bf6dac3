#include "layer/store.h"
#include "layer/verified.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define KEY_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char top[64], dir[96];
static struct sfs_store *store;
static struct sfs_error err;

static void open_store(void)
{
    snprintf(top, sizeof top, "/tmp/stagefs-test-store-XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/deep/cache", top);
    cr_assert_eq(sfs_store_open(dir, &store, &err), 0, "%s", err.text);
}

static void close_store(void)
{
    sfs_store_close(&store);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", top);
    cr_assert_eq(system(command), 0);
}

static char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void put(enum sfs_store_kind kind, const char *key, const char *text, time_t used)
{
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp;
    cr_assert_eq(sfs_store_start_file(store, kind, &temp, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_io_write_all(temp.fd, text, strlen(text)), 0);
    cr_assert_eq(sfs_store_commit_file(store, kind, key, &temp, &err), 0, "%s", err.text);
    const struct timespec times[2] = { { .tv_sec = used }, { .tv_sec = used } };
    cr_assert_eq(futimens(temp.fd, times), 0);
}

static int append(void *user, const struct sfs_store_item *item)
{
    char *text = user;
    size_t used = strlen(text);
    snprintf(text + used, 1024 - used, "%s %.8s %llu %lld%s\n",
             item->kind == SFS_STORE_FILE   ? "file"
             : item->kind == SFS_STORE_COPY ? "copy"
                                            : "index",
             item->key, (unsigned long long)item->size, (long long)item->used,
             item->in_use ? " in use" : "");
    return 0;
}

static void expect(const char *text)
{
    char actual[1024] = "";
    cr_assert_eq(sfs_store_list(store, append, actual, &err), 0, "%s", err.text);
    cr_assert_str_eq(actual, text);
}

TestSuite(store, .init = open_store, .fini = close_store);

Test(store, opening_creates_nothing)
{
    cr_assert_eq(access(top, F_OK), 0);
    cr_assert_eq(access(dir, F_OK), -1);
    expect("");
}

Test(store, directories_are_made_private_when_something_is_written)
{
    put(SFS_STORE_INDEX, KEY_A, "x", 1);
    struct stat st;
    cr_assert_eq(stat(dir, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0700);
    cr_assert_eq(stat(path_of("index"), &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0700);
}

Test(store, a_key_becomes_a_file_name_and_back)
{
    put(SFS_STORE_INDEX, KEY_A, "x", 1);
    cr_assert_eq(
        access(path_of("index/sha256-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                       "aaaaaaaaaa.idx"),
               F_OK),
        0);
    put(SFS_STORE_COPY, KEY_A, "xx", 2);
    expect("index sha256:a 1 1\ncopy sha256:a 2 2\n");
}

Test(store, a_key_cannot_leave_the_directory)
{
    int fd = -1;
    cr_assert_eq(sfs_store_open_file(store, SFS_STORE_INDEX, "../a", &fd, &err), -EINVAL);
    cr_assert_eq(sfs_store_open_file(store, SFS_STORE_INDEX, "", &fd, &err), -EINVAL);
    cr_assert_eq(sfs_store_open_file(store, SFS_STORE_INDEX, "..", &fd, &err), -EINVAL);
}

Test(store, what_is_not_there_is_ENOENT)
{
    int fd = -1;
    cr_assert_eq(sfs_store_open_file(store, SFS_STORE_INDEX, KEY_A, &fd, &err), -ENOENT);
}

Test(store, opening_a_file_marks_it_used_now_and_in_use)
{
    put(SFS_STORE_INDEX, KEY_A, "x", 5);
    time_t before = time(NULL);
    AUTO(sfs_close_fd) int fd = -1;
    cr_assert_eq(sfs_store_open_file(store, SFS_STORE_INDEX, KEY_A, &fd, &err), 0);
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_geq(st.st_atim.tv_sec, before);
    cr_assert_eq(st.st_mtim.tv_sec, 5);
    char text[1024] = "";
    sfs_store_list(store, append, text, &err);
    cr_assert_not_null(strstr(text, " in use"));
}

Test(store, prune_removes_what_was_not_used_for_longest)
{
    put(SFS_STORE_INDEX, KEY_A, "0123456789", 30);
    put(SFS_STORE_COPY, KEY_A, "0123456789", 10);
    put(SFS_STORE_INDEX, KEY_B, "0123456789", 20);
    uint64_t freed, items;
    cr_assert_eq(sfs_store_prune(store, 19, &freed, &items, &err), 0, "%s", err.text);
    cr_assert_eq(freed, 20);
    cr_assert_eq(items, 2);
    expect("index sha256:a 10 30\n");
}

Test(store, prune_stops_when_little_enough_is_left)
{
    put(SFS_STORE_INDEX, KEY_A, "0123456789", 30);
    put(SFS_STORE_INDEX, KEY_B, "0123456789", 20);
    uint64_t freed, items;
    cr_assert_eq(sfs_store_prune(store, 20, &freed, &items, &err), 0);
    cr_assert_eq(items, 0);
    expect("index sha256:a 10 30\nindex sha256:b 10 20\n");
}

Test(store, prune_leaves_what_another_process_has_open)
{
    put(SFS_STORE_INDEX, KEY_A, "0123456789", 30);
    put(SFS_STORE_INDEX, KEY_B, "0123456789", 20);
    int ready[2], done[2];
    cr_assert_eq(pipe(ready), 0);
    cr_assert_eq(pipe(done), 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = -1;
        char byte = (char)(sfs_store_open_file(store, SFS_STORE_INDEX, KEY_B, &fd, NULL) == 0);
        close(done[1]);
        if (write(ready[1], &byte, 1) != 1 || read(done[0], &byte, 1) < 0)
            _exit(1);
        _exit(0);
    }
    char byte = 0;
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(byte, 1);
    uint64_t freed, items;
    int r = sfs_store_prune(store, 0, &freed, &items, &err);
    close(done[1]);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_assert_eq(r, 0);
    cr_assert_eq(items, 1);
    cr_assert_eq(
        access(path_of("index/sha256-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
                       "bbbbbbbbbb.idx"),
               F_OK),
        0);
}

Test(store, opening_sweeps_temporary_files_of_dead_writers)
{
    put(SFS_STORE_INDEX, KEY_A, "x", 1);
    int fd = open(path_of("index/." SFS_IO_TEMP "abc"), O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
    AUTO(sfs_io_temp_close) struct sfs_io_temp alive;
    cr_assert_eq(sfs_store_start_file(store, SFS_STORE_INDEX, &alive, &err), 0);
    AUTO(sfs_store_close) struct sfs_store *second = NULL;
    cr_assert_eq(sfs_store_open(dir, &second, &err), 0);
    cr_assert_eq(access(path_of("index/." SFS_IO_TEMP "abc"), F_OK), -1);
    cr_assert_eq(faccessat(alive.dirfd, alive.name, F_OK, 0), 0);
}

Test(store, a_file_that_was_not_committed_is_gone)
{
    struct sfs_io_temp temp;
    cr_assert_eq(sfs_store_start_file(store, SFS_STORE_COPY, &temp, &err), 0);
    sfs_io_temp_close(&temp);
    expect("");
    cr_assert_eq(rmdir(path_of("copy")), 0, "something was left behind");
}

Test(store, foreign_files_are_neither_listed_nor_removed)
{
    put(SFS_STORE_INDEX, KEY_A, "x", 1);
    int fd = open(path_of("index/README"), O_CREAT | O_WRONLY, 0600);
    close(fd);
    uint64_t freed, items;
    cr_assert_eq(sfs_store_prune(store, 0, &freed, &items, &err), 0);
    cr_assert_eq(items, 1);
    cr_assert_eq(access(path_of("index/README"), F_OK), 0);
}

Test(store, a_place_that_cannot_be_written_is_named)
{
    AUTO(sfs_store_close) struct sfs_store *bad = NULL;
    struct sfs_io_temp temp;
    cr_assert_eq(sfs_store_open("/proc/nowhere/cache", &bad, &err), 0, "%s", err.text);
    cr_assert_lt(sfs_store_start_file(bad, SFS_STORE_INDEX, &temp, &err), 0);
    cr_assert_not_null(strstr(err.text, "cache directory /proc/nowhere/cache"), "%s", err.text);
}

Test(store, a_file_in_the_place_of_the_directory_is_named)
{
    char path[128];
    snprintf(path, sizeof path, "%s/file", top);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    AUTO(sfs_store_close) struct sfs_store *bad = NULL;
    struct sfs_io_temp temp;
    cr_assert_eq(sfs_store_open(path, &bad, &err), 0, "%s", err.text);
    cr_assert_lt(sfs_store_start_file(bad, SFS_STORE_INDEX, &temp, &err), 0);
    cr_assert_not_null(strstr(err.text, path), "%s", err.text);
}

Test(store, one_maker_at_a_time)
{
    struct sfs_store_lock lock = { .fd = -1 };
    cr_assert_eq(sfs_store_lock(store, KEY_A, &lock, &err), 0, "%s", err.text);
    int results[2];
    cr_assert_eq(pipe(results), 0);
    pid_t child = fork();
    if (child == 0) {
        struct sfs_store_lock second = { .fd = -1 };
        int fd = -1;
        /* Waits until the parent has put its file, so the file must be there now. */
        char byte = (char)(sfs_store_lock(store, KEY_A, &second, NULL) == 0 &&
                           sfs_store_open_file(store, SFS_STORE_INDEX, KEY_A, &fd, NULL) == 0);
        sfs_store_unlock(&second);
        _exit(write(results[1], &byte, 1) == 1 ? 0 : 1);
    }
    put(SFS_STORE_INDEX, KEY_A, "x", 1);
    sfs_store_unlock(&lock);
    char byte = 0;
    cr_assert_eq(read(results[0], &byte, 1), 1);
    cr_assert_eq(byte, 1);
    cr_assert_eq(waitpid(child, NULL, 0), child);
}

Test(store, the_lock_leaves_no_file)
{
    struct sfs_store_lock lock = { .fd = -1 };
    cr_assert_eq(sfs_store_lock(store, KEY_A, &lock, &err), 0);
    sfs_store_unlock(&lock);
    cr_assert_eq(rmdir(path_of("index")), 0, "something was left behind");
}

static const char *dir_for(const char *own, const char *xdg)
{
    static char text[256];
    AUTO(sfs_store_close) struct sfs_store *chosen = NULL;
    if (own)
        setenv("STAGEFS_CACHE_DIR", own, 1);
    else
        unsetenv("STAGEFS_CACHE_DIR");
    if (xdg)
        setenv("XDG_CACHE_HOME", xdg, 1);
    else
        unsetenv("XDG_CACHE_HOME");
    cr_assert_eq(sfs_store_open(NULL, &chosen, &err), 0, "%s", err.text);
    snprintf(text, sizeof text, "%s", sfs_store_dir(chosen));
    return text;
}

Test(store_dir, comes_from_the_environment_in_the_order_of_the_contract)
{
    setenv("HOME", "/home/someone", 1);
    const char *last = geteuid() == 0 ? "/var/cache/stagefs" : "/home/someone/.cache/stagefs";
    cr_assert_str_eq(dir_for("/a", "/b"), "/a");
    cr_assert_str_eq(dir_for(NULL, "/b"), "/b/stagefs");
    cr_assert_str_eq(dir_for("", "relative"), last);
    cr_assert_str_eq(dir_for(NULL, NULL), last);
}

static int make_room(uint64_t limit, uint64_t size)
{
    return sfs_store_make_room(store, SFS_STORE_FILE, limit, size, &err);
}

Test(store, room_is_made_by_removing_what_was_used_first_of_that_kind)
{
    put(SFS_STORE_INDEX, KEY_A, "index", 1);
    put(SFS_STORE_FILE, KEY_A, "first", 2);
    put(SFS_STORE_FILE, KEY_B, "second", 3);
    cr_assert_eq(make_room(15, 4), 0, "%s", err.text);
    expect("index sha256:a 5 1\nfile sha256:a 5 2\nfile sha256:b 6 3\n");
    cr_assert_eq(make_room(15, 5), 0, "%s", err.text);
    expect("index sha256:a 5 1\nfile sha256:b 6 3\n");
}

Test(store, there_is_no_room_beside_what_is_in_use_or_for_what_is_too_large)
{
    put(SFS_STORE_FILE, KEY_A, "first", 2);
    AUTO(sfs_close_fd) int fd = -1;
    cr_assert_eq(sfs_store_open_file(store, SFS_STORE_FILE, KEY_A, &fd, &err), 0);
    cr_assert_eq(make_room(10, 6), -ENOSPC);
    cr_assert_eq(make_room(10, 11), -ENOSPC);
    cr_assert_eq(make_room(10, 5), 0);
}

/* ---- files known to have a digest ---- */

TestSuite(verified, .init = open_store, .fini = close_store);

/* A file of that text, last changed so many seconds ago. */
static int make_file(const char *text, time_t ago)
{
    char path[128];
    snprintf(path, sizeof path, "%s/file", top);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    const struct timespec times[2] = { { .tv_sec = time(NULL) - ago },
                                       { .tv_sec = time(NULL) - ago } };
    cr_assert_eq(sfs_io_write_all(fd, text, strlen(text)), 0);
    cr_assert_eq(futimens(fd, times), 0);
    return fd;
}

/* The file's bytes are changed, and its time set back: only a reading could tell. */
static void change_in_secret(int fd)
{
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(pwrite(fd, "X", 1, 0), 1);
    const struct timespec times[2] = { st.st_atim, st.st_mtim };
    cr_assert_eq(futimens(fd, times), 0);
}

Test(verified, a_file_is_read_once_and_again_when_it_was_changed)
{
    struct sfs_digest digest;
    sfs_digest_of("hello", 5, &digest);
    AUTO(sfs_close_fd) int fd = make_file("hello", 100);
    cr_assert_eq(sfs_verified_check(store, fd, 5, &digest, &err), 0, "%s", err.text);
    change_in_secret(fd);
    cr_expect_eq(sfs_verified_check(store, fd, 5, &digest, &err), 0, "it was read twice");
    cr_expect_eq(sfs_verified_check(NULL, fd, 5, &digest, &err), -EKEYREJECTED);
    cr_assert_eq(pwrite(fd, "Y", 1, 0), 1);
    cr_expect_eq(sfs_verified_check(store, fd, 5, &digest, &err), -EKEYREJECTED);
}

Test(verified, a_file_that_was_just_written_is_read_each_time)
{
    struct sfs_digest digest;
    sfs_digest_of("hello", 5, &digest);
    AUTO(sfs_close_fd) int fd = make_file("hello", 0);
    cr_assert_eq(sfs_verified_check(store, fd, 5, &digest, &err), 0, "%s", err.text);
    change_in_secret(fd);
    cr_expect_eq(sfs_verified_check(store, fd, 5, &digest, &err), -EKEYREJECTED);
}

Test(store, a_directory_that_others_can_write_to_is_refused)
{
    struct sfs_store *other = NULL;
    cr_assert_eq(chmod(top, 01777), 0);
    cr_assert_eq(sfs_store_open(top, &other, &err), -EPERM);
    cr_assert_not_null(strstr(err.text, "another user can write to it"), "%s", err.text);
    cr_assert_eq(chmod(top, 0700), 0);
    if (geteuid() != 0 || chown(top, 65534, 65534) < 0)
        cr_skip_test("needs root");
    cr_assert_eq(sfs_store_open(top, &other, &err), -EPERM);
    cr_assert_eq(chown(top, 0, 0), 0);
    cr_assert_eq(sfs_store_open(top, &other, &err), 0, "%s", err.text);
    sfs_store_close(&other);
}

#define NAME_A "sha256-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NAME_B "sha256-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static unsigned mode_of(const char *name)
{
    struct stat st;
    cr_assert_eq(lstat(path_of(name), &st), 0, "%s", name);
    return st.st_mode & 07777;
}

/* What an older version made with the umask's bits is this user's alone from now on. */
Test(store, loose_modes_are_tightened)
{
    put(SFS_STORE_INDEX, KEY_A, "x", 1);
    put(SFS_STORE_FILTER, KEY_A, "x", 1);
    cr_assert_eq(mkdir(path_of("run"), 0755), 0);
    cr_assert_eq(chmod(path_of("index"), 0777), 0);
    cr_assert_eq(chmod(path_of("filter"), 0755), 0);
    cr_assert_eq(chmod(path_of("index/" NAME_A ".idx"), 0644), 0);
    cr_assert_eq(chmod(dir, 0777), 0);
    struct sfs_store *again = NULL;
    cr_assert_eq(sfs_store_open(dir, &again, &err), 0, "%s", err.text);
    cr_expect_eq(mode_of(""), 0700);
    cr_expect_eq(mode_of("index"), 0700);
    cr_expect_eq(mode_of("filter"), 0700);
    cr_expect_eq(mode_of("run"), 0700);
    AUTO(sfs_close_fd) int fd = -1;
    cr_assert_eq(sfs_store_open_file(again, SFS_STORE_INDEX, KEY_A, &fd, &err), 0);
    cr_expect_eq(mode_of("index/" NAME_A ".idx"), 0600);
    sfs_store_close(&again);
}

/* Somebody who could write to it once may have left something. */
Test(store, what_is_another_users_is_refused)
{
    struct sfs_store *again = NULL;
    if (geteuid() != 0)
        cr_skip_test("needs root");
    put(SFS_STORE_INDEX, KEY_A, "x", 1);
    cr_assert_eq(chown(path_of("index/" NAME_A ".idx"), 65534, 65534), 0);
    int fd = -1;
    cr_expect_eq(sfs_store_open_file(store, SFS_STORE_INDEX, KEY_A, &fd, &err), -EPERM);
    cr_assert_eq(symlink("/tmp", path_of("result")), 0);
    cr_assert_eq(lchown(path_of("result"), 65534, 65534), 0);
    cr_expect_eq(sfs_store_open(dir, &again, &err), -EPERM);
    cr_expect(strstr(err.text, "result in it is another user's"), "%s", err.text);
    cr_assert_eq(unlink(path_of("result")), 0);
    cr_assert_eq(chown(path_of("index"), 65534, 65534), 0);
    cr_expect_eq(sfs_store_open(dir, &again, &err), -EPERM);
    cr_assert_eq(chown(path_of("index"), 0, 0), 0);
}

Test(store, filters_of_older_versions_are_removed)
{
    char name[8 + 64 + 1] = "seccomp-";
    memset(name + 8, 'a', 64);
    name[8 + 64] = 0;
    put(SFS_STORE_INDEX, KEY_A, "x", 1);
    close(open(path_of(name), O_CREAT | O_WRONLY, 0600));
    close(open(path_of("seccomp-of-mine"), O_CREAT | O_WRONLY, 0600));
    struct sfs_store *again = NULL;
    cr_assert_eq(sfs_store_open(dir, &again, &err), 0, "%s", err.text);
    cr_expect_eq(access(path_of(name), F_OK), -1);
    cr_expect_eq(access(path_of("seccomp-of-mine"), F_OK), 0);
    sfs_store_close(&again);
}

/* ---- what is here of a registry's blobs */

static struct sfs_digest digest_of_key(const char *key)
{
    struct sfs_digest digest;
    cr_assert_eq(sfs_digest_parse(key, &digest, &err), 0);
    return digest;
}

/* Opens a part of `size` bytes and writes some of it. */
static void put_part(const char *key, uint64_t size, size_t written, int *ret_data, int *ret_map)
{
    const struct sfs_digest digest = digest_of_key(key);
    static const char bytes[64 << 10] = "x";
    cr_assert_eq(sfs_store_open_part(store, &digest, size, ret_data, ret_map, &err), 0, "%s",
                 err.text);
    cr_assert_eq(ftruncate(*ret_data, (off_t)size), 0);
    cr_assert_eq(pwrite(*ret_data, bytes, written, 0), (ssize_t)written);
    cr_assert_eq(pwrite(*ret_map, "map", 3, 0), 3);
}

Test(store, parts_are_listed_by_what_is_there_and_pruned_with_their_maps)
{
    int data, map;
    char text[1024] = "";
    put_part(KEY_A, 1 << 30, 64 << 10, &data, &map);
    cr_assert_eq(sfs_store_list(store, append, text, &err), 0);
    cr_assert(strstr(text, "65536"), "%s", text);
    uint64_t freed, count;
    cr_assert_eq(sfs_store_prune(store, 0, &freed, &count, &err), 0);
    cr_assert_eq(count, 0);
    close(data);
    close(map);
    cr_assert_eq(sfs_store_prune(store, 0, &freed, &count, &err), 0);
    cr_assert_eq(count, 1);
    cr_assert_eq(freed, 64 << 10, "%lu", (unsigned long)freed);
    cr_assert_eq(access(path_of("part/" NAME_A ".1073741824.map"), F_OK), -1);
}

Test(store, a_map_without_its_part_is_not_believed)
{
    int data, map;
    struct stat st;
    put_part(KEY_A, 1000, 10, &data, &map);
    close(data);
    close(map);
    cr_assert_eq(unlink(path_of("part/" NAME_A ".1000.part")), 0);
    const struct sfs_digest digest = digest_of_key(KEY_A);
    cr_assert_eq(sfs_store_open_part(store, &digest, 1000, &data, &map, &err), 0);
    cr_assert_eq(fstat(map, &st), 0);
    cr_assert_eq(st.st_size, 0);
    close(data);
    close(map);
}

Test(store, a_part_becomes_a_blob)
{
    int data, map, fd;
    struct stat st;
    const struct sfs_digest digest = digest_of_key(KEY_A);
    put_part(KEY_A, 1000, 1000, &data, &map);
    cr_assert_eq(sfs_store_keep_part(store, &digest, 1000), 0);
    cr_assert_eq(fstat(map, &st), 0);
    cr_assert_eq(st.st_nlink, 0); /* which tells others that it is closed */
    cr_assert_lt(sfs_store_keep_part(store, &digest, 1000), 0);
    close(data);
    close(map);
    cr_assert_eq(sfs_store_open_part(store, &digest, 1000, &data, &map, &err), -EEXIST);
    cr_assert_eq(sfs_store_open_file(store, SFS_STORE_BLOB, KEY_A, &fd, &err), 0, "%s", err.text);
    sfs_store_drop_blob(store, &digest, fd);
    close(fd);
    cr_assert_eq(sfs_store_open_file(store, SFS_STORE_BLOB, KEY_A, &fd, &err), -ENOENT);
}

/* Another process has found the damage, too, and has put a good one there meanwhile. */
Test(store, only_what_was_found_bad_is_dropped)
{
    AUTO(sfs_close_fd) int bad = -1;
    AUTO(sfs_close_fd) int good = -1;
    const struct sfs_digest digest = digest_of_key(KEY_A);
    static const enum sfs_store_kind kinds[] = { SFS_STORE_PACK, SFS_STORE_BLOB };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        sfs_close_fd(&bad);
        sfs_close_fd(&good);
        put(kinds[i], KEY_A, "bad", 1);
        cr_assert_eq(sfs_store_open_file(store, kinds[i], KEY_A, &bad, &err), 0);
        put(kinds[i], KEY_A, "good", 1);
        sfs_store_drop_file(store, kinds[i], KEY_A, bad);
        cr_expect_eq(sfs_store_open_file(store, kinds[i], KEY_A, &good, &err), 0, "%s", err.text);
        sfs_store_drop_file(store, kinds[i], KEY_A, good);
        cr_expect_eq(
            access(path_of(i == 0 ? "pack/" NAME_A ".pack" : "blob/" NAME_A ".blob"), F_OK), -1);
    }
    put(SFS_STORE_BLOB, KEY_A, "good", 1);
    sfs_store_drop_blob(store, &digest, bad);
    cr_expect_eq(access(path_of("blob/" NAME_A ".blob"), F_OK), 0);
}

Test(store, room_for_blobs_is_made_of_both_and_what_is_in_use_stays)
{
    int data, map;
    static char text[60001];
    memset(text, 'x', 60000);
    text[60000] = 0;
    put(SFS_STORE_BLOB, KEY_B, text, 1);
    put(SFS_STORE_INDEX, KEY_B, text, 1);
    put_part(KEY_A, 1 << 20, 64 << 10, &data, &map);
    cr_assert_eq(sfs_store_make_blob_room(store, 200000, 10000, &err), 0);
    cr_assert_eq(access(path_of("blob/" NAME_B ".blob"), F_OK), 0);
    cr_assert_eq(sfs_store_make_blob_room(store, 100000, 10000, &err), 0);
    cr_assert_eq(access(path_of("blob/" NAME_B ".blob"), F_OK), -1);
    cr_assert_eq(access(path_of("index/" NAME_B ".idx"), F_OK), 0);
    cr_assert_eq(sfs_store_make_blob_room(store, 70000, 10000, &err), -ENOSPC);
    close(data);
    close(map);
    cr_assert_eq(sfs_store_make_blob_room(store, 70000, 10000, &err), 0);
}
