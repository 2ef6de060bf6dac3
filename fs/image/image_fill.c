/* Filling up: layer after layer, in pieces, in one thread. It begins when no reader has waited for
 * the registry for some seconds, and lets the registry alone for minutes once that wants it. */
#include "image/parts.h"

#include "blob/blob_range.h"
#include "layer/tar_index.h"
#include <errno.h>
#include <time.h>

#define PIECE       (8u << 20)
#define IDLE_S      10u /* seconds without a reader that waits */
#define LEFT_S      60u /* seconds for which a registry is left alone at first */
#define MOST_LEFT_S 960u

struct sfs_image_fill {
    struct sfs_image *image;
    const struct sfs_progress *progress;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_ending;        /* guarded by lock */
    struct sfs_blob *blob; /* that is being filled; guarded by lock, for whoever ends it */
};

/* False: it is to end. */
static bool sleep_for(struct sfs_image_fill *fill, unsigned seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    LOCK(&fill->lock);
    while (!fill->is_ending &&
           pthread_cond_timedwait(&fill->changed, &fill->lock, &until) != ETIMEDOUT)
        continue;
    return !fill->is_ending;
}

static bool is_ending(struct sfs_image_fill *fill)
{
    LOCK(&fill->lock);
    return fill->is_ending;
}

/* Waits until no reader has waited for some seconds. False: it is to end. */
static bool wait_until_idle(struct sfs_image_fill *fill)
{
    struct sfs_range_stats stats;
    sfs_range_get_stats(&stats);
    uint64_t before = stats.demand;
    for (unsigned quiet = 0; quiet < IDLE_S; quiet++) {
        if (!sleep_for(fill, 1))
            return false;
        sfs_range_get_stats(&stats);
        if (stats.demand != before)
            quiet = 0;
        before = stats.demand;
    }
    return true;
}

static bool has_demand(uint64_t *before)
{
    struct sfs_range_stats stats;
    sfs_range_get_stats(&stats);
    bool has = stats.demand != *before;
    *before = stats.demand;
    return has;
}

/* 0: all of the blob is here. */
static int fill_blob(struct sfs_image_fill *fill, struct sfs_blob *blob, struct sfs_error *err)
{
    uint64_t demand = 0;
    unsigned left_s = LEFT_S;
    (void)has_demand(&demand);
    for (uint64_t at = 0; at < blob->size;) {
        if (has_demand(&demand) && !wait_until_idle(fill))
            return -ECANCELED;
        int r = sfs_blob_fill(blob, at, PIECE, err);
        if (r == 0) {
            at += PIECE;
            left_s = LEFT_S;
        } else if (r != -EAGAIN) {
            return r;
        } else if (!sleep_for(fill, left_s)) {
            return -ECANCELED;
        } else {
            left_s = left_s < MOST_LEFT_S ? 2 * left_s : left_s;
        }
    }
    return is_ending(fill) ? -ECANCELED : 0;
}

static void tell(const struct sfs_image_fill *fill, const char *text)
{
    if (fill->progress && fill->progress->warn)
        fill->progress->warn(fill->progress->user, text);
}

/* Makes the index of this host, in a pass that compares the layer with its digest. */
static int make_index(struct sfs_image_fill *fill, struct sfs_blob *blob,
                      const struct sfs_layer_source *source, struct sfs_index *ret_index,
                      struct sfs_error *err)
{
    struct sfs_store *store = fill->image->store;
    AUTO(sfs_store_unlock) struct sfs_store_lock lock = { .fd = -1 };
    int r = sfs_store_lock(store, source->key, &lock, err);
    if (r == 0)
        r = sfs_tar_index_open(store, source, blob->size, ret_index, err);
    if (r != -ENOENT)
        return r; /* somebody else made it meanwhile */
    r = sfs_tar_index_make(store, blob, source, NULL, err);
    return r == 0 ? sfs_tar_index_open(store, source, blob->size, ret_index, err) : r;
}

