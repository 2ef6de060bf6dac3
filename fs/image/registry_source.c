/* Layers of an image at a registry: fs/blob's ranges over fs/registry's fetches, kept by fs/layer's
 * store. */
#include "image/registry_source.h"

#include "base/thread.h"
#include "layer/store.h"
#include <errno.h>
#include <stagefs/format.h>
#include <stagefs/registry.h>

#define FETCHERS     12u           /* so many requests ahead of readers, and as many for them */
#define KEEP_DEFAULT (32ull << 30) /* bytes of blobs on the disk */
#define CREDIT       (1ull << 20)  /* bytes that the store is asked for at once */

struct sfs_source {
    struct sfs_name name;
    struct sfs_image_options options;
    pthread_mutex_t lock;
    unsigned users;                      /* guarded by lock, as those below */
    struct sfs_registry *registry;       /* shared by all images; NULL: not connected yet */
    struct sfs_repository *repository;   /* NULL: not connected yet */
    struct sfs_pool *pool, *demand_pool; /* NULL: not needed yet */
    bool has_warned;                     /* that nothing is kept */
    atomic_bool is_stalled;
    atomic_ullong received; /* bytes of layers */
    pthread_mutex_t credit_lock;
    uint64_t credit; /* bytes that may be kept before the store is asked again; of all layers, so
                      * that it is no more for many of them; guarded by credit_lock */
};

/* One client for all images of the program, so that they share connections, tokens and what a
 * registry says about its load. */
