/* Writing to a registry. A new layer is written to a temporary file, and a thread sends that while
 * it grows; where that breaks, or the registry does not take blobs so, the file is sent when it is
 * whole. Small blobs, as config and manifest, wait in memory for the end. */
#include "commit/target.h"

#include "base/array.h"
#include "base/limits.h"
#include "base/pool.h"
#include "base/thread.h"
#include "commit/base_place.h"
#include "image/parts.h"
#include "layer/store.h"
#include "registry/referrers.h"
#include "registry/upload.h"
#include <errno.h>
#include <fcntl.h>
#include <stagefs/commit.h>
#include <stagefs/format.h>
#include <sys/stat.h>
#include <time.h>

#define SMALL         SFS_MAX_MANIFEST /* bytes; what has more is sent while it grows */
#define LOOK_NS       10000000         /* how often the thread looks whether there is more */
#define LAYERS_BESIDE 4

enum growth { GROWING, WHOLE, DROPPED };

/* The blob that is being written. */
struct growing {
    int fd;
    bool has_thread;
    pthread_t thread;
    atomic_int growth;        /* enum growth */
    struct sfs_digest digest; /* once it is WHOLE */
    int result;               /* of the thread: 0: it is at the registry */
};

struct small_blob {
    struct sfs_digest digest;
    char *data;
    size_t size;
};

/* A layer of the base on its way. */
struct carried {
    struct registry_target *target;
    struct sfs_image *image;
    size_t layer;
    int result;
    struct sfs_error error;
    struct carried *next;
};

struct registry_target {
    struct sfs_target target;
    const struct sfs_commit_options *options;
    struct sfs_name name;
    struct sfs_registry *registry;
    struct sfs_repository *repository;
    atomic_bool cancelled;
    struct growing growing;
    struct small_blob *small;
    size_t small_count, small_capacity;
    struct sfs_pool *pool;
    struct carried *carried;
};

static bool registry_has(const struct sfs_target *target, const struct sfs_digest *digest,
                         uint64_t size)
{
    const struct registry_target *self = (const struct registry_target *)target;
    struct sfs_error ignored;
    (void)size;
    return sfs_repository_has_blob(self->repository, digest, &ignored) == 1;
}

/* ---- a new blob */

static bool has_grown(const struct growing *growing, uint64_t offset)
{
    struct stat st;
    return fstat(growing->fd, &st) == 0 && (uint64_t)st.st_size > offset;
}

/* Waits until there is something behind `offset`, or nothing will be any more. */
static enum growth wait_for_more(struct growing *growing, uint64_t offset)
{
    static const struct timespec look = { .tv_nsec = LOOK_NS };
    for (;;) {
        enum growth growth = (enum growth)atomic_load(&growing->growth);
        if (growth != GROWING || has_grown(growing, offset))
            return growth;
        nanosleep(&look, NULL);
    }
}

static ssize_t read_growing(void *user, void *buf, size_t size, uint64_t offset,
                            struct sfs_error *err)
{
    struct growing *growing = user;
    if (wait_for_more(growing, offset) == DROPPED)
        return sfs_fail(err, ECANCELED, "cancelled");
    ssize_t n = sfs_io_read_at(growing->fd, buf, size, offset);
    return n < 0 ? sfs_fail_errno(err, (int)-n, "reading a new layer") : n;
}

static int get_digest(void *user, struct sfs_digest *ret_digest, struct sfs_error *err)
{
    struct growing *growing = user;
    if (wait_for_more(growing, UINT64_MAX) == DROPPED)
        return sfs_fail(err, ECANCELED, "cancelled");
    *ret_digest = growing->digest;
    return 0;
}

static void *send_growing(void *arg)
{
    struct registry_target *self = arg;
    struct growing *growing = &self->growing;
    struct sfs_upload upload = { .read_at = read_growing,
                                 .is_growing = true,
                                 .is_known = get_digest,
                                 .user = growing,
                                 .cancelled = &self->cancelled };
    enum sfs_uploaded how;
    struct sfs_error ignored;
    growing->result = -ENODATA;
    if (wait_for_more(growing, SMALL) == GROWING)
        growing->result = sfs_repository_put_blob(self->repository, &upload, &how, &ignored);
    return NULL;
}

static void join(struct growing *growing, enum growth growth)
{
    atomic_store(&growing->growth, growth);
    if (growing->has_thread)
        pthread_join(growing->thread, NULL);
    growing->has_thread = false;
}

static void registry_drop(struct sfs_target *target)
{
    struct registry_target *self = (struct registry_target *)target;
    join(&self->growing, DROPPED);
    sfs_close_fd(&self->growing.fd);
}

