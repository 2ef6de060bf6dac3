/* Memory: the budget, what is evicted for it, and buffers and decoders that are used again. */
#include "blob/slots.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/param.h>

#define HUGE_PAGE (2u << 20)
/* A share of the budget is for what is not counted: stacks, malloc's gaps, input of small spans. */
#define UNCHARGED_SHARE 16u
/* A decoder with the input of a span takes no more, unless its window is large. */
#define DECODER_MAX (2u << 20)

int sfs_cache_open(uint64_t budget, unsigned threads, struct sfs_cache **ret_cache,
                   struct sfs_error *err)
{
    AUTO(sfs_free) struct sfs_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return sfs_fail_memory(err);
    cache->stats.budget = budget ? budget : SFS_CACHE_DEFAULT;
    cache->limit = cache->stats.budget - cache->stats.budget / UNCHARGED_SHARE;
    cache->unused.next = cache->unused.previous = &cache->unused;
    int r = sfs_pool_open(threads, &cache->pool, err);
    if (r < 0)
        return r;
    pthread_mutex_init(&cache->lock, NULL);
    *ret_cache = TAKE(cache);
    return 0;
}

static void free_buffer(struct sfs_cache *cache, struct sfs_buffer *buffer)
{
    if (buffer->data)
        munmap(buffer->data, buffer->capacity);
    cache->stats.used -= buffer->capacity;
    *buffer = (struct sfs_buffer){ 0 };
}

static void free_box(struct sfs_cache *cache, struct sfs_decoder_box *box)
{
    cache->stats.used -= box->charged;
    cache->decoding -= box->charged;
    sfs_span_decoder_close(&box->decoder);
    free(box);
}

void sfs_cache_close(struct sfs_cache **cache_ptr)
{
    struct sfs_cache *cache = *cache_ptr;
    if (!cache)
        return;
    *cache_ptr = NULL;
    sfs_pool_close(&cache->pool);
    while (cache->boxes) {
        struct sfs_decoder_box *box = cache->boxes;
        cache->boxes = box->next;
        free_box(cache, box);
    }
    for (int i = 0; i < SFS_FREE_BUFFERS; i++)
        free_buffer(cache, &cache->buffers[i]);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

void sfs_cache_get_stats(struct sfs_cache *cache, struct sfs_cache_stats *ret_stats)
{
    pthread_mutex_lock(&cache->lock);
    *ret_stats = cache->stats;
    pthread_mutex_unlock(&cache->lock);
}

struct sfs_decoder_box *sfs_cache_take_decoder(struct sfs_cache *cache)
{
    struct sfs_decoder_box *box = cache->boxes;
    if (box) {
        cache->boxes = box->next;
        cache->box_count--;
        cache->resting -= box->charged;
        return box;
    }
    box = calloc(1, sizeof *box);
    if (box)
        box->decoder = sfs_span_decoder_open();
    if (!box || !box->decoder) {
        free(box);
        return NULL;
    }
    sfs_cache_charge_decoder(cache, box);
    return box;
}

void sfs_cache_charge_decoder(struct sfs_cache *cache, struct sfs_decoder_box *box)
{
    size_t memory = sfs_span_decoder_memory(box->decoder);
    cache->stats.used += memory - box->charged;
    cache->decoding += memory - box->charged;
    box->charged = memory;
}

void sfs_cache_give_decoder(struct sfs_cache *cache, struct sfs_decoder_box *box)
{
    sfs_cache_charge_decoder(cache, box); /* zstd's window came while it ran */
    bool is_large = box->charged > MAX(cache->stats.budget / 32, DECODER_MAX);
    bool are_many = cache->resting + box->charged > cache->stats.budget / 4 ||
                    cache->box_count > sfs_pool_threads(cache->pool);
    if (is_large || are_many) {
        free_box(cache, box);
        return;
    }
    cache->resting += box->charged;
    box->next = cache->boxes;
    cache->boxes = box;
    cache->box_count++;
}

static bool evict_one(struct sfs_cache *cache)
{
    for (int i = 0; i < SFS_FREE_BUFFERS; i++) {
        if (cache->buffers[i].data) {
            free_buffer(cache, &cache->buffers[i]);
            return true;
        }
    }
    struct sfs_slot *oldest = cache->unused.next;
    if (oldest == &cache->unused)
        return false;
    cache->stats.evicted += oldest->filled;
    sfs_slot_free(cache, oldest);
    return true;
}

void sfs_cache_trim(struct sfs_cache *cache)
{
    while (cache->stats.used > cache->limit && evict_one(cache))
        continue;
}

void sfs_cache_drop(struct sfs_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    while (evict_one(cache))
        continue;
    pthread_mutex_unlock(&cache->lock);
}

static bool reuse_buffer(struct sfs_cache *cache, size_t capacity, struct sfs_buffer *ret_buffer)
{
    for (int i = 0; i < SFS_FREE_BUFFERS; i++) {
        struct sfs_buffer *buffer = &cache->buffers[i];
        if (buffer->capacity >= capacity && buffer->capacity <= 2 * capacity) {
            *ret_buffer = *buffer;
            *buffer = (struct sfs_buffer){ 0 };
            return true;
        }
    }
    return false;
}

/* Mapped, not from malloc: buffers of a megabyte of many sizes left a third as much again in its
 * arenas' gaps, and the budget is meant for the whole process. Whole huge pages are asked for: a
 * fault for each small one costs as much as decoding a tenth of it. */
static uint8_t *allocate(size_t capacity)
{
    void *data = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return NULL;
    if (capacity >= HUGE_PAGE)
        madvise(data, capacity / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    return data;
}

bool sfs_cache_take_buffer(struct sfs_cache *cache, size_t size, enum sfs_slot_reason reason,
                           struct sfs_buffer *ret_buffer)
{
    size_t capacity = (size + 65535) & ~(size_t)65535;
    uint64_t budget = cache->limit;
    /* With many threads and a small budget it is decoders that take most. */
    uint64_t left = budget - MIN(cache->decoding, budget);
    if (reason != SFS_SLOT_DEMAND && cache->ahead + capacity > left / 2)
        return false;
    for (;;) {
        if (reuse_buffer(cache, capacity, ret_buffer))
            return true;
        if (cache->stats.used + capacity <= budget)
            break;
        if (reason == SFS_SLOT_FILL)
            return false;
        if (!evict_one(cache)) {
            if (reason == SFS_SLOT_DEMAND)
                break;
            return false;
        }
    }
    *ret_buffer = (struct sfs_buffer){ allocate(capacity), capacity };
    if (!ret_buffer->data)
        return false;
    cache->stats.used += capacity;
    return true;
}

void sfs_cache_give_buffer(struct sfs_cache *cache, struct sfs_buffer *buffer)
{
    for (int i = 0; i < SFS_FREE_BUFFERS && cache->stats.used <= cache->limit; i++) {
        if (!cache->buffers[i].data) {
            cache->buffers[i] = *buffer;
            return;
        }
    }
    free_buffer(cache, buffer);
}
