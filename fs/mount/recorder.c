/* How uses become paths and ranges: which name an inode goes by, and what is joined. */
#include "mount/recorder.h"
#include "base/array.h"
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* The paths of all uses may take so much memory: a program may look for endless names. */
#define MAX_PATHS (48u << 20) /* bytes */
/* The ranges of a file are joined when there are so many. */
#define MANY_RANGES 4096u

/* After so many bytes that were read a file gets a line of its own for what it is used for from
 * then on: of one that is used all through a start, that is what a network has to bring first, and
 * what it has to bring last. */
#define EPOCH (4u << 20)
/* At most so many such lines; what is used later is then told of with the last ones. */
#define MOST_LATER 65536u

struct used {
    struct sfs_use use;     /* its path is owned; its ranges are those of the first time */
    struct sfs_ranges told; /* what lines tell of it so far */
    unsigned epoch;         /* in which `latest` began */
    size_t latest;          /* 1 + the index of its last line among `later`; 0: there is only one */
    char *who;              /* who looked for it in vain; owned; NULL: not known */
    sfs_ino ino;
    UT_hash_handle by_path;
    UT_hash_handle by_ino; /* only of the name of the inode that was looked up last */
};

/* What was used of a file that had been used before. */
struct later {
    struct used *used;
    size_t behind; /* so many paths stand before it */
    struct sfs_ranges ranges;
};

struct sfs_recorder {
    pthread_mutex_t lock;
    struct used *paths, *inodes; /* uthash; paths stand in the order in which they came */
    struct used root;
    size_t path_bytes, left_out;
    struct later *later; /* in the order of use */
    size_t later_count, later_capacity;
    uint64_t bytes; /* that were read */
    bool has_root;  /* the root was used */
    bool with_pages;
};

int sfs_recorder_open(sfs_ino root_ino, bool with_pages, struct sfs_recorder **ret_recorder,
                      struct sfs_error *err)
{
    AUTO(sfs_free) struct sfs_recorder *recorder = calloc(1, sizeof *recorder);
    if (!recorder)
        return sfs_fail_memory(err);
    recorder->with_pages = with_pages;
    struct used *root = &recorder->root;
    root->use.path = strdup("");
    root->ino = root_ino;
    if (root->use.path)
        HASH_ADD(by_ino, recorder->inodes, ino, sizeof root->ino, root);
    if (!recorder->inodes) {
        free(root->use.path);
        return sfs_fail_memory(err);
    }
    pthread_mutex_init(&recorder->lock, NULL);
    *ret_recorder = TAKE(recorder);
    return 0;
}

void sfs_recorder_close(struct sfs_recorder **recorder_ptr)
{
    struct sfs_recorder *recorder = *recorder_ptr;
    if (!recorder)
        return;
    *recorder_ptr = NULL;
    struct used *used = recorder->paths;
    HASH_CLEAR(by_ino, recorder->inodes);
    HASH_CLEAR(by_path, recorder->paths);
    while (used) {
        struct used *next = used->by_path.next;
        free(used->use.path);
        free(used->who);
        sfs_ranges_done(&used->use.ranges);
        sfs_ranges_done(&used->told);
        free(used);
        used = next;
    }
    for (size_t i = 0; i < recorder->later_count; i++)
        sfs_ranges_done(&recorder->later[i].ranges);
    free(recorder->later);
    free(recorder->root.use.path);
    pthread_mutex_destroy(&recorder->lock);
    free(recorder);
}

static struct used *find_inode(struct sfs_recorder *recorder, sfs_ino ino)
{
    struct used *used;
    HASH_FIND(by_ino, recorder->inodes, &ino, sizeof ino, used);
    return used;
}

/* Adds a path, which it takes over. NULL: no memory, or too many paths. */
static struct used *add_path(struct sfs_recorder *recorder, char *path, size_t size, sfs_ino ino)
{
    struct used *used = NULL;
    if (recorder->path_bytes + size <= MAX_PATHS)
        used = calloc(1, sizeof *used);
    if (used) {
        used->use.path = path;
        used->ino = ino;
        HASH_ADD_KEYPTR(by_path, recorder->paths, used->use.path, size, used);
    }
    if (!used || !used->by_path.tbl) {
        recorder->left_out++;
        free(used);
        free(path);
        return NULL;
    }
    recorder->path_bytes += size;
    return used;
}

/* Makes this the name that the inode goes by: of several names, the one that was looked up last. */
static void name_inode(struct sfs_recorder *recorder, struct used *used)
{
    struct used *before = find_inode(recorder, used->ino);
    if (before == used || before == &recorder->root)
        return;
    if (before)
        HASH_DELETE(by_ino, recorder->inodes, before);
    HASH_ADD(by_ino, recorder->inodes, ino, sizeof used->ino, used);
}