static struct {
    pthread_mutex_t lock;
    const struct sfs_registry_options *options;
    struct sfs_registry *registry;
    unsigned users;
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int open_registry(const struct sfs_registry_options *options,
                         struct sfs_registry **ret_registry, struct sfs_error *err)
{
    LOCK(&shared.lock);
    if (shared.users > 0 && shared.options != options)
        return sfs_registry_open(options, ret_registry, err);
    int r = shared.users > 0 ? 0 : sfs_registry_open(options, &shared.registry, err);
    if (r < 0)
        return r;
    shared.options = options;
    shared.users++;
    *ret_registry = shared.registry;
    return 0;
}

static void close_registry(struct sfs_registry **registry)
{
    LOCK(&shared.lock);
    if (*registry && *registry == shared.registry) {
        *registry = NULL;
        if (--shared.users == 0)
            sfs_registry_close(&shared.registry);
    }
    sfs_registry_close(registry);
}

int sfs_source_open(struct sfs_name *name, const struct sfs_image_options *options,
                    struct sfs_source **ret_source, struct sfs_error *err)
{
    struct sfs_source *source = calloc(1, sizeof *source);
    if (!source) {
        sfs_name_done(name);
        return sfs_fail_memory(err);
    }
    source->name = *name;
    *name = (struct sfs_name){ 0 };
    source->options = *options;
    source->users = 1;
    pthread_mutex_init(&source->lock, NULL);
    pthread_mutex_init(&source->credit_lock, NULL);
    *ret_source = source;
    return 0;
}

struct sfs_source *sfs_source_share(struct sfs_source *source)
{
    LOCK(&source->lock);
    source->users++;
    return source;
}

void sfs_source_close(struct sfs_source **source_ptr)
{
    struct sfs_source *source = TAKE(*source_ptr);
    if (!source)
        return;
    pthread_mutex_lock(&source->lock);
    bool is_last = --source->users == 0;
    pthread_mutex_unlock(&source->lock);
    if (!is_last)
        return;
    sfs_pool_close(&source->pool);
    sfs_pool_close(&source->demand_pool);
    sfs_repository_close(&source->repository);
    close_registry(&source->registry);
    sfs_name_done(&source->name);
    pthread_mutex_destroy(&source->credit_lock);
    pthread_mutex_destroy(&source->lock);
    free(source);
}

const struct sfs_name *sfs_source_name(const struct sfs_source *source)
{
    return &source->name;
}

int sfs_source_connect(struct sfs_source *source, struct sfs_repository **ret_repository,
                       struct sfs_error *err)
{
    static const struct sfs_registry_options usual;
    const struct sfs_registry_options *options = source->options.registry;
    LOCK(&source->lock);
    int r = 0;
    if (!source->registry)
        r = open_registry(options ? options : &usual, &source->registry, err);
    if (r == 0 && !source->repository)
        r = sfs_repository_open(source->registry, &source->name, &source->repository, err);
    *ret_repository = source->repository;
    return r;
}

/* Two, so that what is fetched ahead takes no thread from what somebody waits for. */
static int open_pools(struct sfs_source *source, struct sfs_error *err)
{
    LOCK(&source->lock);
    int r = source->pool ? 0 : sfs_pool_open(FETCHERS, &source->pool, err);
    if (r == 0 && !source->demand_pool)
        r = sfs_pool_open(FETCHERS, &source->demand_pool, err);
    return r;
}

/* ---- the other machine */

struct source_remote {
    struct sfs_remote base;
    struct sfs_source *source;
    struct sfs_digest digest;
    uint64_t size;
};

static int remote_fetch(struct sfs_remote *base, enum sfs_remote_priority priority, uint64_t offset,
                        uint64_t size, sfs_remote_sink sink, void *user, bool *ret_whole,
                        struct sfs_error *err)
{
    static const enum sfs_http_priority as[] = { [SFS_REMOTE_DEMAND] = SFS_HTTP_DEMAND,
                                                 [SFS_REMOTE_PROFILE] = SFS_HTTP_PROFILE,
                                                 [SFS_REMOTE_FILL] = SFS_HTTP_FILL };
    struct source_remote *remote = (struct source_remote *)base;
    struct sfs_repository *repository;
    int r = sfs_source_connect(remote->source, &repository, err);
    if (r < 0)
        return r;
    return sfs_repository_fetch(repository, &remote->digest, remote->size, as[priority], offset,
                                size, sink, user, ret_whole, err);
}

static void remote_cancel(struct sfs_remote *base, void *user)
{
    struct source_remote *remote = (struct source_remote *)base;
    struct sfs_repository *repository;
    if (sfs_source_connect(remote->source, &repository, NULL) == 0)
        sfs_repository_cancel(repository, user);
}

static bool remote_hurry(struct sfs_remote *base, void *user)
{
    struct source_remote *remote = (struct source_remote *)base;
    struct sfs_repository *repository;
    return sfs_source_connect(remote->source, &repository, NULL) == 0 &&
           sfs_repository_hurry(repository, user);
}

static void remote_close(struct sfs_remote *base)
{
    struct source_remote *remote = (struct source_remote *)base;
    sfs_source_close(&remote->source);
    free(remote);
}

static const struct sfs_remote_ops remote_ops = {
    .fetch = remote_fetch, .cancel = remote_cancel, .close = remote_close, .hurry = remote_hurry
};

/* ---- who keeps what comes */

struct source_keeper {
    struct sfs_range_keeper base;
    struct sfs_source *source; /* a share of it */
    struct sfs_digest digest;
    uint64_t size;
};

/* How many bytes of blobs may be kept, all together. */
static uint64_t limit_of(const struct sfs_source *source)
{
    const struct sfs_registry_options *options = source->options.registry;
    return options && options->keep ? options->keep : KEEP_DEFAULT;
}

static int keeper_make_room(struct sfs_range_keeper *base, uint64_t size)
{
    struct sfs_source *source = ((struct source_keeper *)base)->source;
    LOCK(&source->credit_lock);
    if (source->credit < size) {
        uint64_t credit = size > CREDIT ? size : CREDIT;
        int r = sfs_store_make_blob_room(source->options.store, limit_of(source), credit, NULL);
        if (r < 0)
            return r;
        source->credit = credit;
    }
    source->credit -= size;
    return 0;
}

static int keeper_keep_whole(struct sfs_range_keeper *base)
{
    const struct source_keeper *keeper = (struct source_keeper *)base;
    return sfs_store_keep_part(keeper->source->options.store, &keeper->digest, keeper->size);
}

static void keeper_close(struct sfs_range_keeper *base)
{
    sfs_source_close(&((struct source_keeper *)base)->source);
    free(base);
}

static const struct sfs_range_keeper_ops keeper_ops = { .make_room = keeper_make_room,
                                                        .keep_whole = keeper_keep_whole,
                                                        .close = keeper_close };

/* ---- layers */

/* ENOENT: there is no whole blob. */
static int open_whole(struct sfs_source *source, const struct sfs_digest *digest,
                      struct sfs_blob **ret_blob, struct sfs_error *err)
{
    char key[SFS_DIGEST_TEXT];
    AUTO(sfs_close_fd) int fd = -1;
    if (!source->options.store)
        return -ENOENT;
    int r = sfs_store_open_file(source->options.store, SFS_STORE_BLOB,
                                sfs_digest_print(digest, key), &fd, NULL);
    if (r < 0)
        return -ENOENT;
    AUTO(sfs_free) char *name = sfs_format("%.19s in the cache directory", key);
    if (!name)
        return sfs_fail_memory(err);
    struct sfs_blob *file;
    r = sfs_blob_open_file(&fd, name, 0, UINT64_MAX, &file, err);
    if (r < 0)
        return r;
    return sfs_source_open_whole(source, source->options.store, digest, &file, ret_blob, err);
}

/* Tells once that nothing is kept: it works all the same, but not as one may think. */
static void warn_unkept(struct sfs_source *source, const struct sfs_error *why)
{
    const struct sfs_progress *progress = source->options.progress;
    {
        LOCK(&source->lock);
        if (source->has_warned || !progress || !progress->warn)
            return;
        source->has_warned = true;
    }
    char text[sizeof why->text + 64];
    snprintf(text, sizeof text, "what is fetched is not kept: %s", why->text);
    progress->warn(progress->user, text);
}

/* EEXIST: all of it is here by now. */
static int open_part(struct sfs_source *source, const struct sfs_digest *digest, uint64_t size,
                     struct sfs_range_file **ret_file, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int data_fd = -1;
    AUTO(sfs_close_fd) int map_fd = -1;
    struct sfs_error why;
    *ret_file = NULL;
    if (!source->options.store || size == 0)
        return 0;
    int r = sfs_store_open_part(source->options.store, digest, size, &data_fd, &map_fd, &why);
    if (r == -EEXIST || r == -ENOMEM)
        return sfs_fail(err, -r, "%s", why.text);
    if (r == 0)
        r = sfs_range_file_open(&data_fd, &map_fd, size, ret_file, &why);
    if (r < 0)
        warn_unkept(source, &why);
    return 0;
}

static struct sfs_range_keeper *make_keeper(struct sfs_source *source,
                                            const struct sfs_digest *digest, uint64_t size)
{
    struct source_keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper)
        return NULL;
    *keeper = (struct source_keeper){ { &keeper_ops }, sfs_source_share(source), *digest, size };
    return &keeper->base;
}

