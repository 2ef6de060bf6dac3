/* Which files are hot, and which opens are answered with a backing file: see passthrough.h. */
#include "mount/passthrough.h"

#include "base/pool.h"
#include "base/thread.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <pthread.h>
#include <uthash.h>

#define HOT_OPENS 3u
#define HOT_SHARE 2u /* a file is hot when one half of its bytes was used */

enum keep_state {
    UNKNOWN, /* the store was not looked into yet */
    ABSENT,  /* not in the store */
    QUEUED,  /* being written */
    KEPT,    /* in the store, as far as is known */
    NEVER,   /* cannot be kept, or the kernel does not take it */
};

/* A handle is the address of one of these, which live as long as the mount. */
struct kept_file {
    struct sfs_passthrough *owner;
    sfs_ino ino;
    uint64_t size;
    atomic_uint_least64_t used; /* bytes asked for, and bytes that the kernel got unasked */
    enum keep_state state;
    unsigned opens; /* how many since it was last not in the store */
    unsigned live;  /* how many are not released yet */
    int backing_id; /* > 0: the backing file with which those were answered */
    char name[SFS_CONTENT_NAME];
    UT_hash_handle hh;
};

struct sfs_passthrough {
    const struct sfs_forest *forest;
    const struct sfs_backing_ops *backing;
    void *user;
    struct sfs_stats *stats;
    struct sfs_keep keep;
    atomic_bool started;
    pthread_mutex_t lock;
    struct kept_file *files; /* guarded by lock, as all in them but `used` */
    struct sfs_pool *pool;
    unsigned registered;
};

int sfs_passthrough_open(const struct sfs_passthrough_options *options,
                         struct sfs_passthrough **ret_passthrough, struct sfs_error *err)
{
    AUTO(sfs_free) struct sfs_passthrough *passthrough = calloc(1, sizeof *passthrough);
    if (!passthrough)
        return sfs_fail_memory(err);
    passthrough->forest = options->forest;
    passthrough->backing = options->backing;
    passthrough->user = options->user;
    passthrough->stats = options->stats;
    passthrough->keep.store = options->store;
    passthrough->keep.limit = options->limit;
    passthrough->keep.stats = options->stats;
    int r = sfs_pool_open(1, &passthrough->pool, err);
    if (r < 0)
        return r;
    pthread_mutex_init(&passthrough->lock, NULL);
    *ret_passthrough = TAKE(passthrough);
    return 0;
}

void sfs_passthrough_start(struct sfs_passthrough *passthrough)
{
    atomic_store(&passthrough->started, true);
}

void sfs_passthrough_stop(struct sfs_passthrough *passthrough)
{
    atomic_store(&passthrough->keep.stop, true);
    sfs_pool_close_shared(&passthrough->pool, &passthrough->lock);
}

void sfs_passthrough_close(struct sfs_passthrough **passthrough)
{
    if (!*passthrough)
        return;
    sfs_passthrough_stop(*passthrough);
    struct kept_file *file, *next;
    HASH_ITER(hh, (*passthrough)->files, file, next)
    {
        HASH_DEL((*passthrough)->files, file);
        free(file);
    }
    pthread_mutex_destroy(&(*passthrough)->lock);
    free(*passthrough);
    *passthrough = NULL;
}

static struct kept_file *file_of(uint64_t handle)
{
    return (struct kept_file *)(uintptr_t)handle;
}

/* Finds a regular file. False: it is none. */
static bool find_place(const struct sfs_passthrough *passthrough, sfs_ino ino,
                       struct sfs_place *ret_place, struct sfs_attr *ret_attr)
{
    if (!sfs_forest_locate(passthrough->forest, ino, ret_place) || !ret_place->tree)
        return false;
    sfs_tree_attr(ret_place->tree, ret_place->node, ret_attr);
    return S_ISREG(ret_attr->mode);
}

/* The record of a file, made if there is none. NULL: out of memory. */
static struct kept_file *find_file(struct sfs_passthrough *passthrough, sfs_ino ino,
                                   const struct sfs_place *place, uint64_t size)
{
    struct kept_file *file = NULL;
    HASH_FIND(hh, passthrough->files, &ino, sizeof ino, file);
    if (file)
        return file;
    file = calloc(1, sizeof *file);
    if (!file)
        return NULL;
    file->owner = passthrough;
    file->ino = ino;
    file->size = size;
    if (sfs_tree_content_name(place->tree, place->node, file->name) < 0)
        file->state = NEVER;
    HASH_ADD(hh, passthrough->files, ino, sizeof file->ino, file);
    return file;
}

/* --- writing what is hot ---------------------------------------------------------------------- */

/* Writes a hot file to the store. If that fails nobody is told: the file is served as before, and
 * nothing is lost but speed. */
