/* Which opens go through, with a kernel that is only pretended: it has the rules of the real one.
 */
#include "mount_support.h"

#include "mount/passthrough.h"
#include "tree/tree_inner.h"
#include <dirent.h>

#define SIZE (3u << 20)
#define NAME "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.0123"

static char dir[64];
static struct sfs_store *store;
static struct sfs_stats stats;
static struct sfs_forest forest;
static const struct sfs_tree *tree;
static struct sfs_passthrough *passthrough;
static struct sfs_error err;
static char *bytes;
static int last_id, live_ids, kernel_refuses;

static int pretend_open(void *user, int fd)
{
    (void)user;
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(st.st_size, SIZE);
    if (kernel_refuses)
        return 0;
    live_ids++;
    return ++last_id;
}

static void pretend_close(void *user, int id)
{
    (void)user;
    cr_assert_eq(id, last_id);
    live_ids--;
}

static const struct sfs_backing_ops pretended = { pretend_open, pretend_close };

static int content_name(struct sfs_layer *layer, sfs_inode inode, char ret_name[SFS_CONTENT_NAME])
{
    if (!mount_contents[layer->tables.inodes[inode].source].step)
        return -ENOENT;
    snprintf(ret_name, SFS_CONTENT_NAME, NAME);
    return 0;
}

static const struct sfs_layer_ops named_ops = { .pin = mount_pin,
                                                .close = mount_close,
                                                .content_name = content_name };

static void open_mount(uint64_t limit)
{
    struct sfs_passthrough_options options = {
        .forest = &forest, .store = store, .limit = limit, .backing = &pretended, .stats = &stats
    };
    sfs_stats_init(&stats);
    cr_assert_eq(sfs_passthrough_open(&options, &passthrough, &err), 0, "%s", err.text);
    sfs_passthrough_start(passthrough);
}

