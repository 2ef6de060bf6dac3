/* What a recorder writes down, by itself and in a mount. */
#include "mount_support.h"

#include "mount/recorder.h"
#include <dirent.h>
#include <pthread.h>

static struct sfs_recorder *recorder;

static void open_recorder(void)
{
    struct sfs_error err;
    cr_assert_eq(sfs_recorder_open(SFS_INO_ROOT, true, &recorder, &err), 0, "%s", err.text);
}

static void close_recorder(void)
{
    sfs_recorder_close(&recorder);
}

TestSuite(recorder, .init = open_recorder, .fini = close_recorder);

/* Without its first line, which is a comment. */
static void expect_profile(const char *wanted)
{
    struct sfs_buf buf = { 0 };
    cr_assert_eq(sfs_recorder_print(recorder, &buf), 0);
    cr_assert_eq(buf.data[0], '#');
    cr_assert_str_eq(strchr(buf.data, '\n') + 1, wanted);
    sfs_buf_close(&buf);
}

Test(recorder, of_nothing_writes_nothing)
{
    expect_profile("");
}

Test(recorder, keeps_the_order_of_first_use)
{
    sfs_recorder_lookup(recorder, 1, "z", 5, NULL);
    sfs_recorder_lookup(recorder, 1, "a", 6, NULL);
    sfs_recorder_lookup(recorder, 1, "z", 5, NULL);
    expect_profile("stat /z\nstat /a\n");
}

Test(recorder, writes_the_word_that_says_most)
{
    sfs_recorder_lookup(recorder, 1, "d", 5, NULL);
    sfs_recorder_lookup(recorder, 5, "f", 6, NULL);
    sfs_recorder_lookup(recorder, 5, "l", 7, NULL);
    sfs_recorder_lookup(recorder, 5, "n", 0, NULL);
    sfs_recorder_lookup(recorder, 5, "o", 8, NULL);
    sfs_recorder_read(recorder, 6, 0, 10);
    sfs_recorder_use(recorder, 6, SFS_USE_OPEN);
    sfs_recorder_use(recorder, 5, SFS_USE_LIST);
    sfs_recorder_use(recorder, 7, SFS_USE_LINK);
    sfs_recorder_use(recorder, 8, SFS_USE_OPEN);
    sfs_recorder_use(recorder, 1, SFS_USE_LIST);
    expect_profile("list /\nlist /d\nread /d/f 0+10\nlink /d/l\nnone /d/n\nopen /d/o\n");
}

Test(recorder, joins_what_was_read)
{
    sfs_recorder_lookup(recorder, 1, "f", 5, NULL);
    sfs_recorder_read(recorder, 5, 8192, 4096);
    sfs_recorder_read(recorder, 5, 0, 4096);
    sfs_recorder_read(recorder, 5, 4096, 4096);
    sfs_recorder_read(recorder, 5, 1 << 20, 1);
    expect_profile("read /f 0+12288 1048576+1\n");
}

/* What is used all through a start comes in parts, so that the last of it does not come before what
 * others use first. */
Test(recorder, tells_later_what_was_read_later)
{
    sfs_recorder_lookup(recorder, 1, "f", 5, NULL);
    sfs_recorder_read(recorder, 5, 0, 4096);
    sfs_recorder_read(recorder, 5, 8192, 4096);
    sfs_recorder_lookup(recorder, 1, "g", 6, NULL);
    sfs_recorder_read(recorder, 6, 0, 8u << 20);
    sfs_recorder_read(recorder, 5, 0, 12288);
    sfs_recorder_read(recorder, 5, 1 << 20, 1);
    sfs_recorder_lookup(recorder, 1, "h", 7, NULL);
    sfs_recorder_read(recorder, 7, 0, 4u << 20);
    sfs_recorder_read(recorder, 5, 0, 4096); /* read before, so nothing is said of it */
    sfs_recorder_use(recorder, 5, SFS_USE_EXEC);
    const char *all = "exec /f 0+4096 8192+4096\nread /g 0+8388608\n"
                      "exec /f 4096+4096 1048576+1\nread /h 0+4194304\n";
    expect_profile(all);
    expect_profile(all);
}

