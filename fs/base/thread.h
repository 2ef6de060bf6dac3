/* Threads, locks and processors. */
#ifndef STAGEFS_THREAD_H
#define STAGEFS_THREAD_H

#include <pthread.h>
#include <stagefs/auto.h>
#include <stagefs/error.h>

/* Starts a thread of the library: signals are blocked in it, so that they reach the program's own
 * threads. `what` names it in the error: "starting a thread that WHAT". The caller joins it. */
int sfs_thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg, const char *what,
                     struct sfs_error *err);

/* From now on the calling thread goes behind others of this process where cores are few. For what
 * is not on the longest path: decoding one stream cannot be parted, digesting it can wait. */
void sfs_thread_give_way(void);

/* LOCK(&thing->mutex); holds the mutex until the scope is left. The functions and macros below are
 * what it is made of; nothing else calls them. */
#define LOCK(mutex)       LOCK_AT_(mutex, __LINE__)
#define LOCK_AT_(m, line) LOCK_NAMED_(m, line)
#define LOCK_NAMED_(m, line)                                                                       \
    AUTO(sfs_unlock) pthread_mutex_t *sfs_locked_##line __attribute__((unused)) = sfs_lock(m)

static inline pthread_mutex_t *sfs_lock(pthread_mutex_t *mutex)
{
    pthread_mutex_lock(mutex);
    return mutex;
}

static inline void sfs_unlock(pthread_mutex_t **mutex)
{
    pthread_mutex_unlock(*mutex);
}

#endif