static int index_layer(struct sfs_image_fill *fill, size_t i, struct sfs_blob *blob,
                       struct sfs_error *err)
{
    char label[SFS_LAYER_LABEL], text[SFS_LAYER_LABEL + 160];
    AUTO(sfs_index_close) struct sfs_index index = { .fd = -1 };
    struct sfs_layer_source source =
        sfs_image_layer_source(fill->image, i, sfs_image_label(fill->image, i, label));
    int r = sfs_image_settle_codec(fill->image, i, blob, NULL, &source.codec, err);
    if (r == 0)
        r = make_index(fill, blob, &source, &index, err);
    if (r == 0 && !sfs_image_sent_is_same(fill->image, &source, &index)) {
        snprintf(text, sizeof text,
                 "%s: the index that the registry has of it is not what the layer holds: mount it "
                 "anew, by the index that was made here",
                 label);
        tell(fill, text);
    }
    return r;
}

static void set_blob(struct sfs_image_fill *fill, struct sfs_blob *blob)
{
    LOCK(&fill->lock);
    fill->blob = blob;
    if (blob && fill->is_ending)
        sfs_blob_stop(blob);
}

static int fill_layer(struct sfs_image_fill *fill, size_t i, struct sfs_error *err)
{
    struct sfs_layer_state state;
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    int r = sfs_image_open_blob(fill->image, i, &blob, err);
    if (r < 0)
        return r;
    set_blob(fill, blob);
    r = fill_blob(fill, blob, err);
    if (r == 0)
        r = sfs_layer_get_state(fill->image->store, fill->image->parts[i].key, &state, err);
    if (r == 0 && !state.indexed)
        r = index_layer(fill, i, blob, err);
    set_blob(fill, NULL);
    return r;
}

static void *run(void *arg)
{
    struct sfs_image_fill *fill = arg;
    sfs_thread_give_way();
    if (!wait_until_idle(fill))
        return NULL;
    for (size_t i = 0; i < fill->image->count && !is_ending(fill); i++) {
        struct sfs_error err;
        char label[SFS_LAYER_LABEL], text[sizeof err.text + SFS_LAYER_LABEL + 40];
        int r = fill_layer(fill, i, &err);
        if (r == 0 || r == -ECANCELED || is_ending(fill))
            continue;
        snprintf(text, sizeof text, "%s is not filled up: %s",
                 sfs_image_label(fill->image, i, label), err.text);
        tell(fill, text);
        if (r == -ENOSPC)
            break;
    }
    return NULL;
}

int sfs_image_fill_open(struct sfs_image *image, const struct sfs_progress *progress,
                        struct sfs_image_fill **ret_fill, struct sfs_error *err)
{
    *ret_fill = NULL;
    if (!image->members || !image->members->is_remote || !image->store)
        return 0;
    struct sfs_image_fill *fill = calloc(1, sizeof *fill);
    if (!fill)
        return sfs_fail_memory(err);
    fill->image = image;
    fill->progress = progress;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&fill->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&fill->lock, NULL);
    int r = sfs_thread_start(&fill->thread, run, fill, "fills up", err);
    if (r == 0) {
        *ret_fill = fill;
        return 0;
    }
    pthread_cond_destroy(&fill->changed);
    pthread_mutex_destroy(&fill->lock);
    free(fill);
    return r;
}

void sfs_image_fill_close(struct sfs_image_fill **fill_ptr)
{
    struct sfs_image_fill *fill = TAKE(*fill_ptr);
    if (!fill)
        return;
    {
        LOCK(&fill->lock);
        fill->is_ending = true;
        if (fill->blob)
            sfs_blob_stop(fill->blob);
        pthread_cond_broadcast(&fill->changed);
    }
    pthread_join(fill->thread, NULL);
    pthread_cond_destroy(&fill->changed);
    pthread_mutex_destroy(&fill->lock);
    free(fill);
}
