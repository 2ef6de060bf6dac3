/* What profiles name is brought: names first, then bytes, batch by batch. */
#include "mount/replay_parts.h"

#include "base/io.h"
#include "base/thread.h"
#include "mount/front_fill.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif

/* Bytes of one batch where a pack has them, which are in the order of use already. */
#define PACK_BATCH (2u << 20)
/* After so many names it is looked whether all this is still wanted. */
#define NAMES_A_LOOK 64u

/* --- opening ---------------------------------------------------------------------------------- */

static const struct sfs_tree *take_number(const struct sfs_forest *forest, const char **path,
                                          size_t *ret_index)
{
    size_t size = strcspn(++*path, "/");
    for (size_t i = 0; i < forest->count; i++)
        if (strlen(forest->names[i]) == size && memcmp(forest->names[i], *path, size) == 0) {
            *path += size;
            *ret_index = i;
            return forest->trees[i];
        }
    return NULL;
}

/* The inode that a use is of; 0: none. */
static sfs_ino find_path(const struct sfs_replay *replay, const struct sfs_use *use)
{
    const struct sfs_forest *forest = replay->forest;
    const char *path = use->path;
    size_t index = 0;
    sfs_node node;
    if (replay->numbered && strcmp(path, "/") == 0)
        return SFS_INO_ROOT;
    const struct sfs_tree *tree =
        replay->numbered ? take_number(forest, &path, &index) : forest->trees[0];
    unsigned flags = SFS_RESOLVE_UNCONFIRMED | (use->kind == SFS_USE_LINK ? 0 : SFS_RESOLVE_FOLLOW);
    if (!tree || sfs_tree_resolve(tree, path, flags, &node, NULL) < 0)
        return 0;
    return forest->first[index] + node;
}

static void find_paths(struct sfs_replay *replay)
{
    for (size_t i = 0; i < replay->profile.count; i++) {
        const struct sfs_use *use = &replay->profile.uses[i];
        replay->inos[i] = find_path(replay, use);
        if (replay->inos[i] || use->kind == SFS_USE_NONE)
            continue;
        if (replay->unknown++ == 0)
            replay->first_unknown = i;
    }
}

/* What a file is used for later stands in a later use of it. */
static int mark_later(struct sfs_replay *replay)
{
    AUTO(sfs_free)
    bool *seen = calloc(replay->forest->first[replay->forest->count] + 1, sizeof *seen);
    replay->is_later = calloc(replay->profile.count + 1, sizeof *replay->is_later);
    if (!seen || !replay->is_later)
        return -ENOMEM;
    for (size_t i = 0; i < replay->profile.count; i++) {
        replay->is_later[i] = seen[replay->inos[i]];
        seen[replay->inos[i]] = replay->inos[i] != 0;
    }
    return 0;
}

int sfs_replay_open_known(const struct sfs_forest *forest, bool first_tree,
                          struct sfs_profile *profile, struct sfs_replay **ret_replay,
                          struct sfs_error *err)
{
    AUTO(sfs_replay_close) struct sfs_replay *replay = calloc(1, sizeof *replay);
    if (!replay)
        return sfs_fail_memory(err);
    replay->forest = forest;
    replay->numbered = forest->numbered && !first_tree;
    replay->profile = *profile;
    *profile = (struct sfs_profile){ 0 };
    replay->inos = calloc(replay->profile.count + 1, sizeof *replay->inos);
    if (!replay->inos)
        return sfs_fail_memory(err);
    find_paths(replay);
    if (mark_later(replay) < 0)
        return sfs_fail_memory(err);
    *ret_replay = TAKE(replay);
    return 0;
}

int sfs_replay_open(const struct sfs_forest *forest, bool first_tree, const char *const *profiles,
                    size_t count, struct sfs_replay **ret_replay, struct sfs_error *err)
{
    AUTO(sfs_profile_done) struct sfs_profile profile = { 0 };
    for (size_t i = 0; i < count; i++) {
        int r = sfs_profile_read(&profile, profiles[i], err);
        if (r < 0)
            return r;
    }
    return sfs_replay_open_known(forest, first_tree, &profile, ret_replay, err);
}