void sfs_recorder_lookup(struct sfs_recorder *recorder, sfs_ino dir, const char *name, sfs_ino ino,
                         const char *who)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return;
    LOCK(&recorder->lock);
    const struct used *parent = find_inode(recorder, dir);
    char *path = parent ? sfs_format("%s/%s", parent->use.path, name) : NULL;
    if (path) {
        struct used *used;
        size_t size = strlen(path);
        HASH_FIND(by_path, recorder->paths, path, size, used);
        if (used)
            free(path);
        else
            used = add_path(recorder, path, size, ino);
        if (used && ino && used->use.kind < SFS_USE_STAT)
            used->use.kind = SFS_USE_STAT;
        if (used && ino)
            name_inode(recorder, used);
        if (used && !ino && who && !used->who)
            used->who = strdup(who); /* without memory for it, nobody is named */
    }
}

void sfs_recorder_missing(struct sfs_recorder *recorder,
                          void (*missing)(void *user, const char *path, const char *who),
                          void *user)
{
    LOCK(&recorder->lock);
    for (struct used *used = recorder->paths; used; used = used->by_path.next)
        if (used->use.kind == SFS_USE_NONE)
            missing(user, used->use.path, used->who ? used->who : "");
}

/* Notes a use. The lock is held. NULL: nothing was noted. */
static struct used *note(struct sfs_recorder *recorder, sfs_ino ino, enum sfs_use_kind kind)
{
    struct used *used = find_inode(recorder, ino);
    if (used && used->use.kind < kind)
        used->use.kind = kind;
    return used;
}

void sfs_recorder_use(struct sfs_recorder *recorder, sfs_ino ino, enum sfs_use_kind kind)
{
    LOCK(&recorder->lock);
    if (note(recorder, ino, kind) == &recorder->root)
        recorder->has_root = true;
}

/* Where the ranges go that are used of a file now. */
static struct sfs_ranges *choose_ranges(struct sfs_recorder *recorder, struct used *used)
{
    unsigned epoch = (unsigned)(recorder->bytes / EPOCH);
    bool is_first = used->use.ranges.count == 0;
    if (!is_first && epoch != used->epoch && recorder->later_count < MOST_LATER &&
        SFS_ARRAY_GROW(recorder->later, recorder->later_count, recorder->later_capacity, 64) == 0) {
        recorder->later[recorder->later_count++] =
            (struct later){ .used = used, .behind = HASH_CNT(by_path, recorder->paths) };
        used->latest = recorder->later_count;
    }
    used->epoch = epoch;
    return used->latest > 0 ? &recorder->later[used->latest - 1].ranges : &used->use.ranges;
}

void sfs_recorder_read(struct sfs_recorder *recorder, sfs_ino ino, uint64_t offset, uint64_t size)
{
    LOCK(&recorder->lock);
    struct used *used = note(recorder, ino, SFS_USE_READ);
    if (used && recorder->with_pages) {
        struct sfs_ranges *ranges = choose_ranges(recorder, used);
        recorder->bytes += size;
        if (ranges->count >= MANY_RANGES && ranges->count == ranges->capacity)
            sfs_ranges_merge(ranges, 0);
        if (sfs_ranges_add(ranges, offset, size) < 0)
            recorder->left_out++;
    }
}

static int print_first(struct used *used, struct sfs_buf *buf)
{
    sfs_ranges_merge(&used->use.ranges, 0);
    sfs_use_print(&used->use, buf);
    sfs_ranges_done(&used->told);
    return used->latest > 0 ? sfs_ranges_join(&used->told, &used->use.ranges) : 0;
}

/* Prints the next line of a file, unless it tells nothing new: pages may be read again. */
static int print_later(struct later *later, struct sfs_buf *buf)
{
    struct used *used = later->used;
    sfs_ranges_merge(&later->ranges, 0);
    int r = sfs_ranges_subtract(&later->ranges, &used->told);
    if (r == 0 && later->ranges.count > 0)
        sfs_use_print(&(struct sfs_use){ used->use.kind, used->use.path, later->ranges }, buf);
    return r < 0 ? r : sfs_ranges_join(&used->told, &later->ranges);
}

/* Prints all uses. Ranges are of whole pages, as the kernel asks for them. */
static int print_all(struct sfs_recorder *recorder, struct sfs_buf *buf)
{
    size_t paths = 0, next = 0;
    int r = 0;
    sfs_buf_add_str(buf, "# What was used, first use first (stagefs trace).\n");
    if (recorder->left_out > 0)
        sfs_buf_printf(buf, "# Not recorded, for want of memory: %zu.\n", recorder->left_out);
    if (recorder->has_root) {
        struct sfs_use root = recorder->root.use;
        char slash[] = "/";
        root.path = slash;
        sfs_use_print(&root, buf);
    }
    for (struct used *used = recorder->paths; used; used = used->by_path.next) {
        r = r < 0 ? r : print_first(used, buf);
        paths++;
        for (; r == 0 && next < recorder->later_count && recorder->later[next].behind <= paths;
             next++)
            r = print_later(&recorder->later[next], buf);
    }
    return buf->failed ? -ENOMEM : r;
}

int sfs_recorder_print(struct sfs_recorder *recorder, struct sfs_buf *buf)
{
    LOCK(&recorder->lock);
    return print_all(recorder, buf);
}