Test(recorder, gives_reads_to_the_name_that_was_looked_up_last)
{
    sfs_recorder_lookup(recorder, 1, "a", 5, NULL);
    sfs_recorder_lookup(recorder, 1, "b", 5, NULL);
    sfs_recorder_read(recorder, 5, 0, 1);
    expect_profile("stat /a\nread /b 0+1\n");
}

Test(recorder, knows_nothing_of_what_was_never_looked_up)
{
    sfs_recorder_read(recorder, 77, 0, 1);
    sfs_recorder_lookup(recorder, 77, "x", 78, NULL);
    sfs_recorder_use(recorder, 77, SFS_USE_LIST);
    expect_profile("");
}

static struct sfs_buf heard;

static void hear_missing(void *user, const char *path, const char *who)
{
    (void)user;
    sfs_buf_printf(&heard, "%s by '%s'\n", path, who);
}

Test(recorder, names_who_looked_in_vain_first)
{
    sfs_recorder_lookup(recorder, 1, "a", 0, "/bin/sh");
    sfs_recorder_lookup(recorder, 1, "there", 5, "/bin/sh");
    sfs_recorder_lookup(recorder, 1, "b", 0, NULL);
    sfs_recorder_lookup(recorder, 1, "a", 0, "/bin/other");
    sfs_recorder_missing(recorder, hear_missing, NULL);
    cr_assert_str_eq(heard.data, "/a by '/bin/sh'\n/b by ''\n");
    sfs_buf_close(&heard);
}

#define READERS 4
#define READS   2000

static void *read_much(void *arg)
{
    unsigned which = *(const unsigned *)arg;
    char name[16];
    for (unsigned i = 0; i < READS; i++) {
        snprintf(name, sizeof name, "f%u", i % 10);
        sfs_recorder_lookup(recorder, 1, name, 10 + i % 10, NULL);
        sfs_recorder_read(recorder, 10 + i % 10, ((uint64_t)i * READERS + which) * 4096, 4096);
    }
    return NULL;
}

