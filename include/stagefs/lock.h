/* A lock that is given back when the scope is left, as auto.h does for what is closed. */
#ifndef STAGEFS_LOCK_H
#define STAGEFS_LOCK_H

#include <pthread.h>
#include <stagefs/auto.h>

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
