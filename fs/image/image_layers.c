/* Opening an image's layers, several at a time. Building an index is itself a pipeline of threads;
 * the largest layer begins first, so that the cores are not left to one of them at the end. */
#include "image/parts.h"

#include "base/pool.h"
#include "base/thread.h"
#include "image/soci.h"
#include "image/storage.h"
#include "layer/layer.h"
#include <errno.h>

#define REMOTE_AT_ONCE 4u /* layers: they wait for the network more than for a processor */

struct opening {
    struct sfs_image *image;
    struct sfs_store *store;
    struct sfs_cache *cache;
    const struct sfs_progress *progress;
    struct sfs_layer **layers;
    pthread_mutex_t lock;
    int result;             /* guarded by lock: of the failed layer with the lowest number */
    size_t failed;          /* guarded by lock */
    struct sfs_error error; /* guarded by lock */
};

struct layer_job {
    struct opening *opening;
    size_t layer;
    bool gives_way; /* its threads go behind those of the largest layer, which takes longest */
};

int sfs_image_settle_codec(const struct sfs_image *image, size_t i, struct sfs_blob *blob,
                           const struct sfs_progress *progress, enum sfs_codec *ret_codec,
                           struct sfs_error *err)
{
    const struct sfs_image_layer *layer = &image->parts[i].layer;
    enum sfs_codec found;
    *ret_codec = SFS_CODEC_NONE;
    if (layer->has_digest && layer->has_diff_id &&
        sfs_digest_equal(&layer->digest, &layer->diff_id))
        return 0;
    int r = sfs_codec_guess(blob, &found, err);
    if (r < 0)
        return r;
    *ret_codec = found == SFS_CODEC_NONE ? layer->codec : found;
    if (*ret_codec != layer->codec && progress && progress->warn) {
        char text[300], label[SFS_LAYER_LABEL];
        snprintf(text, sizeof text, "%s has media type %.100s, but its bytes are %s",
                 sfs_image_label(image, i, label), layer->media_type, sfs_codec_name(found));
        progress->warn(progress->user, text);
    }
    return 0;
}

struct sfs_layer_source sfs_image_layer_source(const struct sfs_image *image, size_t i,
                                               const char *label)
{
    const struct sfs_image_layer *layer = &image->parts[i].layer;
    return (struct sfs_layer_source){
        .key = layer->key,
        .has_digest = layer->has_digest,
        .digest = layer->digest,
        .size = layer->size,
        .has_diff_id = layer->has_diff_id,
        .diff_id = layer->diff_id,
        .label = label,
        .annotations = layer->annotations,
    };
}

/* Opens the layer without a look at its bytes: by its index in the store, or by one that came with
 * the image. ENOENT: it cannot be. The codec is what the media type says: of a layer at a registry,
 * the first bytes are not fetched only to see that they are what they were. */
static int open_unread(const struct opening *opening, size_t i, struct sfs_blob **blob,
                       struct sfs_layer_source source, struct sfs_error *err)
{
    struct sfs_image *image = opening->image;
    if (!image->members->is_remote && !sfs_image_has_soci(image))
        return -ENOENT;
    source.codec = image->parts[i].layer.codec;
    int r = sfs_layer_open_indexed(opening->store, opening->cache, blob, &source,
                                   &opening->layers[i], err);
    return r == -ENOENT
               ? sfs_image_open_sent(image, opening->cache, blob, &source, &opening->layers[i], err)
               : r;
}

static int open_tar(const struct opening *opening, size_t i, const char *label,
                    struct sfs_error *err)
{
    struct sfs_layer_source source = sfs_image_layer_source(opening->image, i, label);
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    int r = sfs_image_open_blob(opening->image, i, &blob, err);
    if (r == 0)
        r = open_unread(opening, i, &blob, source, err);
    if (r != -ENOENT || !blob)
        return r;
    r = 0;
    if (r == 0)
        r = sfs_image_settle_codec(opening->image, i, blob, opening->progress, &source.codec, err);
    if (r == 0)
        r = sfs_layer_open_tar(opening->store, opening->cache, &blob, &source, opening->progress,
                               &opening->layers[i], err);
    return r;
}

/* A store may belong to somebody who changes it meanwhile: what is read is the directory that was
 * opened without following a symlink, and not what its path leads to by then. */
static int open_stored(const struct opening *opening, size_t i, const char *label,
                       struct sfs_error *err)
{
    const struct sfs_storage *storage = sfs_storage_of(opening->image->members);
    AUTO(sfs_close_fd) int fd = -1;
    AUTO(sfs_free) char *path = NULL;
    char opened[32];
    int r = sfs_storage_open_files(storage, &storage->layers[i], &fd, &path, err);
    if (r < 0)
        return r;
    snprintf(opened, sizeof opened, "/proc/self/fd/%d", fd);
    return sfs_layer_open_dir(opened, SFS_LAYER_DIR_OVERLAY, label, &opening->layers[i], err);
}

static int open_directory(const struct opening *opening, size_t i, const char *label,
                          struct sfs_error *err)
{
    const char *stored = opening->image->parts[i].directory, *left_out;
    const char *path = stored ? stored : opening->image->directory;
    const struct sfs_progress *progress = opening->progress;
    int r = stored ? open_stored(opening, i, label, err)
                   : sfs_layer_open_dir(path, 0, label, &opening->layers[i], err);
    if (r < 0 || !progress || !progress->warn)
        return r;
    left_out = sfs_layer_dir_left_out(opening->layers[i]);
    if (left_out) {
        struct sfs_error clean;
        sfs_fail(&clean, EINVAL, "%s: left out: %s", path,
                 left_out); /* without control characters */
        progress->warn(progress->user, clean.text);
    }
    return 0;
}

