/* Real mounts for tests: trees in memory, served by a child process that unmounts when the test
 * process ends, however it ends. */
#ifndef STAGEFS_TESTS_MOUNT_SUPPORT_H
#define STAGEFS_TESTS_MOUNT_SUPPORT_H

#include "base/banned.h"
#include "layer/layer.h"
#include "tree/tree_inner.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stagefs/mount.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* --- trees ------------------------------------------------------------------------------------ */

/* Bytes of a file in memory; its inode's `source` is its position. */
struct mount_content {
    const char *data; /* NULL: reading fails */
    size_t size;
    size_t step; /* bytes lent at a time; 0: all that are asked for */
};
#define MOUNT_MAX_CONTENTS 64
static struct mount_content mount_contents[MOUNT_MAX_CONTENTS];
static unsigned mount_content_count;
static size_t mount_stall; /* who asks for so few bytes or fewer waits for ever */

static int mount_pin(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, size_t size,
                     struct sfs_slice *ret_slice, struct sfs_error *err)
{
    const struct mount_content *content = &mount_contents[layer->tables.inodes[inode].source];
    while (size <= mount_stall)
        pause();
    if (!content->data)
        return sfs_fail(err, EIO, "%s: bytes are damaged", layer->label);
    if (content->step && size > content->step)
        size = content->step;
    *ret_slice = (struct sfs_slice){ .data = content->data + offset, .size = size };
    return 0;
}

static void mount_close(struct sfs_layer *layer)
{
    (void)layer;
}

static const struct sfs_layer_ops mount_layer_ops = { .pin = mount_pin, .close = mount_close };

static inline struct sfs_builder *mount_builder(void)
{
    struct sfs_builder *builder = sfs_builder_open();
    cr_assert_not_null(builder);
    return builder;
}

static inline void mount_add(struct sfs_builder *builder, const char *path,
                             const struct sfs_builder_item *item)
{
    struct sfs_error err;
    cr_assert_eq(sfs_builder_add(builder, path, item, &err), 0, "%s", err.text);
}

static inline void mount_add_mode(struct sfs_builder *builder, const char *path, uint32_t mode)
{
    mount_add(builder, path, &(struct sfs_builder_item){ .inode.mode = mode });
}

static inline void mount_add_content(struct sfs_builder *builder, const char *path, uint32_t mode,
                                     struct mount_content content)
{
    cr_assert_lt(mount_content_count, MOUNT_MAX_CONTENTS);
    mount_contents[mount_content_count] = content;
    struct sfs_extent extent = { .size = content.size };
    mount_add(builder, path,
              &(struct sfs_builder_item){
                  .inode = { .mode = S_IFREG | mode,
                             .size = content.size,
                             .source = mount_content_count++ },
                  .extents = &extent,
                  .extent_count = content.size > 0,
              });
}

/* A file that holds `text`, which must live as long as the mount. */
static inline void mount_add_text(struct sfs_builder *builder, const char *path, const char *text)
{
    mount_add_content(builder, path, 0644,
                      (struct mount_content){ .data = text, .size = strlen(text) });
}

/* What mount_fini() frees: layers and trees live as long as the test. */
static struct sfs_tree *mount_made_trees[8];
static struct sfs_layer *mount_made_layers[8];
static char *mount_made_bytes[8];

#define MOUNT_KEEP(array, thing)                                                                   \
    do {                                                                                           \
        unsigned mount_i = 0;                                                                      \
        while (mount_i < 8 && array[mount_i])                                                      \
            mount_i++;                                                                             \
        cr_assert_lt(mount_i, 8);                                                                  \
        array[mount_i] = thing;                                                                    \
    } while (0)

/* `size` bytes that differ from place to place. */
static inline char *mount_pattern(size_t size)
{
    char *data = malloc(size);
    cr_assert_not_null(data);
    MOUNT_KEEP(mount_made_bytes, data);
    uint32_t state = 12345;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        data[i] = (char)(state >> 24);
    }
    return data;
}

static inline struct sfs_layer *mount_layer(struct sfs_builder *builder, const char *label)
{
    struct sfs_error err;
    struct sfs_layer *layer = NULL;
    cr_assert_eq(sfs_layer_open_built(builder, label, &layer, &err), 0, "%s", err.text);
    layer->ops = &mount_layer_ops;
    sfs_builder_close(&builder);
    MOUNT_KEEP(mount_made_layers, layer);
    return layer;
}

static inline struct sfs_tree *mount_tree_of(struct sfs_layer *const *layers, size_t count)
{
    struct sfs_error err;
    struct sfs_tree *tree = NULL;
    cr_assert_eq(sfs_tree_merge(layers, count, &tree, &err), 0, "%s", err.text);
    MOUNT_KEEP(mount_made_trees, tree);
    return tree;
}

static inline struct sfs_tree *mount_tree(struct sfs_builder *builder)
{
    struct sfs_layer *layer = mount_layer(builder, "layer 0");
    return mount_tree_of(&layer, 1);
}

/* A root with the one file "file". */
static inline struct sfs_tree *mount_small_tree(void)
{
    struct sfs_builder *builder = mount_builder();
    mount_add_text(builder, "file", "hello");
    return mount_tree(builder);
}

/* --- mounts ----------------------------------------------------------------------------------- */

