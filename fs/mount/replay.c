/* In which order, and in which batches, what profiles name is fetched. */
#include "mount/replay.h"
#include "base/thread.h"

#include "base/io.h"
#include "blob/blob.h"
#include "blob/seek.h"
#include "blob/spans.h"
#include "mount/front_fill.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif

/* Bytes of one batch. Small batches keep to the order of use, large ones read the blobs in
 * order. */
#define BATCH (32u << 20)
/* The same where a pack has the bytes, which are in the order of use already. */
#define PACK_BATCH (2u << 20)
/* The same where what is brought comes over a network, which is slower than any order: readers wait
 * for what they use first. */
#define REMOTE_BATCH (4u << 20)
/* Fewer bytes than this between two ranges of a file are cheaper to bring along than to leave
 * out. */
#define GAP (64u << 10)
/* The same of a blob that is read over a network, where so many requests are under way that one
 * more costs little. */
#define FETCH_GAP (64u << 10)
/* So many bytes are fetched of a file of which the profile tells no bytes, but that it was read. */
#define GUESS (1u << 20)
/* From so many hundredths of all bytes on it is faster to bring the rest at once than to wait until
 * somebody asks for a part of it. */
#define EAGER_FROM 60u
#define MOST_BLOBS 128u /* that are fetched whole for that */
/* After so many names it is looked whether all this is still wanted. */
#define NAMES_A_LOOK 64u

struct replay_part {
    struct sfs_fill_part part;
    const void *blob;
    uint64_t position;
};

struct sfs_replay {
    const struct sfs_forest *forest;
    bool numbered; /* paths start with the number of a tree; else they are of the first one */
    struct sfs_profile profile;
    sfs_ino *inos;  /* of the profile's uses; 0: not in the forest, or known to be absent */
    bool *is_later; /* an earlier use is of the same file */
    size_t unknown, first_unknown;
    bool is_eager;   /* whatever else is in the blobs is fetched, too */
    bool has_remote; /* some of it lies on another machine */
    struct sfs_fill *ahead;
    const struct sfs_pack *pack; /* NULL: there is none */
    bool fills_front;            /* see sfs_replay_fill_front() */
    char path[4096];
    pthread_t thread;
    bool has_thread;
    atomic_bool stop;
    _Atomic pid_t number; /* the thread's */
    _Atomic dev_t device; /* of the mount, as the thread found it; 0: it has not yet */
};

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

static int compare_places(const void *left, const void *right)
{
    const struct replay_part *a = left, *b = right;
    uintptr_t x = (uintptr_t)a->blob, y = (uintptr_t)b->blob;
    if (x != y)
        return (x > y) - (x < y);
    return (a->position > b->position) - (a->position < b->position);
}

/* Gives the uses that were of bytes, and do not tell which, the first ones of their files: small
 * files whole, and of libraries what a loader reads first. */
static void guess_ranges(struct sfs_replay *replay, size_t index)
{
    struct sfs_use *use = &replay->profile.uses[index];
    struct sfs_place place;
    struct sfs_attr attr;
    if (!sfs_use_has_ranges(use->kind) || use->ranges.count > 0 || !replay->inos[index] ||
        !sfs_forest_locate(replay->forest, replay->inos[index], &place) || !place.tree)
        return;
    sfs_tree_attr(place.tree, place.node, &attr);
    if (S_ISREG(attr.mode) && attr.size > 0)
        (void)sfs_ranges_add(&use->ranges, 0, attr.size < GUESS ? attr.size : GUESS);
}

static uint64_t bytes_of(const struct sfs_use *use)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < use->ranges.count; i++)
        if (__builtin_add_overflow(bytes, use->ranges.items[i].size, &bytes))
            return UINT64_MAX;
    return bytes;
}

/* Adds the pieces that the pack has of a file. Returns how many. */
static size_t collect_pieces(const struct sfs_replay *replay, sfs_ino ino,
                             struct replay_part *parts)
{
    size_t count = sfs_pack_count(replay->pack, ino);
    for (size_t i = 0; i < count; i++) {
        parts[i] = (struct replay_part){ .part.ino = ino, .blob = replay->pack };
        parts[i].part.range = sfs_pack_piece(replay->pack, ino, i, &parts[i].position);
    }
    return count;
}

static size_t collect_parts(struct sfs_replay *replay, size_t first, size_t end,
                            struct replay_part *parts)
{
    size_t count = 0;
    for (size_t i = first; i < end; i++) {
        struct sfs_place place;
        struct sfs_use *use = &replay->profile.uses[i];
        if (!replay->inos[i] || !sfs_forest_locate(replay->forest, replay->inos[i], &place) ||
            !place.tree)
            continue;
        if (sfs_pack_count(replay->pack, replay->inos[i]) > 0) {
            /* It has all of a file in one place, and so all of it is brought at once. */
            if (!replay->is_later[i])
                count += collect_pieces(replay, replay->inos[i], parts + count);
            continue;
        }
        sfs_ranges_merge(&use->ranges, GAP);
        for (size_t j = 0; j < use->ranges.count; j++) {
            struct replay_part *part = &parts[count++];
            part->part = (struct sfs_fill_part){ replay->inos[i], use->ranges.items[j] };
            sfs_tree_locate(place.tree, place.node, part->part.range.offset, &part->blob,
                            &part->position);
        }
    }
    return count;
}