static void keep_file(void *arg)
{
    struct kept_file *file = arg;
    struct sfs_passthrough *passthrough = file->owner;
    struct sfs_place place;
    struct sfs_attr attr;
    bool kept = !atomic_load(&passthrough->keep.stop) &&
                find_place(passthrough, file->ino, &place, &attr) &&
                sfs_keep_file(&passthrough->keep, place.tree, place.node, file->name, NULL) == 0;
    LOCK(&passthrough->lock);
    file->state = kept ? KEPT : NEVER;
    if (kept) {
        atomic_fetch_add(&passthrough->stats->files_kept, 1);
        atomic_fetch_add(&passthrough->stats->bytes_kept, file->size);
    }
}

static void keep_if_hot(struct sfs_passthrough *passthrough, struct kept_file *file)
{
    bool hot = file->opens >= HOT_OPENS || atomic_load(&file->used) >= file->size / HOT_SHARE;
    if (file->state != ABSENT || !hot || !passthrough->pool)
        return;
    file->state = QUEUED;
    if (sfs_pool_submit(passthrough->pool, SFS_POOL_BACKGROUND, keep_file, file) < 0)
        file->state = NEVER;
}

/* --- opens ------------------------------------------------------------------------------------ */

/* Looks for the file in the store, each time anew, since somebody may have pruned the store; makes
 * it known to the kernel. */
static void register_file(struct sfs_passthrough *passthrough, struct kept_file *file)
{
    AUTO(sfs_close_fd) int fd = -1; /* the kernel takes a reference of its own, lock included */
    if (sfs_keep_open(&passthrough->keep, file->name, file->size, &fd, NULL) < 0) {
        if (file->state == KEPT) { /* it was pruned: whether it is hot is to be seen anew */
            file->opens = 0;
            atomic_store(&file->used, 0);
        }
        file->state = ABSENT;
        return;
    }
    file->state = KEPT;
    if (passthrough->registered >= SFS_PASSTHROUGH_MAX_FILES)
        return;
    file->backing_id = passthrough->backing->open(passthrough->user, fd);
    if (file->backing_id > 0) {
        passthrough->registered++;
    } else {
        file->backing_id = 0;
        file->state = NEVER;
    }
}

static void open_file(struct sfs_passthrough *passthrough, struct kept_file *file)
{
    /* Those before the start are counted, too, since they keep the kernel's own cache in use. */
    if (file->live == 0 && (file->state == UNKNOWN || file->state == KEPT) &&
        atomic_load(&passthrough->started))
        register_file(passthrough, file);
    file->live++;
    file->opens++;
    if (file->backing_id)
        atomic_fetch_add(&passthrough->stats->opens_through, 1);
    else
        keep_if_hot(passthrough, file);
}

int sfs_passthrough_opened(struct sfs_passthrough *passthrough, sfs_ino ino,
                           struct sfs_opening *ret_opening)
{
    struct sfs_place place;
    struct sfs_attr attr;
    *ret_opening = (struct sfs_opening){ 0 };
    if (!find_place(passthrough, ino, &place, &attr) || attr.size < SFS_PASSTHROUGH_MIN)
        return 0;
    LOCK(&passthrough->lock);
    struct kept_file *file = find_file(passthrough, ino, &place, attr.size);
    if (file) {
        open_file(passthrough, file);
        ret_opening->handle = (uintptr_t)file;
        ret_opening->backing_id = file->backing_id;
    }
    return file ? 0 : -ENOMEM;
}

void sfs_passthrough_released(struct sfs_passthrough *passthrough, uint64_t handle)
{
    struct kept_file *file = file_of(handle);
    if (!file)
        return;
    LOCK(&passthrough->lock);
    if (--file->live == 0 && file->backing_id) {
        passthrough->backing->close(passthrough->user, file->backing_id);
        file->backing_id = 0;
        passthrough->registered--;
    }
}

void sfs_passthrough_read(struct sfs_passthrough *passthrough, uint64_t handle, uint64_t size)
{
    struct kept_file *file = file_of(handle);
    if (!file)
        return;
    uint64_t before = atomic_fetch_add(&file->used, size), hot = file->size / HOT_SHARE;
    if (before >= hot || before + size < hot)
        return;
    LOCK(&passthrough->lock);
    keep_if_hot(passthrough, file);
}

void sfs_passthrough_stored(struct sfs_passthrough *passthrough, sfs_ino ino, uint64_t size)
{
    struct sfs_place place;
    struct sfs_attr attr;
    if (!find_place(passthrough, ino, &place, &attr) || attr.size < SFS_PASSTHROUGH_MIN)
        return;
    LOCK(&passthrough->lock);
    struct kept_file *file = find_file(passthrough, ino, &place, attr.size);
    if (!file)
        return;
    atomic_fetch_add(&file->used, size);
    keep_if_hot(passthrough, file);
}
