/* A fixed set of worker threads with three queues: what somebody waits for goes first.
 * Used by blob/ (decoding ahead), mount/ (storing ahead) and commit/ (compressing). The workers
 * give way to the threads of those who wait. Thread-safe. */
#ifndef STAGEFS_POOL_H
#define STAGEFS_POOL_H

#include <pthread.h>
#include <stagefs/error.h>

struct sfs_pool;

enum sfs_pool_priority {
    SFS_POOL_DEMAND,     /* somebody is waiting */
    SFS_POOL_AHEAD,      /* read-ahead of a running reader */
    SFS_POOL_BACKGROUND, /* what a profile names, and fills: nobody is waiting */
};

/* Starts the threads; 0: one for each CPU that this process may use (sched_getaffinity). The caller
 * closes the pool. */
int sfs_pool_open(unsigned threads, struct sfs_pool **ret_pool, struct sfs_error *err);
/* Queues run(arg), which runs once on a worker; does not wait. `arg` must live until then. -ENOMEM:
 * it will not run. */
int sfs_pool_submit(struct sfs_pool *pool, enum sfs_pool_priority priority, void (*run)(void *arg),
                    void *arg);
/* How many worker threads there are. */
unsigned sfs_pool_threads(const struct sfs_pool *pool);
/* Runs what is queued, waits for it, frees, and sets NULL; NULL is fine. */
void sfs_pool_close(struct sfs_pool **pool);
/* The same for a pool that others submit to while they hold `lock`: it is taken away under the
 * lock, so that they find NULL, and waited for without it. */
void sfs_pool_close_shared(struct sfs_pool **pool, pthread_mutex_t *lock);

#endif
