/* The memory cache as a whole. Its slots live in slots.c, its memory in spares.c. */
#include "blob/slots.h"

#include "base/thread.h"

int sfs_cache_open(uint64_t budget, unsigned threads, struct sfs_cache **ret_cache,
                   struct sfs_error *err)
{
    AUTO(sfs_free) struct sfs_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return sfs_fail_memory(err);
    cache->unused.next = cache->unused.previous = &cache->unused;
    int r = sfs_pool_open(threads, &cache->pool, err);
    if (r < 0)
        return r;
    sfs_spares_init(&cache->spares, budget ? budget : SFS_CACHE_DEFAULT,
                    sfs_pool_threads(cache->pool));
    pthread_mutex_init(&cache->lock, NULL);
    *ret_cache = TAKE(cache);
    return 0;
}

void sfs_cache_close(struct sfs_cache **cache_ptr)
{
    struct sfs_cache *cache = *cache_ptr;
    if (!cache)
        return;
    *cache_ptr = NULL;
    sfs_pool_close(&cache->pool);
    sfs_spares_done(&cache->spares);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

void sfs_cache_get_stats(struct sfs_cache *cache, struct sfs_cache_stats *ret_stats)
{
    LOCK(&cache->lock);
    *ret_stats = cache->stats;
    ret_stats->budget = cache->spares.budget;
    ret_stats->used = cache->spares.used;
}

void sfs_cache_drop(struct sfs_cache *cache)
{
    LOCK(&cache->lock);
    while (sfs_slots_evict(cache))
        continue;
}