static struct sfs_remote *make_remote(struct sfs_source *source, const struct sfs_digest *digest,
                                      uint64_t size)
{
    struct source_remote *remote = calloc(1, sizeof *remote);
    if (!remote)
        return NULL;
    *remote = (struct source_remote){ { &remote_ops }, sfs_source_share(source), *digest, size };
    return &remote->base;
}

/* A layer of which not all is here. Takes over the file. */
static int open_range(struct sfs_source *source, const struct sfs_digest *digest, uint64_t size,
                      struct sfs_range_file *file, struct sfs_blob **ret_blob,
                      struct sfs_error *err)
{
    char text[SFS_DIGEST_TEXT];
    AUTO(sfs_free)
    char *name = sfs_format("layer %.19s at %s", sfs_digest_print(digest, text), source->name.host);
    struct sfs_remote *remote = make_remote(source, digest, size);
    struct sfs_range_keeper *keeper = file ? make_keeper(source, digest, size) : NULL;
    int r = open_pools(source, err);
    if (r < 0 || !name || !remote || (file && !keeper)) {
        sfs_range_file_close(&file);
        if (remote)
            remote_close(remote);
        if (keeper)
            keeper_close(keeper);
        return r < 0 ? r : sfs_fail_memory(err);
    }
    const struct sfs_range_options options = { .size = size,
                                               .digest = *digest,
                                               .name = name,
                                               .where = source->name.host,
                                               .pool = source->pool,
                                               .demand_pool = source->demand_pool,
                                               .progress = source->options.progress,
                                               .is_stalled = &source->is_stalled,
                                               .received = &source->received };
    return sfs_blob_open_range(remote, file, keeper, &options, ret_blob, err);
}

int sfs_source_open_layer(struct sfs_source *source, const struct sfs_digest *digest, uint64_t size,
                          struct sfs_blob **ret_blob, struct sfs_error *err)
{
    struct sfs_range_file *file;
    int r = open_whole(source, digest, ret_blob, err);
    while (r == -ENOENT) {
        r = open_part(source, digest, size, &file, err);
        if (r == 0)
            return open_range(source, digest, size, file, ret_blob, err);
        if (r == -EEXIST)
            r = open_whole(source, digest, ret_blob, err);
    }
    return r;
}