static int registry_begin(struct sfs_target *target, int *ret_fd, struct sfs_error *err)
{
    struct registry_target *self = (struct registry_target *)target;
    struct growing *growing = &self->growing;
    registry_drop(target);
    int r = sfs_io_open_unnamed(&growing->fd, err);
    if (r < 0)
        return r;
    atomic_store(&growing->growth, GROWING);
    r = sfs_thread_start(&growing->thread, send_growing, self, "sends a layer", err);
    if (r < 0)
        return r;
    growing->has_thread = true;
    *ret_fd = growing->fd;
    return 0;
}

static int keep_small(struct registry_target *self, const struct sfs_digest *digest, size_t size,
                      struct sfs_error *err)
{
    AUTO(sfs_free) char *data = malloc(size + 1);
    if (!data || SFS_ARRAY_GROW(self->small, self->small_count, self->small_capacity, 4) < 0)
        return sfs_fail_memory(err);
    ssize_t n = sfs_io_read_at(self->growing.fd, data, size, 0);
    if (n < 0 || (size_t)n != size)
        return sfs_fail_errno(err, n < 0 ? (int)-n : EIO, "reading what was written");
    self->small[self->small_count++] =
        (struct small_blob){ .digest = *digest, .data = TAKE(data), .size = size };
    return 0;
}

static ssize_t read_file(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err)
{
    const struct growing *growing = user;
    ssize_t n = sfs_io_read_at(growing->fd, buf, size, offset);
    return n < 0 ? sfs_fail_errno(err, (int)-n, "reading a new layer") : n;
}

static int send_file(struct registry_target *self, const struct sfs_digest *digest, uint64_t size,
                     struct sfs_error *err)
{
    enum sfs_uploaded how;
    const struct sfs_upload upload = { .digest = *digest,
                                       .size = size,
                                       .read_at = read_file,
                                       .user = &self->growing,
                                       .progress = self->options->progress,
                                       .cancelled = &self->cancelled };
    return sfs_repository_put_blob(self->repository, &upload, &how, err);
}

static int registry_end(struct sfs_target *target, const struct sfs_digest *digest, uint64_t size,
                        struct sfs_error *err)
{
    struct registry_target *self = (struct registry_target *)target;
    struct growing *growing = &self->growing;
    growing->digest = *digest;
    join(growing, WHOLE);
    int r = growing->result;
    if (r < 0)
        r = size <= SMALL ? keep_small(self, digest, (size_t)size, err)
                          : send_file(self, digest, size, err);
    registry_drop(target);
    return r;
}

/* ---- layers of the base */

static ssize_t read_blob(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err)
{
    return sfs_blob_read_at(user, buf, size, offset, err);
}

static int carry_layer(struct carried *carried, struct sfs_error *err)
{
    struct registry_target *self = carried->target;
    const struct sfs_image_layer *layer = sfs_image_layer(carried->image, carried->layer);
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    AUTO(sfs_free) char *from = NULL;
    enum sfs_uploaded how;
    int r = sfs_base_place(carried->image, &self->name, &from, err);
    if (r == 0)
        r = sfs_image_open_blob(carried->image, carried->layer, &blob, err);
    if (r < 0)
        return r;
    const struct sfs_upload upload = { .digest = layer->digest,
                                       .size = layer->size,
                                       .read_at = read_blob,
                                       .user = blob,
                                       .mount_from = from,
                                       .progress = self->options->progress,
                                       .cancelled = &self->cancelled };
    return sfs_repository_put_blob(self->repository, &upload, &how, err);
}

static void run_carried(void *arg)
{
    struct carried *carried = arg;
    char label[SFS_LAYER_LABEL];
    carried->result = carry_layer(carried, &carried->error);
    if (carried->result < 0)
        sfs_fail_while(&carried->error, carried->result, "%s",
                       sfs_image_label(carried->image, carried->layer, label));
}

static int registry_add_layer(struct sfs_target *target, struct sfs_image *image, size_t i,
                              struct sfs_error *err)
{
    struct registry_target *self = (struct registry_target *)target;
    int r = self->pool ? 0 : sfs_pool_open(LAYERS_BESIDE, &self->pool, err);
    struct carried *carried = r == 0 ? calloc(1, sizeof *carried) : NULL;
    if (r == 0 && !carried)
        return sfs_fail_memory(err);
    if (r < 0)
        return r;
    *carried =
        (struct carried){ .target = self, .image = image, .layer = i, .next = self->carried };
    self->carried = carried;
    r = sfs_pool_submit(self->pool, SFS_POOL_DEMAND, run_carried, carried);
    return r < 0 ? sfs_fail_memory(err) : 0;
}