void sfs_replay_use_pack(struct sfs_replay *replay, const struct sfs_pack *pack)
{
    replay->pack = pack;
}

void sfs_replay_fill_front(struct sfs_replay *replay)
{
    replay->fills_front = true;
}

size_t sfs_replay_unknown(const struct sfs_replay *replay, const char **ret_path)
{
    if (replay->unknown > 0)
        *ret_path = replay->profile.uses[replay->first_unknown].path;
    return replay->unknown;
}

/* --- names ------------------------------------------------------------------------------------ */

/* Opens the mount's root. As root, by a mount of its own, so that nobody is hindered from
 * unmounting the other. */
static int open_root(const char *path)
{
    int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    return fd >= 0 ? fd : open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool is_mounted(const char *path, dev_t device)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_dev == device;
}

static void list_names(int dir)
{
    char names[8 << 10];
    while (syscall(SYS_getdents64, dir, names, sizeof names) > 0)
        continue;
}

/* Looks a path up through the mount: the kernel walks as the program will, and keeps what it is
 * told. Symlinks do not lead out of the mount. */
static void look_up(int root, const struct sfs_use *use)
{
    bool is_list = use->kind == SFS_USE_LIST;
    struct open_how how = {
        .flags = (is_list ? O_RDONLY | O_DIRECTORY : O_PATH) | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };
    AUTO(sfs_close_fd) int fd = (int)syscall(SYS_openat2, root, use->path, &how, sizeof how);
    char target[4096];
    if (fd >= 0 && is_list)
        list_names(fd);
    else if (fd >= 0 && use->kind == SFS_USE_LINK && readlinkat(fd, "", target, sizeof target) < 0)
        return;
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void fill_batch(struct sfs_replay *replay, size_t first, size_t end)
{
    size_t count;
    AUTO(sfs_free)
    struct sfs_replay_part *sorted = sfs_replay_sort_parts(replay, first, end, &count);
    AUTO(sfs_free)
    struct sfs_fill_part *parts = sorted ? calloc(count + 1, sizeof *parts) : NULL;
    if (!parts)
        return;
    for (size_t i = 0; i < count; i++)
        parts[i] = sorted[i].part;
    sfs_fill_submit(replay->ahead, &parts, count);
}

/* --- the front -------------------------------------------------------------------------------- */

/* False: the front was unmounted, and only the clone that `root` is of keeps the session. */
static bool fill_front(const struct sfs_replay *replay, int root, dev_t device, size_t first,
                       size_t end)
{
    const struct sfs_front_fill fill = { root, replay->ahead, &replay->stop };
    for (size_t i = first; i < end; i++) {
        if (atomic_load(&replay->stop) || !is_mounted(replay->path, device))
            return false;
        if (replay->inos[i])
            sfs_front_fill_file(&fill, replay->inos[i], &replay->profile.uses[i]);
    }
    return true;
}

static uint64_t batch_of(const struct sfs_replay *replay)
{
    return replay->pack         ? PACK_BATCH
           : replay->has_remote ? SFS_REPLAY_REMOTE_BATCH
                                : SFS_REPLAY_BATCH;
}

/* May looking it up have to wait for another machine? A link's target may be read there first
 * (sfs_tree_confirm()), and nothing that is to be fetched shall wait for that. */
static bool is_slow(const struct sfs_replay *replay, size_t index)
{
    return replay->has_remote && replay->profile.uses[index].kind == SFS_USE_LINK;
}

static void *walk(void *arg)
{
    struct sfs_replay *replay = arg;
    atomic_store(&replay->number, (pid_t)syscall(SYS_gettid));
    sfs_io_own_files();
    AUTO(sfs_close_fd) int root = open_root(replay->path);
    struct stat st;
    if (root < 0 || fstat(root, &st) < 0)
        return NULL;
    atomic_store(&replay->device, st.st_dev);
    uint64_t left = sfs_replay_most_bytes();
    for (size_t first = 0, end; first < replay->profile.count && left > 0; first = end) {
        end = sfs_replay_end_batch(replay, first, batch_of(replay), &left);
        for (size_t i = first; i < end; i++) {
            if (atomic_load(&replay->stop) ||
                (i % NAMES_A_LOOK == 0 && !is_mounted(replay->path, st.st_dev)))
                return NULL;
            if (!is_slow(replay, i))
                look_up(root, &replay->profile.uses[i]);
        }
        if (!replay->fills_front)
            fill_batch(replay, first, end);
        else if (!fill_front(replay, root, st.st_dev, first, end))
            return NULL;
    }
    if (replay->is_eager)
        sfs_replay_fetch_rest(replay);
    for (size_t i = 0; i < replay->profile.count && !atomic_load(&replay->stop); i++) {
        if (i % NAMES_A_LOOK == 0 && !is_mounted(replay->path, st.st_dev))
            return NULL;
        if (is_slow(replay, i))
            look_up(root, &replay->profile.uses[i]);
    }
    return NULL;
}

int sfs_replay_start(struct sfs_replay *replay, struct sfs_fill *ahead, const char *path,
                     struct sfs_error *err)
{
    replay->ahead = ahead;
    if (replay->forest->numbered && !replay->numbered)
        snprintf(replay->path, sizeof replay->path, "%s/0", path);
    else
        snprintf(replay->path, sizeof replay->path, "%s", path);
    int r = sfs_thread_start(&replay->thread, walk, replay, "fetches ahead", err);
    replay->has_thread = r == 0;
    return r;
}

/* --- looking ---------------------------------------------------------------------------------- */

struct replay_look {
    const struct sfs_replay *replay;
    struct sfs_front_look look;
    bool is_known;
};

static void *look_at_all(void *arg)
{
    struct replay_look *looking = arg;
    const struct sfs_replay *replay = looking->replay;
    sfs_io_own_files();
    AUTO(sfs_close_fd) int root = open_root(replay->path);
    struct stat st;
    looking->look.root = root;
    /* What was mounted there may be gone by now, or have something else above it. */
    looking->is_known =
        root >= 0 && fstat(root, &st) == 0 && st.st_dev == atomic_load(&replay->device);
    for (size_t i = 0; looking->is_known && i < replay->profile.count; i++)
        if (replay->inos[i] && !atomic_load(&replay->stop))
            looking->is_known =
                sfs_front_look_at(&looking->look, replay->inos[i], &replay->profile.uses[i]);
    return NULL;
}

bool sfs_replay_look(const struct sfs_replay *replay,
                     bool (*is_left)(void *user, sfs_ino ino, struct sfs_range range),
                     void (*seen)(void *user, sfs_ino ino, struct sfs_range range), void *user)
{
    struct replay_look looking = { .replay = replay, .look = { -1, is_left, seen, user } };
    pthread_t thread;
    if (sfs_thread_start(&thread, look_at_all, &looking, "looks at a front", NULL) < 0)
        return false;
    pthread_join(thread, NULL);
    return looking.is_known && !atomic_load(&replay->stop);
}

bool sfs_replay_is_thread(const struct sfs_replay *replay, pid_t asker)
{
    return atomic_load(&replay->number) == asker;
}

void sfs_replay_stop(struct sfs_replay *replay)
{
    atomic_store(&replay->stop, true);
}

void sfs_replay_close(struct sfs_replay **replay_ptr)
{
    struct sfs_replay *replay = *replay_ptr;
    if (!replay)
        return;
    *replay_ptr = NULL;
    sfs_replay_stop(replay);
    if (replay->has_thread)
        pthread_join(replay->thread, NULL);
    sfs_profile_done(&replay->profile);
    free(replay->inos);
    free(replay->is_later);
    free(replay);
}
