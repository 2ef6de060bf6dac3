/* What mounts learn of starts, and what the next mount makes of it. */
#include "mount_support.h"

#include "layer/store.h"
#include "mount/learner.h"
#include "tree/learned.h"
#include "base/temp_dir.h"
#include <dirent.h>

#define BIG  (4u << 20)
#define WIDE (64u << 20)

static char cache[80];
static struct sfs_store *store;

static void learner_init(void)
{
    struct sfs_error err;
    mount_init();
    snprintf(cache, sizeof cache, "%s.cache", mount_now.dir);
    cr_assert_eq(sfs_store_open(cache, &store, &err), 0, "%s", err.text);
}

static void learner_fini(void)
{
    char command[128];
    sfs_store_close(&store);
    snprintf(command, sizeof command, "rm -rf '%s'", cache);
    cr_assert_eq(system(command), 0);
    mount_fini();
}

TestSuite(learner, .init = learner_init, .fini = learner_fini);

static struct sfs_tree *make_tree(void)
{
    struct sfs_builder *builder = mount_builder();
    mount_add_mode(builder, "d", S_IFDIR | 0755);
    mount_add_text(builder, "d/used", "hello");
    mount_add_text(builder, "d/other", "there");
    mount_add_content(builder, "big", 0644,
                      (struct mount_content){ .data = mount_pattern(BIG), .size = BIG });
    return mount_tree(builder);
}

static void up(const struct sfs_tree *tree)
{
    mount_up(tree, (struct sfs_mount_options){ .learn = true, .store = store });
}

static void read_whole(const char *name)
{
    static char data[1 << 20];
    AUTO(sfs_close_fd) int fd = open(mount_path(name), O_RDONLY);
    cr_assert_geq(fd, 0);
    while (read(fd, data, sizeof data) > 0)
        continue;
}

static unsigned long number(const char *key)
{
    AUTO(sfs_free) char *json = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_mount_stats(mount_now.dir, &json, &err), 0, "%s", err.text);
    const char *at = strstr(json, "\"learned\":"), *found = at ? strstr(at, key) : NULL;
    cr_assert_not_null(found, "%s", json);
    return strtoul(found + strlen(key) + 1, NULL, 10);
}

/* The one file that is kept; NULL: none. */
static const char *kept_file(void)
{
    static char path[400];
    char dir[96];
    const char *found = NULL;
    snprintf(dir, sizeof dir, "%s/start", cache);
    DIR *stream = opendir(dir);
    for (const struct dirent *entry; stream && (entry = readdir(stream));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            cr_assert_null(found, "two files: %s", entry->d_name);
            snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
            found = path;
        }
    if (stream)
        closedir(stream);
    return found;
}

/* What is kept, without the lines that are not uses. */
static const char *kept(void)
{
    static char uses[4096];
    char text[8192];
    size_t used = 0;
    FILE *file = fopen(kept_file(), "re");
    cr_assert_not_null(file);
    while (fgets(text, sizeof text, file))
        if (text[0] != '#')
            used += (size_t)snprintf(uses + used, sizeof uses - used, "%s", text);
    fclose(file);
    return uses;
}