static int wait_for_layers(struct registry_target *self, struct sfs_error *err)
{
    sfs_pool_close(&self->pool);
    for (const struct carried *it = self->carried; it; it = it->next)
        if (it->result < 0)
            return sfs_fail(err, -it->result, "%s", it->error.text);
    return 0;
}

/* ---- the end */

/* tag NULL: by its digest alone. */
static int put_manifest(struct registry_target *self, const struct small_blob *manifest,
                        const json_t *descriptor, const char *tag, struct sfs_error *err)
{
    const struct sfs_manifest_put put = { .data = manifest->data,
                                          .size = manifest->size,
                                          .media_type = json_string_value(
                                              json_object_get(descriptor, "mediaType")),
                                          .tag = tag };
    return sfs_repository_put_manifest(self->repository, &put, NULL, err);
}

/* The manifest comes first, since not every registry takes what is beside one that it lacks; the
 * tag comes last all the same. */
static int put_beside(struct registry_target *self, const struct sfs_target_image *image,
                      const struct small_blob *manifest, struct sfs_error *err)
{
    struct sfs_artifact artifact = *image->beside;
    struct sfs_digest digest;
    AUTO(sfs_free) char *lock_dir = NULL;
    artifact.subject = image->digest;
    artifact.subject_size = manifest->size;
    artifact.subject_type = json_string_value(json_object_get(image->descriptor, "mediaType"));
    /* Best effort: without a place for the lock nobody takes turns. */
    if (self->options->store)
        sfs_store_make_dir(self->options->store, "turns", &lock_dir, NULL);
    const struct sfs_referrers_options options = { .lock_dir = lock_dir,
                                                   .cancelled = &self->cancelled };
    int r = put_manifest(self, manifest, image->descriptor, NULL, err);
    if (r < 0)
        return r;
    r = sfs_referrers_add(self->repository, &artifact, &options, &digest, err);
    return r < 0 ? sfs_fail_while(err, r, "the index beside the image") : 0;
}

static int registry_finish(struct sfs_target *target, const struct sfs_target_image *image,
                           struct sfs_error *err)
{
    struct registry_target *self = (struct registry_target *)target;
    const struct small_blob *manifest = NULL;
    int r = wait_for_layers(self, err);
    for (size_t i = 0; i < self->small_count && r == 0; i++) {
        const struct small_blob *blob = &self->small[i];
        struct sfs_digest found;
        if (sfs_digest_equal(&blob->digest, &image->digest))
            manifest = blob;
        else
            r = sfs_repository_put_bytes(self->repository, blob->data, blob->size, &found, err);
    }
    if (r == 0 && manifest && image->beside)
        r = put_beside(self, image, manifest, err);
    if (r < 0)
        return r;
    return manifest ? put_manifest(self, manifest, image->descriptor, self->name.tag, err)
                    : sfs_fail(err, E2BIG, "the manifest is larger than registries take");
}

static void registry_close(struct sfs_target *target)
{
    struct registry_target *self = (struct registry_target *)target;
    atomic_store(&self->cancelled, true);
    if (self->registry)
        sfs_http_wake(sfs_registry_http(self->registry));
    registry_drop(target);
    sfs_pool_close(&self->pool);
    for (struct carried *it = self->carried, *next; it; it = next) {
        next = it->next;
        free(it);
    }
    for (size_t i = 0; i < self->small_count; i++)
        free(self->small[i].data);
    free(self->small);
    sfs_repository_close(&self->repository);
    sfs_registry_close(&self->registry);
    sfs_name_done(&self->name);
    free(self);
}

static const struct sfs_target_ops registry_ops = {
    .has = registry_has,
    .begin = registry_begin,
    .end = registry_end,
    .drop = registry_drop,
    .add_layer = registry_add_layer,
    .finish = registry_finish,
    .close = registry_close,
};

int sfs_target_open_registry(const struct sfs_reference *reference, const char *text,
                             const struct sfs_commit_options *options,
                             struct sfs_target **ret_target, struct sfs_error *err)
{
    (void)text;
    struct registry_target *self = calloc(1, sizeof *self);
    AUTO(sfs_target_close) struct sfs_target *target = self ? &self->target : NULL;
    if (!self)
        return sfs_fail_memory(err);
    self->target.ops = &registry_ops;
    self->growing.fd = -1;
    self->options = options;
    int r = sfs_name_parse(reference->name, &self->name, err);
    if (r == 0)
        r = sfs_registry_open(options->registry, &self->registry, err);
    if (r == 0)
        r = sfs_repository_open(self->registry, &self->name, &self->repository, err);
    /* What is wrong with name, login or network is told before anything is compressed. */
    if (r == 0)
        r = sfs_repository_check_push(self->repository, err);
    if (r == 0)
        *ret_target = TAKE(target);
    return r;
}
