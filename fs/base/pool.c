/* One lock, three queues, one condition: jobs are milliseconds long, so the lock is not where time
 * goes. */
#include "base/pool.h"

#include "base/banned.h"
#include "base/thread.h"
#include <errno.h>
#include <stagefs/auto.h>
#include <stagefs/cache.h>
#include <stdbool.h>

struct pool_job {
    void (*run)(void *arg);
    void *arg;
    struct pool_job *next;
};

struct queue {
    struct pool_job *first;
    struct pool_job **end;
};

#define PRIORITIES  3
#define MAX_THREADS 256u

struct sfs_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct queue queues[PRIORITIES]; /* guarded by lock */
    bool closing;                    /* guarded by lock */
    unsigned thread_count;
    pthread_t threads[MAX_THREADS];
};

static struct pool_job *take_first(struct sfs_pool *pool)
{
    for (int i = 0; i < PRIORITIES; i++) {
        struct queue *queue = &pool->queues[i];
        struct pool_job *job = queue->first;
        if (!job)
            continue;
        queue->first = job->next;
        if (!queue->first)
            queue->end = &queue->first;
        return job;
    }
    return NULL;
}

/* Waits for the next job. NULL: the pool is closing, and none is left. */
static struct pool_job *next_job(struct sfs_pool *pool)
{
    LOCK(&pool->lock);
    for (;;) {
        struct pool_job *job = take_first(pool);
        if (job || pool->closing)
            return job;
        pthread_cond_wait(&pool->wake, &pool->lock);
    }
}

static void *work(void *arg)
{
    struct sfs_pool *pool = arg;
    struct pool_job *job;
    sfs_thread_give_way();
    while ((job = next_job(pool))) {
        job->run(job->arg);
        free(job);
    }
    return NULL;
}

int sfs_pool_open(unsigned threads, struct sfs_pool **ret_pool, struct sfs_error *err)
{
    if (threads == 0)
        threads = sfs_cpus();
    if (threads > MAX_THREADS)
        threads = MAX_THREADS;
    AUTO(sfs_pool_close) struct sfs_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return sfs_fail_memory(err);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (int i = 0; i < PRIORITIES; i++)
        pool->queues[i].end = &pool->queues[i].first;

    int r = 0;
    while (r == 0 && pool->thread_count < threads) {
        r = sfs_thread_start(&pool->threads[pool->thread_count], work, pool, "works", err);
        if (r == 0)
            pool->thread_count++;
    }
    if (pool->thread_count == 0)
        return r;
    *ret_pool = TAKE(pool);
    return 0;
}

int sfs_pool_submit(struct sfs_pool *pool, enum sfs_pool_priority priority, void (*run)(void *arg),
                    void *arg)
{
    struct pool_job *job = malloc(sizeof *job);
    if (!job)
        return -ENOMEM;
    *job = (struct pool_job){ .run = run, .arg = arg };
    LOCK(&pool->lock);
    struct queue *queue = &pool->queues[priority];
    *queue->end = job;
    queue->end = &job->next;
    pthread_cond_signal(&pool->wake);
    return 0;
}

unsigned sfs_pool_threads(const struct sfs_pool *pool)
{
    return pool->thread_count;
}

static void tell_to_end(struct sfs_pool *pool)
{
    LOCK(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->wake);
}

void sfs_pool_close(struct sfs_pool **pool_ptr)
{
    struct sfs_pool *pool = *pool_ptr;
    if (!pool)
        return;
    *pool_ptr = NULL;
    tell_to_end(pool);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

static struct sfs_pool *take_pool(struct sfs_pool **pool, pthread_mutex_t *lock)
{
    LOCK(lock);
    return TAKE(*pool);
}

void sfs_pool_close_shared(struct sfs_pool **pool, pthread_mutex_t *lock)
{
    AUTO(sfs_pool_close) struct sfs_pool *taken = take_pool(pool, lock);
}