struct mount {
    char dir[64]; /* the mountpoint */
    pid_t pid;    /* of the server; 0: none */
    int words;    /* what the server tells: "+" when ready, then each warning in a line */
};
static struct mount mount_now; /* the one that the test's fini takes away */

static inline bool mount_possible(void)
{
    if (access("/dev/fuse", R_OK | W_OK) < 0)
        return false;
    if (geteuid() != 0)
        return access("/usr/bin/fusermount3", X_OK) == 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(unshare(CLONE_NEWNS) < 0);
    int status;
    return waitpid(pid, &status, 0) == pid && status == 0;
}

/* For .init: a directory to mount on, or the test is skipped. */
static inline void mount_init(void)
{
    if (!mount_possible())
        cr_skip_test("mounting with FUSE is not possible here");
    snprintf(mount_now.dir, sizeof mount_now.dir, "/tmp/stagefs-mount-XXXXXX");
    cr_assert_not_null(mkdtemp(mount_now.dir));
    mount_now.words = -1;
    /* A shell has what it starts in the background ignore SIGINT, and the server honours that. */
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

/* For .fini: nothing stays behind, whatever the test did. */
static inline void mount_fini(void)
{
    if (mount_now.pid > 0) {
        kill(mount_now.pid, SIGKILL);
        waitpid(mount_now.pid, NULL, 0);
        mount_now.pid = 0;
    }
    while (umount2(mount_now.dir, MNT_DETACH) == 0)
        continue;
    rmdir(mount_now.dir);
    for (int i = 0; i < 8; i++) {
        sfs_tree_close(&mount_made_trees[i]);
        sfs_layer_close(&mount_made_layers[i]);
        sfs_free(&mount_made_bytes[i]);
    }
}

/* Criterion runs no .fini for a test that skips itself. */
#define MOUNT_SKIP(why)                                                                            \
    do {                                                                                           \
        mount_fini();                                                                              \
        cr_skip_test(why);                                                                         \
    } while (0)

static inline void mount_say(void *user, const char *text)
{
    dprintf(*(int *)user, "%s\n", text);
}

static inline void mount_say_ready(void *user)
{
    mount_say(user, "+");
}

struct mount_trees {
    const struct sfs_tree *const *trees;
    size_t count; /* 0: one tree, not numbered */
};

/* The child: status 0 when it ended well, else 1 with its words on the line. */
static inline _Noreturn void mount_serve(const struct mount_trees *trees,
                                         struct sfs_mount_options *options, int words)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    options->user = &words;
    options->warn = mount_say;
    options->ready = mount_say_ready;
    struct sfs_error err;
    int r = trees->count == 0 ? sfs_mount_serve(trees->trees[0], options, &err)
                              : sfs_mount_serve_layers(trees->trees, trees->count, options, &err);
    if (r < 0)
        dprintf(words, "-%s\n", err.text);
    _exit(r < 0 ? -r : 0);
}

static inline void mount_start(const struct mount_trees *trees, struct sfs_mount_options options)
{
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    if (!options.mountpoint)
        options.mountpoint = mount_now.dir;
    fflush(NULL);
    mount_now.pid = fork();
    if (mount_now.pid == 0) {
        close(fds[0]);
        mount_serve(trees, &options, fds[1]);
    }
    close(fds[1]);
    mount_now.words = fds[0];
}

/* The next line that the server says, without its end; "" when it is gone. */
static inline const char *mount_hear(void)
{
    static char line[4096];
    size_t size = 0;
    while (size + 1 < sizeof line && read(mount_now.words, line + size, 1) == 1 &&
           line[size] != '\n')
        size++;
    line[size] = 0;
    return line;
}

/* Mounts and waits until it answers. */
static inline void mount_up(const struct sfs_tree *tree, struct sfs_mount_options options)
{
    mount_start(&(struct mount_trees){ .trees = &tree }, options);
    const char *heard = mount_hear();
    cr_assert_str_eq(heard, "+");
}

/* The server's exit status, when it ends by itself. */
static inline int mount_wait(void)
{
    int status;
    cr_assert_eq(waitpid(mount_now.pid, &status, 0), mount_now.pid);
    mount_now.pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static inline int mount_end_by(int number)
{
    cr_assert_eq(kill(mount_now.pid, number), 0);
    return mount_wait();
}

/* "DIR/name", in one of a few buffers taken in turn. */
static inline const char *mount_path(const char *name)
{
    static char paths[4][1024];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", mount_now.dir, name);
    return path;
}

static inline bool mount_is_up(void)
{
    struct stat here, above;
    if (stat(mount_now.dir, &here) < 0)
        return true; /* dead, but there */
    cr_assert_eq(stat("/tmp", &above), 0);
    return here.st_dev != above.st_dev;
}

/* The count of one kind of request, from the mount's own statistics. */
static inline unsigned long mount_count(const char *kind)
{
    AUTO(sfs_free) char *json = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_mount_stats(mount_now.dir, &json, &err), 0, "%s", err.text);
    char key[64];
    snprintf(key, sizeof key, "\"%s\":{\"count\":", kind);
    const char *at = strstr(json, key);
    cr_assert_not_null(at, "%s", json);
    return strtoul(at + strlen(key), NULL, 10);
}

#endif