static int open_layer(const struct opening *opening, size_t i, struct sfs_error *err)
{
    char label[SFS_LAYER_LABEL];
    sfs_image_label(opening->image, i, label);
    int r = opening->image->parts[i].layer.is_directory ? open_directory(opening, i, label, err)
                                                        : open_tar(opening, i, label, err);
    if (r == 0 || strncmp(err->text, label, strlen(label)) == 0) /* the layer said who it is */
        return r;
    return sfs_fail_while(err, r, "%s", label);
}

static bool has_failed(struct opening *opening)
{
    LOCK(&opening->lock);
    return opening->result < 0;
}

static void note_failure(struct opening *opening, size_t layer, int r,
                         const struct sfs_error *error)
{
    LOCK(&opening->lock);
    if (opening->result < 0 && layer > opening->failed)
        return;
    opening->result = r;
    opening->failed = layer;
    opening->error = *error;
}

static void run_job(void *arg)
{
    const struct layer_job *job = arg;
    struct sfs_error error;
    if (has_failed(job->opening))
        return;
    if (job->gives_way)
        sfs_thread_give_way();
    int r = open_layer(job->opening, job->layer, &error);
    if (r < 0)
        note_failure(job->opening, job->layer, r, &error);
}

/* Is the layer in the image a second time? The second is opened when the first has its index. */
static bool is_repeated(const struct sfs_image *image, const size_t *order, size_t position)
{
    for (size_t i = 0; i < position; i++)
        if (strcmp(image->parts[order[i]].key, image->parts[order[position]].key) == 0)
            return true;
    return false;
}

static int run_jobs(struct opening *opening, const size_t *order, bool repeated,
                    struct layer_job *jobs, struct sfs_error *err)
{
    AUTO(sfs_pool_close) struct sfs_pool *pool = NULL;
    size_t count = 0;
    for (size_t i = 0; i < opening->image->count; i++)
        if (is_repeated(opening->image, order, i) == repeated)
            jobs[count++] = (struct layer_job){ opening, order[i], i > 0 };
    if (count == 1) { /* no need of threads */
        run_job(&jobs[0]);
        return 0;
    }
    int r = count > 0 ? sfs_image_open_pool(opening->image, &pool, err) : 0;
    for (size_t i = 0; r == 0 && i < count; i++)
        if (sfs_pool_submit(pool, SFS_POOL_DEMAND, run_job, &jobs[i]) < 0)
            r = sfs_fail_memory(err);
    return r; /* closing the pool waits for the jobs */
}

static int open_all(struct opening *opening, struct sfs_error *err)
{
    AUTO(sfs_free) size_t *order = NULL;
    AUTO(sfs_free) struct layer_job *jobs = calloc(opening->image->count + 1, sizeof *jobs);
    if (!jobs)
        return sfs_fail_memory(err);
    int r = sfs_image_order(opening->image, &order, err);
    if (r == 0)
        r = run_jobs(opening, order, false, jobs, err);
    if (r == 0)
        r = run_jobs(opening, order, true, jobs, err);
    if (r == 0 && opening->result < 0) {
        r = opening->result;
        sfs_fail(err, -r, "%s", opening->error.text);
    }
    return r;
}

int sfs_image_open_layers(struct sfs_image *image, struct sfs_store *store, struct sfs_cache *cache,
                          const struct sfs_progress *progress, struct sfs_layer ***ret_layers,
                          struct sfs_error *err)
{
    struct opening opening = {
        .image = image,
        .store = store,
        .cache = cache,
        .progress = progress,
        .layers = calloc(image->count + 1, sizeof *opening.layers),
    };
    if (!opening.layers)
        return sfs_fail_memory(err);
    image->store = store;
    pthread_mutex_init(&opening.lock, NULL);
    int r = open_all(&opening, err);
    pthread_mutex_destroy(&opening.lock);
    if (r < 0) {
        sfs_image_close_layers(&opening.layers, image->count);
        return sfs_fail_while(err, r, "%.200s", image->ref);
    }
    *ret_layers = opening.layers;
    return 0;
}

void sfs_image_close_layers(struct sfs_layer ***layers_ptr, size_t count)
{
    struct sfs_layer **layers = TAKE(*layers_ptr);
    for (size_t i = 0; layers && i < count; i++)
        sfs_layer_close(&layers[i]);
    free(layers);
}

static int compare_sizes(const void *a, const void *b, void *user)
{
    const struct sfs_image *image = user;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    uint64_t x = image->parts[i].layer.size, y = image->parts[j].layer.size;
    return x != y ? (x < y) - (x > y) : (i > j) - (i < j);
}

int sfs_image_order(struct sfs_image *image, size_t **ret_order, struct sfs_error *err)
{
    size_t *order = calloc(image->count + 1, sizeof *order);
    if (!order)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < image->count; i++)
        order[i] = i;
    qsort_r(order, image->count, sizeof *order, compare_sizes, image);
    *ret_order = order;
    return 0;
}

int sfs_image_open_pool(const struct sfs_image *image, struct sfs_pool **ret_pool,
                        struct sfs_error *err)
{
    unsigned cpus = sfs_cpus();
    if (image->members && image->members->is_remote && cpus < REMOTE_AT_ONCE)
        cpus = REMOTE_AT_ONCE;
    return sfs_pool_open(image->count < cpus ? (unsigned)image->count : cpus, ret_pool, err);
}