Test(recorder, takes_notes_of_many_at_a_time)
{
    pthread_t threads[READERS];
    unsigned numbers[READERS];
    for (unsigned i = 0; i < READERS; i++) {
        numbers[i] = i;
        cr_assert_eq(pthread_create(&threads[i], NULL, read_much, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    struct sfs_buf buf = { 0 };
    struct sfs_profile profile = { 0 };
    struct sfs_error err;
    cr_assert_eq(sfs_recorder_print(recorder, &buf), 0);
    cr_assert_eq(sfs_profile_parse(&profile, "p", buf.data, buf.size, &err), 0, "%s", err.text);
    cr_assert_geq(profile.count, 10); /* a file has more lines where more is read of it later */
    uint64_t bytes = 0;
    for (size_t i = 0; i < profile.count; i++)
        for (size_t j = 0; j < profile.uses[i].ranges.count; j++)
            bytes += profile.uses[i].ranges.items[j].size;
    cr_assert_eq(bytes, (uint64_t)READERS * READS * 4096);
    sfs_profile_done(&profile);
    sfs_buf_close(&buf);
}

/* --- in a mount ------------------------------------------------------------------------------- */

TestSuite(trace, .init = mount_init, .fini = mount_fini);

#define BIG (4u << 20)

static struct sfs_tree *make_tree(void)
{
    struct sfs_builder *builder = mount_builder();
    mount_add_mode(builder, "d", S_IFDIR | 0755);
    mount_add_text(builder, "d/seen", "x");
    mount_add_text(builder, "d/used", "hello");
    mount_add_content(builder, "big", 0644,
                      (struct mount_content){ .data = mount_pattern(BIG), .size = BIG });
    mount_add(builder, "l",
              &(struct sfs_builder_item){ .inode.mode = S_IFLNK | 0777, .target = "d/used" });
    return mount_tree(builder);
}

static char *trace_file(void)
{
    static char path[80];
    snprintf(path, sizeof path, "%s.trace", mount_now.dir);
    return path;
}

static char *read_trace(void)
{
    static char text[4096];
    FILE *file = fopen(trace_file(), "re");
    cr_assert_not_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return strchr(text, '\n') + 1;
}

static void read_whole(const char *name)
{
    static char data[1 << 20];
    AUTO(sfs_close_fd) int fd = open(mount_path(name), O_RDONLY);
    cr_assert_geq(fd, 0);
    while (read(fd, data, sizeof data) > 0)
        continue;
}

static void list_dir(const char *name)
{
    DIR *dir = opendir(mount_path(name));
    cr_assert_not_null(dir);
    while (readdir(dir))
        continue;
    closedir(dir);
}

Test(trace, tells_what_was_done)
{
    struct stat st;
    mount_up(make_tree(),
             (struct sfs_mount_options){ .trace_path = trace_file(), .trace_pages = true });
    list_dir("d");
    cr_assert_eq(access(mount_path("nothing"), F_OK), -1);
    read_whole("l");
    cr_assert_eq(stat(mount_path("d/seen"), &st), 0);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_str_eq(read_trace(), "list /d\nnone /nothing\nlink /l\nread /d/used 0+5\n"
                                   "stat /d/seen\n");
    unlink(trace_file());
}

/* The first byte is asked for, whatever is fetched behind it. */
Test(trace, without_pages_tells_all_but_those)
{
    mount_up(make_tree(), (struct sfs_mount_options){ .trace_path = trace_file() });
    read_whole("big");
    read_whole("d/used");
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_str_eq(read_trace(), "read /big\nstat /d\nread /d/used\n");
    unlink(trace_file());
}

Test(trace, leaves_out_names_of_temporary_files)
{
    struct sfs_builder *builder = mount_builder();
    mount_add_mode(builder, "tmp", S_IFDIR | 01777);
    mount_add_mode(builder, "d", S_IFDIR | 0755);
    mount_up(mount_tree(builder), (struct sfs_mount_options){ .trace_path = trace_file() });
    static const char *const names[] = { "tmp/x1", "d/a.pyc.140", "d/a.pyc.", "d/a.pyc.1x" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_assert_eq(access(mount_path(names[i]), F_OK), -1);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_str_eq(read_trace(), "stat /tmp\nstat /d\nnone /d/a.pyc.\nnone /d/a.pyc.1x\n");
    unlink(trace_file());
}

Test(trace, is_added_to_what_the_file_has)
{
    FILE *file = fopen(trace_file(), "we");
    cr_assert_not_null(file);
    fputs("# mine\nstat /gone\nstat /d/used # still\n", file);
    fclose(file);
    mount_up(make_tree(),
             (struct sfs_mount_options){ .trace_path = trace_file(), .trace_append = true });
    read_whole("d/used");
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_str_eq(read_trace(), "stat /gone\nread /d/used # still\nstat /d\n");
    unlink(trace_file());
}

Test(trace, is_written_on_sigusr1_too)
{
    mount_up(make_tree(),
             (struct sfs_mount_options){ .trace_path = trace_file(), .trace_pages = true });
    read_whole("d/used");
    cr_assert_eq(kill(mount_now.pid, SIGUSR1), 0);
    while (access(trace_file(), F_OK) < 0)
        usleep(1000);
    cr_assert_str_eq(read_trace(), "stat /d\nread /d/used 0+5\n");
    unlink(trace_file());
}

Test(trace, to_a_place_that_is_not_there_fails_at_once)
{
    struct sfs_tree *tree = mount_small_tree();
    const struct sfs_tree *trees[] = { tree };
    mount_start(&(struct mount_trees){ .trees = trees },
                (struct sfs_mount_options){ .trace_path = "/nowhere/file" });
    cr_assert_not_null(strstr(mount_hear(), "/nowhere/file"));
    cr_assert_neq(mount_wait(), 0);
}

Test(trace, into_a_directory_fails_at_once)
{
    struct sfs_tree *tree = mount_small_tree();
    const struct sfs_tree *trees[] = { tree };
    mount_start(&(struct mount_trees){ .trees = trees },
                (struct sfs_mount_options){ .trace_path = "/tmp/" });
    cr_assert_not_null(strstr(mount_hear(), "'/tmp/', which is no file"));
    cr_assert_neq(mount_wait(), 0);
}

static void write_profile(const char *text)
{
    FILE *file = fopen(trace_file(), "we");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static unsigned long number(const char *key)
{
    AUTO(sfs_free) char *json = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_mount_stats(mount_now.dir, &json, &err), 0, "%s", err.text);
    const char *at = strstr(json, key);
    cr_assert_not_null(at, "%s", json);
    return strtoul(at + strlen(key) + 1, NULL, 10);
}

TestSuite(replay, .init = mount_init, .fini = mount_fini);

static void mount_with_profile(const char *text)
{
    const char *profiles[] = { trace_file() };
    write_profile(text);
    mount_up(make_tree(), (struct sfs_mount_options){ .profiles = profiles, .profile_count = 1 });
}

static void wait_for_bytes(unsigned long bytes)
{
    while (number("\"bytes_stored\"") < bytes)
        usleep(1000);
}

Test(replay, brings_bytes_so_that_reading_them_asks_for_nothing)
{
    mount_with_profile("read /big 0+4194304\nread /d/used 0+5\n");
    wait_for_bytes(BIG + 5);
    unsigned long before = mount_count("read");
    read_whole("big");
    read_whole("d/used");
    cr_assert_eq(mount_count("read"), before);
    unlink(trace_file());
}

Test(replay, brings_the_start_of_files_without_ranges)
{
    mount_with_profile("read /big\nexec /d/used\nopen /d/seen\n");
    wait_for_bytes((1u << 20) + 5);
    usleep(100000);
    cr_assert_eq(number("\"bytes_stored\""), (1u << 20) + 5);
    unlink(trace_file());
}

Test(replay, brings_the_right_bytes)
{
    mount_with_profile("read /big 4096+1 1048000+600000 4194303+1\n");
    wait_for_bytes(2 * 4096 + 602112);
    char *data = malloc(BIG);
    int fd = open(mount_path("big"), O_RDONLY);
    for (size_t done = 0; done < BIG;) {
        ssize_t got = read(fd, data + done, BIG - done);
        cr_assert_gt(got, 0);
        done += (size_t)got;
    }
    close(fd);
    const struct mount_content *content = &mount_contents[2];
    cr_assert_eq(content->size, BIG);
    cr_assert_eq(memcmp(data, content->data, BIG), 0);
    free(data);
    unlink(trace_file());
}

Test(replay, makes_names_known_that_are_there_and_that_are_not)
{
    struct stat st;
    mount_with_profile("stat /d/seen\nnone /d/nothing\nread /big 0+1\n");
    wait_for_bytes(4096); /* bytes come behind the names of their batch */
    unsigned long before = mount_count("lookup");
    cr_assert_eq(stat(mount_path("d/seen"), &st), 0);
    cr_assert_eq(stat(mount_path("d/nothing"), &st), -1);
    cr_assert_eq(mount_count("lookup"), before);
    unlink(trace_file());
}

Test(replay, warns_once_of_paths_that_are_not_there)
{
    const char *profiles[] = { trace_file() };
    write_profile("read /gone 0+5\nstat /gone2\nnone /gone3\nread /big 0+1\n");
    struct sfs_tree *tree = make_tree();
    const struct sfs_tree *trees[] = { tree };
    mount_start(&(struct mount_trees){ .trees = trees },
                (struct sfs_mount_options){ .profiles = profiles, .profile_count = 1 });
    cr_assert_str_eq(mount_hear(), "2 of the profile's paths are not here, such as /gone");
    cr_assert_str_eq(mount_hear(), "+");
    wait_for_bytes(4096);
    unlink(trace_file());
}

Test(replay, of_what_is_no_profile_fails_before_mounting)
{
    const char *profiles[] = { trace_file() };
    write_profile("hello\n");
    struct sfs_tree *tree = mount_small_tree();
    const struct sfs_tree *trees[] = { tree };
    mount_start(&(struct mount_trees){ .trees = trees },
                (struct sfs_mount_options){ .profiles = profiles, .profile_count = 1 });
    cr_assert_not_null(strstr(mount_hear(), ":1: "));
    cr_assert_eq(mount_wait(), EBADMSG);
    unlink(trace_file());
}

Test(replay, hinders_no_end)
{
    mount_with_profile("read /big 0+4194304\nstat /d/seen\n");
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_not(mount_is_up());
    unlink(trace_file());
}

Test(replay, of_layers_finds_paths_below_their_numbers)
{
    const char *profiles[] = { trace_file() };
    write_profile("list /\nread /1/big 0+5\n");
    const struct sfs_tree *trees[] = { mount_small_tree(), make_tree() };
    mount_start(&(struct mount_trees){ .trees = trees, .count = 2 },
                (struct sfs_mount_options){ .profiles = profiles, .profile_count = 1 });
    cr_assert_str_eq(mount_hear(), "+");
    wait_for_bytes(4096);
    unlink(trace_file());
}