static void init(void)
{
    snprintf(dir, sizeof dir, "/tmp/stagefs-test-pass-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(sfs_store_open(dir, &store, &err), 0, "%s", err.text);
    bytes = mount_pattern(SIZE);
    struct sfs_builder *builder = mount_builder();
    mount_add_content(builder, "large", 0644, (struct mount_content){ bytes, SIZE, 100000 });
    mount_add_content(builder, "nameless", 0644, (struct mount_content){ bytes, SIZE, 0 });
    mount_add_content(builder, "damaged", 0644, (struct mount_content){ NULL, SIZE, 1 });
    mount_add_text(builder, "small", "hello");
    struct sfs_layer *layer = mount_layer(builder, "layer 0");
    layer->ops = &named_ops;
    tree = mount_tree_of(&layer, 1);
    cr_assert_eq(sfs_forest_open(&forest, &tree, 1, false, &err), 0, "%s", err.text);
    open_mount(2 * SIZE);
}

static void fini(void)
{
    sfs_passthrough_close(&passthrough);
    sfs_forest_done(&forest);
    sfs_store_close(&store);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
    for (int i = 0; i < 8; i++) {
        sfs_tree_close(&mount_made_trees[i]);
        sfs_layer_close(&mount_made_layers[i]);
        sfs_free(&mount_made_bytes[i]);
    }
}

TestSuite(passthrough, .init = init, .fini = fini);

static sfs_ino ino_of(const char *name)
{
    sfs_ino ino;
    cr_assert_eq(sfs_forest_find(&forest, SFS_INO_ROOT, name, &ino), 0);
    return ino;
}

static struct sfs_opening open_named(const char *name)
{
    struct sfs_opening opening;
    cr_assert_eq(sfs_passthrough_opened(passthrough, ino_of(name), &opening), 0);
    return opening;
}

static void release(struct sfs_opening opening)
{
    sfs_passthrough_released(passthrough, opening.handle);
}

static bool is_kept(void)
{
    for (int i = 0; i < 1000 && atomic_load(&stats.files_kept) == 0; i++)
        usleep(5000);
    return atomic_load(&stats.files_kept) == 1;
}

/* Leaves a kept file and no open. */
static void keep_large(void)
{
    struct sfs_opening opening = open_named("large");
    sfs_passthrough_read(passthrough, opening.handle, SIZE);
    release(opening);
    cr_assert(is_kept());
}

static int count_fds(void)
{
    int count = 0;
    DIR *fds = opendir("/proc/self/fd");
    cr_assert_not_null(fds);
    while (readdir(fds))
        count++;
    closedir(fds);
    return count;
}

Test(passthrough, a_file_read_to_a_half_is_kept_and_its_next_open_goes_through)
{
    struct sfs_opening opening = open_named("large");
    cr_assert_eq(opening.backing_id, 0);
    sfs_passthrough_read(passthrough, opening.handle, SIZE / 2 - 1);
    usleep(50000);
    cr_assert_eq(atomic_load(&stats.files_kept), 0);
    sfs_passthrough_read(passthrough, opening.handle, 1);
    cr_assert(is_kept());
    release(opening);
    opening = open_named("large");
    cr_assert_gt(opening.backing_id, 0);
    release(opening);
    cr_assert_eq(live_ids, 0);
    cr_assert_eq(atomic_load(&stats.opens_through), 1);
}

Test(passthrough, what_is_kept_are_the_bytes_of_the_file)
{
    keep_large();
    AUTO(sfs_close_fd) int fd = -1;
    cr_assert_eq(sfs_store_open_file(store, SFS_STORE_FILE, NAME, &fd, &err), 0, "%s", err.text);
    char *read = mount_pattern(SIZE + 1);
    cr_assert_eq(sfs_io_read_at(fd, read, SIZE + 1, 0), SIZE);
    cr_assert_eq(memcmp(read, bytes, SIZE), 0);
}

Test(passthrough, a_file_is_kept_when_it_is_opened_for_the_third_time)
{
    release(open_named("large"));
    release(open_named("large"));
    usleep(50000);
    cr_assert_eq(atomic_load(&stats.files_kept), 0);
    release(open_named("large"));
    cr_assert(is_kept());
}

Test(passthrough, what_was_brought_ahead_of_a_reader_counts_as_read)
{
    struct sfs_opening opening = open_named("large");
    sfs_passthrough_read(passthrough, opening.handle, SIZE / 4);
    sfs_passthrough_stored(passthrough, ino_of("large"), SIZE / 4 - 1);
    usleep(50000);
    cr_assert_eq(atomic_load(&stats.files_kept), 0);
    sfs_passthrough_stored(passthrough, ino_of("large"), 1);
    cr_assert(is_kept());
    release(opening);
}

Test(passthrough, what_was_brought_before_the_first_open_is_kept_with_it)
{
    sfs_passthrough_stored(passthrough, ino_of("large"), SIZE);
    usleep(50000);
    cr_assert_eq(atomic_load(&stats.files_kept), 0);
    struct sfs_opening opening = open_named("large");
    cr_assert_eq(opening.backing_id, 0);
    cr_assert(is_kept());
    release(opening);
}

Test(passthrough, bytes_brought_of_small_files_and_directories_are_not_counted)
{
    sfs_passthrough_stored(passthrough, ino_of("small"), 5);
    sfs_passthrough_stored(passthrough, SFS_INO_ROOT, 5);
    sfs_passthrough_stored(passthrough, 1000, 5);
    cr_assert_eq(open_named("small").handle, 0);
}

Test(passthrough, small_files_are_not_watched)
{
    cr_assert_eq(open_named("small").handle, 0);
}

Test(passthrough, an_open_that_is_left_keeps_others_from_going_through)
{
    struct sfs_opening first = open_named("large");
    sfs_passthrough_read(passthrough, first.handle, SIZE);
    cr_assert(is_kept());
    struct sfs_opening second = open_named("large");
    cr_assert_eq(second.backing_id, 0);
    release(first);
    cr_assert_eq(open_named("large").backing_id, 0);
}

Test(passthrough, opens_share_one_backing_file_until_the_last_release)
{
    keep_large();
    struct sfs_opening first = open_named("large");
    char command[128]; /* what is open stays so, whoever clears the store */
    snprintf(command, sizeof command, "rm -rf %s/file", dir);
    cr_assert_eq(system(command), 0);
    struct sfs_opening second = open_named("large");
    cr_assert_eq(second.backing_id, first.backing_id);
    cr_assert_eq(live_ids, 1);
    release(first);
    cr_assert_eq(live_ids, 1);
    release(second);
    cr_assert_eq(live_ids, 0);
    cr_assert_eq(open_named("large").backing_id, 0);
}

Test(passthrough, opens_before_the_start_are_counted)
{
    keep_large();
    sfs_passthrough_close(&passthrough);
    struct sfs_passthrough_options options = {
        .forest = &forest, .store = store, .limit = SIZE, .backing = &pretended, .stats = &stats
    };
    cr_assert_eq(sfs_passthrough_open(&options, &passthrough, &err), 0);
    struct sfs_opening early = open_named("large");
    sfs_passthrough_start(passthrough);
    cr_assert_eq(open_named("large").backing_id, 0);
    release(early);
}

Test(passthrough, another_mount_finds_what_was_kept)
{
    keep_large();
    sfs_passthrough_close(&passthrough);
    open_mount(2 * SIZE);
    struct sfs_opening opening = open_named("large");
    cr_assert_gt(opening.backing_id, 0);
    release(opening);
}

Test(passthrough, many_opens_leave_nothing_open)
{
    keep_large();
    int before = count_fds();
    for (int i = 0; i < 10000; i++) {
        struct sfs_opening opening = open_named("large");
        cr_assert_gt(opening.backing_id, 0);
        release(opening);
    }
    cr_assert_eq(count_fds(), before);
    cr_assert_eq(live_ids, 0);
}

Test(passthrough, a_kept_file_of_another_size_is_replaced)
{
    keep_large();
    char path[256];
    snprintf(
        path, sizeof path,
        "%s/file/sha256-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.0123.bin",
        dir);
    cr_assert_eq(truncate(path, SIZE - 1), 0);
    atomic_store(&stats.files_kept, 0);
    cr_assert_eq(open_named("large").backing_id, 0);
    cr_assert_eq(open_named("large").backing_id, 0);
    cr_assert_eq(open_named("large").backing_id, 0);
    cr_assert(is_kept());
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_size, SIZE);
}

Test(passthrough, what_the_kernel_refuses_is_served_as_ever)
{
    keep_large();
    kernel_refuses = 1;
    cr_assert_eq(open_named("large").backing_id, 0);
    cr_assert_eq(open_named("large").backing_id, 0);
}

static void read_all_of(const char *name)
{
    for (int i = 0; i < 4; i++) {
        struct sfs_opening opening = open_named(name);
        sfs_passthrough_read(passthrough, opening.handle, SIZE);
        release(opening);
        usleep(30000);
    }
    cr_assert_eq(atomic_load(&stats.files_kept), 0);
    cr_assert_eq(atomic_load(&stats.opens_through), 0);
}

Test(passthrough, what_has_no_name_of_its_own_is_not_kept)
{
    read_all_of("nameless");
}

Test(passthrough, what_cannot_be_read_is_not_kept)
{
    read_all_of("damaged");
}

Test(passthrough, what_has_no_room_is_not_kept)
{
    sfs_passthrough_close(&passthrough);
    open_mount(SIZE - 1);
    read_all_of("large");
}
