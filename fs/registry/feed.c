/* A ring: the thread fills it at its end, the network takes from its start. When the network begins
 * anew somewhere else, what the thread is just reading is thrown away (`generation`). */
#include "registry/feed.h"

#include "base/hash.h"
#include "base/thread.h"
#include <errno.h>
#include <inttypes.h>

#define RING  (4u << 20)
#define BLOCK (256u << 10) /* is read at once; a part of the ring */

struct sfs_feed {
    struct sfs_http *http;
    const struct sfs_upload *upload;
    pthread_t thread;
    bool has_thread;
    char *ring;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* there is room, or it begins anew */
    /* All below is guarded by lock. */
    uint64_t start, end; /* of what is in the ring: offsets in the source */
    unsigned generation;
    bool stopping, starved, ended;
    int result;
    struct sfs_error error;
    struct sfs_hash *hash; /* of the bytes before `hashed`; only the thread touches it */
    uint64_t hashed;
};

static size_t least(uint64_t a, uint64_t b)
{
    return (size_t)(a < b ? a : b);
}

/* ---- the thread */

/* Where to read next, and how much; false: the feed is closed. */
static bool wait_for_room(struct sfs_feed *feed, uint64_t *ret_offset, size_t *ret_size,
                          unsigned *ret_generation)
{
    LOCK(&feed->lock);
    while (!feed->stopping &&
           (feed->ended || feed->result < 0 || feed->end - feed->start + BLOCK > RING))
        pthread_cond_wait(&feed->changed, &feed->lock);
    *ret_offset = feed->end;
    *ret_size = least(BLOCK, RING - feed->end % RING);
    *ret_generation = feed->generation;
    return !feed->stopping;
}

static int digest(struct sfs_feed *feed, const char *data, size_t size, uint64_t offset)
{
    if (offset == 0) {
        sfs_hash_close(&feed->hash);
        feed->hash = sfs_hash_open();
        feed->hashed = 0;
    }
    if (offset != feed->hashed) {
        feed->hashed = UINT64_MAX; /* something was left out: the registry digests it, too */
        return 0;
    }
    feed->hashed += size;
    return feed->hash ? sfs_hash_add(feed->hash, data, size) : -ENOMEM;
}

static int check_end(struct sfs_feed *feed, uint64_t end, struct sfs_error *err)
{
    const struct sfs_upload *upload = feed->upload;
    struct sfs_digest found;
    char text[SFS_DIGEST_TEXT];
    if (upload->is_growing)
        return 0;
    if (end < upload->size)
        return sfs_fail(err, EIO, "%s became shorter while it was read",
                        sfs_digest_print(&upload->digest, text));
    if (end > 0 && feed->hashed != end)
        return 0;
    if (end == 0 ? sfs_digest_of("", 0, &found) < 0 : sfs_hash_finish(feed->hash, &found) < 0)
        return sfs_fail_memory(err);
    if (!sfs_digest_equal(&found, &upload->digest))
        return sfs_fail(err, EKEYREJECTED,
                        "the bytes of %s have another digest: the source is damaged",
                        sfs_digest_print(&upload->digest, text));
    return 0;
}

/* Reads the next bytes into the ring, where nobody else is now. */
static ssize_t read_block(struct sfs_feed *feed, uint64_t offset, size_t size, bool *ret_ended,
                          struct sfs_error *err)
{
    const struct sfs_upload *upload = feed->upload;
    char *place = feed->ring + offset % RING;
    if (!upload->is_growing)
        size = least(size, upload->size - offset);
    ssize_t n = size ? upload->read_at(upload->user, place, size, offset, err) : 0;
    if (n < 0)
        return n;
    if (digest(feed, place, (size_t)n, offset) < 0)
        return sfs_fail_memory(err);
    uint64_t end = offset + (uint64_t)n;
    *ret_ended = n == 0 || (!upload->is_growing && end == upload->size);
    int r = *ret_ended ? check_end(feed, end, err) : 0;
    return r < 0 ? r : n;
}

static void *run(void *arg)
{
    struct sfs_feed *feed = arg;
    uint64_t offset;
    size_t size;
    unsigned generation;
    while (wait_for_room(feed, &offset, &size, &generation)) {
        struct sfs_error error;
        bool ended = false, wake = false;
        ssize_t n = read_block(feed, offset, size, &ended, &error);
        pthread_mutex_lock(&feed->lock);
        if (generation == feed->generation) {
            feed->end += n > 0 ? (uint64_t)n : 0;
            feed->ended = ended;
            feed->result = n < 0 ? (int)n : 0;
            if (n < 0)
                feed->error = error;
            wake = feed->starved;
            feed->starved = false;
        }
        pthread_mutex_unlock(&feed->lock);
        if (wake)
            sfs_http_wake(feed->http);
    }
    return NULL;
}

/* ---- for the others */

int sfs_feed_open(struct sfs_http *http, const struct sfs_upload *upload,
                  struct sfs_feed **ret_feed, struct sfs_error *err)
{
    AUTO(sfs_feed_close) struct sfs_feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return sfs_fail_memory(err);
    feed->http = http;
    feed->upload = upload;
    pthread_mutex_init(&feed->lock, NULL);
    pthread_cond_init(&feed->changed, NULL);
    feed->ring = malloc(RING);
    if (!feed->ring)
        return sfs_fail_memory(err);
    int r = sfs_thread_start(&feed->thread, run, feed, "reads what is uploaded", err);
    if (r < 0)
        return r;
    feed->has_thread = true;
    *ret_feed = TAKE(feed);
    return 0;
}

void sfs_feed_close(struct sfs_feed **feed_ptr)
{
    struct sfs_feed *feed = *feed_ptr;
    if (!feed)
        return;
    *feed_ptr = NULL;
    pthread_mutex_lock(&feed->lock);
    feed->stopping = true;
    pthread_cond_broadcast(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
    if (feed->has_thread)
        pthread_join(feed->thread, NULL);
    sfs_hash_close(&feed->hash);
    pthread_cond_destroy(&feed->changed);
    pthread_mutex_destroy(&feed->lock);
    free(feed->ring);
    free(feed);
}

static void begin_at(struct sfs_feed *feed, uint64_t offset)
{
    feed->generation++;
    feed->start = feed->end = offset;
    feed->ended = false;
    feed->result = 0;
    pthread_cond_broadcast(&feed->changed);
}

ssize_t sfs_feed_read(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err)
{
    struct sfs_feed *feed = user;
    LOCK(&feed->lock);
    if (offset != feed->start)
        begin_at(feed, offset);
    if (feed->result < 0)
        return sfs_fail(err, -feed->result, "%s", feed->error.text);
    size_t place = (size_t)(feed->start % RING);
    size_t n = least(least(size, feed->end - feed->start), RING - place);
    if (n == 0 && !feed->ended) {
        feed->starved = true;
        return -EAGAIN;
    }
    memcpy(buf, feed->ring + place, n);
    feed->start += n;
    pthread_cond_broadcast(&feed->changed);
    return (ssize_t)n;
}

uint64_t sfs_feed_size(struct sfs_feed *feed)
{
    LOCK(&feed->lock);
    return feed->end;
}

int sfs_feed_failure(struct sfs_feed *feed, struct sfs_error *err)
{
    LOCK(&feed->lock);
    return feed->result < 0 ? sfs_fail(err, -feed->result, "%s", feed->error.text) : 0;
}
