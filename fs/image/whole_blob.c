/* A layer of a registry's image that is here, whole, in the store; and which is fetched from there
 * all the same once a reader finds that its bytes are not what they were: disks forget. */
#include "image/registry_source.h"

#include "base/thread.h"
#include "layer/store.h"
#include <errno.h>

struct whole_blob {
    struct sfs_blob blob;
    struct sfs_source *source;
    struct sfs_store *store;
    struct sfs_digest digest;
    struct sfs_blob *file;            /* the store's */
    _Atomic(struct sfs_blob *) other; /* NULL: the file is trusted */
    atomic_bool is_stopped;
    pthread_mutex_t lock; /* of making the other */
};

static struct sfs_blob *get_blob(const struct whole_blob *whole)
{
    struct sfs_blob *other = atomic_load(&whole->other);
    return other ? other : whole->file;
}

static ssize_t whole_read_at(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                             struct sfs_error *err)
{
    if (atomic_load(&((struct whole_blob *)blob)->is_stopped))
        return sfs_fail(err, ECANCELED, "cancelled");
    return sfs_blob_read_at(get_blob((struct whole_blob *)blob), buf, size, offset, err);
}

static ssize_t whole_pick_at(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                             struct sfs_error *err)
{
    return sfs_blob_pick_at(get_blob((struct whole_blob *)blob), buf, size, offset, err);
}

static uint64_t whole_ahead(struct sfs_blob *blob)
{
    return sfs_blob_ahead(get_blob((struct whole_blob *)blob));
}

static void whole_will_read(struct sfs_blob *blob, uint64_t offset, uint64_t size)
{
    sfs_blob_will_read(get_blob((struct whole_blob *)blob), offset, size);
}

static void whole_fetch(struct sfs_blob *blob, uint64_t offset, uint64_t size,
                        enum sfs_pool_priority priority)
{
    sfs_blob_fetch(get_blob((struct whole_blob *)blob), offset, size, priority);
}

static int whole_fill(struct sfs_blob *blob, uint64_t offset, uint64_t size, struct sfs_error *err)
{
    return sfs_blob_fill(get_blob((struct whole_blob *)blob), offset, size, err);
}

static void whole_stop(struct sfs_blob *blob)
{
    struct whole_blob *whole = (struct whole_blob *)blob;
    atomic_store(&whole->is_stopped, true);
    sfs_blob_stop(get_blob(whole));
}

/* Gives the file up. True: it was not given up before. */
static bool give_up_file(struct whole_blob *whole)
{
    struct sfs_blob *other = NULL;
    LOCK(&whole->lock);
    if (atomic_load(&whole->other))
        return false;
    sfs_store_drop_blob(whole->store, &whole->digest, sfs_blob_file(whole->file));
    if (sfs_source_open_layer(whole->source, &whole->digest, whole->blob.size, &other, NULL) < 0)
        return false;
    atomic_store(&whole->other, other);
    return true;
}

static bool whole_distrust(struct sfs_blob *blob, uint64_t offset, uint64_t size)
{
    struct whole_blob *whole = (struct whole_blob *)blob;
    return give_up_file(whole) ||
           (atomic_load(&whole->other) && sfs_blob_distrust(get_blob(whole), offset, size));
}

static bool whole_judge(struct sfs_blob *blob, enum sfs_verdict verdict)
{
    struct whole_blob *whole = (struct whole_blob *)blob;
    if (atomic_load(&whole->other))
        return sfs_blob_judge(get_blob(whole), verdict);
    return verdict == SFS_VERDICT_WRONG && give_up_file(whole);
}

static int whole_file(const struct sfs_blob *blob)
{
    return sfs_blob_file(get_blob((const struct whole_blob *)blob));
}

static void whole_close(struct sfs_blob *blob)
{
    struct whole_blob *whole = (struct whole_blob *)blob;
    struct sfs_blob *other = atomic_load(&whole->other);
    sfs_blob_close(&other);
    sfs_blob_close(&whole->file);
    sfs_source_close(&whole->source);
    pthread_mutex_destroy(&whole->lock);
    free(whole);
}

static const struct sfs_blob_ops whole_ops = { .read_at = whole_read_at,
                                               .pick_at = whole_pick_at,
                                               .ahead = whole_ahead,
                                               .will_read = whole_will_read,
                                               .fetch = whole_fetch,
                                               .fill = whole_fill,
                                               .stop = whole_stop,
                                               .distrust = whole_distrust,
                                               .judge = whole_judge,
                                               .file = whole_file,
                                               .close = whole_close };

int sfs_source_open_whole(struct sfs_source *source, struct sfs_store *store,
                          const struct sfs_digest *digest, struct sfs_blob **file,
                          struct sfs_blob **ret_blob, struct sfs_error *err)
{
    struct whole_blob *whole = calloc(1, sizeof *whole);
    char *name = strdup((*file)->name);
    if (!whole || !name) {
        free(whole);
        free(name);
        sfs_blob_close(file);
        return sfs_fail_memory(err);
    }
    whole->blob = (struct sfs_blob){ &whole_ops, (*file)->size, name };
    whole->source = sfs_source_share(source);
    whole->store = store;
    whole->digest = *digest;
    whole->file = TAKE(*file);
    pthread_mutex_init(&whole->lock, NULL);
    *ret_blob = &whole->blob;
    return 0;
}