/* A range of a blob that lies on another machine, which grows while what follows is near. */
struct replay_fetch {
    struct sfs_blob *blob;
    uint64_t start, end;
    bool is_plan; /* it is only told that it will be fetched */
};

static void send_fetch(struct replay_fetch *fetch)
{
    if (fetch->blob && fetch->is_plan)
        sfs_blob_plan(fetch->blob, fetch->start, fetch->end - fetch->start);
    else if (fetch->blob)
        sfs_blob_fetch(fetch->blob, fetch->start, fetch->end - fetch->start, SFS_POOL_AHEAD);
    fetch->blob = NULL;
}

/* Joins what is near, and sends what was joined where it is not. */
static void add_bytes(struct replay_fetch *fetch, struct sfs_blob *blob, uint64_t start,
                      uint64_t end)
{
    bool is_near = fetch->blob == blob && start >= fetch->start && start <= fetch->end + FETCH_GAP;
    if (!is_near) {
        send_fetch(fetch);
        *fetch = (struct replay_fetch){ blob, start, end, fetch->is_plan };
    }
    fetch->end = end > fetch->end ? end : fetch->end;
}

/* The windows of an index that came from elsewhere may be elsewhere, too. They are small, and lie
 * in the order of their spans. */
static void add_windows(struct replay_fetch *fetch, struct sfs_spans *spans, uint32_t first,
                        uint32_t last)
{
    const struct sfs_seek_table *table = sfs_spans_table(spans);
    for (uint32_t i = first; table->windows_blob && i <= last; i++)
        if (table->points[i].window_size > 0)
            add_bytes(fetch, table->windows_blob, table->points[i].window,
                      table->points[i].window + table->points[i].window_size);
}

static void add_input(struct replay_fetch *fetch, struct sfs_spans *spans, uint32_t first,
                      uint32_t last)
{
    const struct sfs_seek_table *table = sfs_spans_table(spans);
    uint64_t start, end, unused;
    sfs_spans_plan(spans);
    sfs_seek_input(table, first, &start, &unused);
    sfs_seek_input(table, last, &unused, &end);
    add_bytes(fetch, sfs_spans_blob(spans), start, end);
}

/* What is done with the spans of parts. */
struct replay_step {
    void (*add)(struct replay_fetch *fetch, struct sfs_spans *spans, uint32_t first, uint32_t last);
    bool is_plan;
};
static const struct replay_step plan_input = { add_input, true };
static const struct replay_step fetch_input = { add_input, false };
static const struct replay_step fetch_windows = { add_windows, false };

/* Takes a step with the spans of each part, in the parts' order, joining them. */
static void walk_parts(const struct sfs_replay *replay, const struct replay_part *parts,
                       size_t count, const struct replay_step *step)
{
    struct replay_fetch fetch = { .is_plan = step->is_plan };
    for (size_t i = 0; i < count; i++) {
        struct sfs_place place;
        struct sfs_range range = parts[i].part.range;
        if (parts[i].blob == replay->pack ||
            !sfs_forest_locate(replay->forest, parts[i].part.ino, &place) || !place.tree)
            continue;
        while (range.size > 0) {
            uint64_t position, size;
            struct sfs_spans *spans =
                sfs_tree_find_spans(place.tree, place.node, range.offset, &position, &size);
            if (!spans || size == 0)
                break;
            size = size < range.size ? size : range.size;
            const struct sfs_seek_table *table = sfs_spans_table(spans);
            step->add(&fetch, spans, sfs_seek_find(table, position),
                      sfs_seek_find(table, position + size - 1));
            range = (struct sfs_range){ range.offset + size, range.size - size };
        }
    }
    send_fetch(&fetch);
}

/* The blob that the first bytes of a use lie in, if it is on another machine; else NULL. */
static struct sfs_blob *find_remote(const struct sfs_replay *replay, size_t index)
{
    const struct sfs_use *use = &replay->profile.uses[index];
    struct sfs_place place;
    uint64_t position, size;
    if (!replay->inos[index] || use->ranges.count == 0 ||
        !sfs_forest_locate(replay->forest, replay->inos[index], &place) || !place.tree)
        return NULL;
    struct sfs_spans *spans =
        sfs_tree_find_spans(place.tree, place.node, use->ranges.items[0].offset, &position, &size);
    struct sfs_blob *blob = spans ? sfs_spans_blob(spans) : NULL;
    return blob && sfs_blob_is_remote(blob) ? blob : NULL;
}