Test(learner, keeps_names_and_ranges_in_the_order_of_use)
{
    struct stat st;
    up(make_tree());
    read_whole("d/used");
    cr_assert_eq(access(mount_path("d/nothing"), F_OK), -1);
    cr_assert_eq(stat(mount_path("d/other"), &st), 0);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_str_eq(kept(), "stat /d\nread /d/used 0+5\nnone /d/nothing\nstat /d/other\n");
    cr_assert_eq(stat(kept_file(), &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
}

Test(learner, keeps_nothing_of_who_reads_nothing)
{
    struct stat st;
    up(make_tree());
    cr_assert_eq(stat(mount_path("d/other"), &st), 0);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_null(kept_file());
}

Test(learner, keeps_nothing_where_nobody_asked_for_it)
{
    mount_up(make_tree(), (struct sfs_mount_options){ .store = store });
    read_whole("d/used");
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_null(kept_file());
}

Test(learner, keeps_nothing_half_when_it_is_killed)
{
    up(make_tree());
    read_whole("big");
    cr_assert_eq(mount_end_by(SIGKILL), 1000 + SIGKILL);
    cr_assert_null(kept_file());
}

static void start_once(const struct sfs_tree *tree, const char *file)
{
    up(tree);
    read_whole(file);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
}

/* In one start of several it is the turn of one of its blocks to be asked for; else it is there
 * before. */
Test(learner, has_what_earlier_starts_used_fetched_ahead)
{
    const struct sfs_tree *tree = make_tree();
    unsigned ahead = 0;
    start_once(tree, "big");
    start_once(tree, "d/used");
    start_once(tree, "d/other");
    for (unsigned i = 0; i < 100 && ahead < 3; i++) {
        up(tree);
        cr_assert_gt(number("\"paths\""), 0);
        usleep(100000);
        unsigned long before = mount_count("read");
        read_whole("big");
        ahead += mount_count("read") == before;
        cr_assert_eq(mount_end_by(SIGTERM), 0);
    }
    cr_assert_eq(ahead, 3);
    cr_assert_not_null(strstr(kept(), "read /big "));
}

Test(learner, forgets_what_no_start_uses_any_more)
{
    const struct sfs_tree *tree = make_tree();
    start_once(tree, "big");
    start_once(tree, "d/used");
    for (unsigned i = 0; i < 400 && strstr(kept(), "/big"); i++)
        start_once(tree, "d/used");
    cr_assert_null(strstr(kept(), "/big"), "%s", kept());
    cr_assert_not_null(strstr(kept(), "read /d/used 0+5\n"));
}

Test(learner, does_not_take_its_own_look_ups_for_uses)
{
    const struct sfs_tree *tree = make_tree();
    start_once(tree, "d/used");
    start_once(tree, "big");
    for (unsigned i = 0; i < 800 && strstr(kept(), "/d"); i++)
        start_once(tree, "big");
    cr_assert_null(strstr(kept(), "/d"), "%s", kept());
}

Test(learner, is_not_led_by_a_damaged_file)
{
    const struct sfs_tree *tree = make_tree();
    start_once(tree, "d/used");
    FILE *file = fopen(kept_file(), "r+e");
    cr_assert_not_null(file);
    cr_assert_eq(fputs("read /big", file) < 0, 0);
    fclose(file);
    up(tree);
    cr_assert_eq(number("\"paths\""), 0);
    read_whole("d/other");
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_str_eq(kept(), "stat /d\nread /d/other 0+5\n");
}

Test(learner, does_not_take_another_users_file)
{
    if (geteuid() != 0)
        MOUNT_SKIP("only root can give a file away");
    const struct sfs_tree *tree = make_tree();
    start_once(tree, "d/used");
    cr_assert_eq(chown(kept_file(), 12345, 12345), 0);
    up(tree);
    cr_assert_eq(number("\"paths\""), 0);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
}

/* By itself, since a mount is not told how many bytes it will be asked for. */
Test(learner, writes_when_it_was_quiet_for_a_while)
{
    struct sfs_error err;
    struct sfs_stats stats;
    struct sfs_forest forest;
    struct sfs_learner *learner = NULL;
    struct sfs_profile known = { 0 };
    const struct sfs_tree *tree = make_tree();
    sfs_stats_init(&stats);
    cr_assert_eq(sfs_forest_open(&forest, &tree, 1, false, &err), 0);
    const struct sfs_learner_options options = {
        .forest = &forest, .store = store, .sees_names = true, .stats = &stats
    };
    cr_assert_eq(sfs_learner_open(&options, &learner, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_learner_start(learner, &err), 0);
    sfs_learner_read(learner, SFS_INO_ROOT + 1, (struct sfs_range){ 0, 1 });
    sfs_learner_read(learner, 12345678, (struct sfs_range){ 0, 1 });
    sfs_learner_read(learner, SFS_INO_ROOT + 1, (struct sfs_range){ 4096, 5u << 20 });
    for (int i = 0; i < 200 && !kept_file(); i++)
        usleep(100000);
    cr_assert_str_eq(kept(), "read /big 0+1 4096+5242880\n");
    sfs_learner_read(learner, SFS_INO_ROOT + 1, (struct sfs_range){ 0, 4096 });
    sfs_learner_close(&learner);
    cr_assert_eq(sfs_learner_open(&options, &learner, &err), 0, "%s", err.text);
    sfs_learner_take(learner, &known);
    cr_assert_eq(known.count, 1);
    sfs_profile_done(&known);
    sfs_learner_close(&learner);
    sfs_forest_done(&forest);
}

static bool can_see;

static bool look_at_left(void *user,
                         bool (*is_left)(void *learner, sfs_ino ino, struct sfs_range range),
                         void (*seen)(void *learner, sfs_ino ino, struct sfs_range range),
                         void *learner)
{
    (void)user;
    for (uint64_t at = 0; can_see && at < WIDE; at += SFS_LEARNED_BLOCK)
        if (is_left(learner, SFS_INO_ROOT + 1, (struct sfs_range){ at, 4096 }))
            seen(learner, SFS_INO_ROOT + 1, (struct sfs_range){ at, SFS_LEARNED_BLOCK });
    return can_see;
}

/* Where nobody is asked for what is used, and it cannot be seen either, nothing is taken for
 * unused. */
Test(learner, looks_where_there_are_no_requests)
{
    struct sfs_error err;
    struct sfs_stats stats;
    struct sfs_forest forest;
    const struct sfs_tree *tree = make_tree();
    sfs_stats_init(&stats);
    cr_assert_eq(sfs_forest_open(&forest, &tree, 1, false, &err), 0);
    const struct sfs_learner_options options = { .forest = &forest,
                                                 .store = store,
                                                 .stats = &stats };
    const struct sfs_learner_watcher watcher = { .look = look_at_left };
    for (int i = 0; i < 3; i++) {
        struct sfs_learner *learner = NULL;
        can_see = i == 2;
        cr_assert_eq(sfs_learner_open(&options, &learner, &err), 0, "%s", err.text);
        if (i > 0)
            sfs_learner_watch(learner, &watcher);
        cr_assert_eq(sfs_learner_start(learner, &err), 0);
        sfs_learner_read(learner, SFS_INO_ROOT + 1,
                         (struct sfs_range){ 0, i > 0 ? 5u << 20 : WIDE });
        sleep(can_see ? 13 : 8); /* twice as long, since it looks twice */
        sfs_learner_close(&learner);
        const unsigned checked = (unsigned)atomic_load(&stats.checked_paths);
        if (i < 2)
            cr_assert_eq(checked, 0, "%u", checked);
        else
            cr_assert_gt(checked, 0);
        cr_assert_eq(atomic_load(&stats.used_paths), checked);
        cr_assert_str_eq(kept(), "read /big 0+67108864\n");
    }
    sfs_forest_done(&forest);
}