unsigned sfs_replay_is_eager(struct sfs_replay *replay)
{
    struct sfs_forest_sums sums;
    double named = 0;
    for (size_t i = 0; i < replay->profile.count; i++) {
        guess_ranges(replay, i);
        named += (double)bytes_of(&replay->profile.uses[i]);
        replay->has_remote = replay->has_remote || find_remote(replay, i);
    }
    if (!replay->has_remote)
        return 0;
    sfs_forest_sum(replay->forest, &sums);
    double hundredths = sums.blocks > 0 ? 100 * named / (512.0 * (double)sums.blocks) : 0;
    replay->is_eager = hundredths >= EAGER_FROM;
    return !replay->is_eager ? 0 : hundredths < 100 ? (unsigned)hundredths : 100;
}

/* Has all that the blobs hold besides fetched, behind everything else; each blob once. */
static void fetch_rest(const struct sfs_replay *replay)
{
    const struct sfs_blob *done[MOST_BLOBS];
    size_t count = 0;
    for (size_t i = 0; i < replay->profile.count && count < MOST_BLOBS; i++) {
        struct sfs_blob *blob = find_remote(replay, i);
        bool is_new = blob != NULL;
        for (size_t k = 0; k < count; k++)
            is_new = is_new && done[k] != blob;
        if (!is_new)
            continue;
        done[count++] = blob;
        sfs_blob_fetch(blob, 0, blob->size, SFS_POOL_BACKGROUND);
    }
}

/* The parts of some uses, in the order of their blobs; the caller frees them. NULL: none, or no
 * memory, and then they are read when they are needed. */
static struct replay_part *sort_parts(struct sfs_replay *replay, size_t first, size_t end,
                                      size_t *ret_count)
{
    size_t most = 0;
    for (size_t i = first; i < end; i++)
        most +=
            replay->profile.uses[i].ranges.count + sfs_pack_count(replay->pack, replay->inos[i]);
    struct replay_part *sorted = most > 0 ? calloc(most, sizeof *sorted) : NULL;
    if (!sorted)
        return NULL;
    *ret_count = collect_parts(replay, first, end, sorted);
    qsort(sorted, *ret_count, sizeof *sorted, compare_places);
    return sorted;
}

static void step_batch(struct sfs_replay *replay, size_t first, size_t end,
                       const struct replay_step *step)
{
    size_t count;
    AUTO(sfs_free) struct replay_part *sorted = sort_parts(replay, first, end, &count);
    if (sorted)
        walk_parts(replay, sorted, count, step);
}

static void fill_batch(struct sfs_replay *replay, size_t first, size_t end)
{
    size_t count;
    AUTO(sfs_free) struct replay_part *sorted = sort_parts(replay, first, end, &count);
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

/* How many bytes are fetched at most: they should still be in memory when they are used. */
static uint64_t most_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGE_SIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size / 2 : BATCH;
}

/* Where the batch ends that begins with that use. Takes its bytes from *left; where those are
 * spent, it is the last one. */
static size_t end_batch(const struct sfs_replay *replay, size_t first, uint64_t batch,
                        uint64_t *left)
{
    uint64_t bytes = 0;
    size_t end = first;
    while (end < replay->profile.count && bytes < batch) {
        uint64_t more = bytes_of(&replay->profile.uses[end++]);
        bytes = more < UINT64_MAX - bytes ? bytes + more : UINT64_MAX;
    }
    *left -= bytes < *left ? bytes : *left;
    return end;
}

bool sfs_replay_is_remote(const struct sfs_replay *replay)
{
    return replay->has_remote;
}

static uint64_t batch_of(const struct sfs_replay *replay)
{
    return replay->pack ? PACK_BATCH : replay->has_remote ? REMOTE_BATCH : BATCH;
}

/* All at once: what is decoded of it has to fit into memory, and comes little by little. Nothing is
 * decoded without its windows; they are small, so those of many batches come together. */
void sfs_replay_fetch(struct sfs_replay *replay)
{
    uint64_t most = replay->has_remote ? most_bytes() : 0, left = most, unused = most;
    step_batch(replay, 0, end_batch(replay, 0, most, &unused), &plan_input);
    for (size_t first = 0, last, end; first < replay->profile.count && left > 0; first = last) {
        unused = left;
        last = end_batch(replay, first, BATCH, &unused);
        step_batch(replay, first, last, &fetch_windows);
        for (; first < last && left > 0; first = end) {
            end = end_batch(replay, first, REMOTE_BATCH, &left);
            end = end < last ? end : last;
            step_batch(replay, first, end, &fetch_input);
        }
    }
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
    uint64_t left = most_bytes();
    for (size_t first = 0, end; first < replay->profile.count && left > 0; first = end) {
        end = end_batch(replay, first, batch_of(replay), &left);
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
        fetch_rest(replay);
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
