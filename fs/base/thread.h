/* Threads, locks and processors. */
#ifndef STAGEFS_THREAD_H
#define STAGEFS_THREAD_H

#include <pthread.h>
#include <stagefs/auto.h>
#include <stagefs/error.h>
#include <stagefs/lock.h>

/* Starts a thread of the library: signals are blocked in it, so that they reach the program's own
 * threads. `what` names it in the error: "starting a thread that WHAT". The caller joins it. */
int sfs_thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg, const char *what,
                     struct sfs_error *err);

/* From now on the calling thread goes behind others of this process where cores are few. For what
 * is not on the longest path: decoding one stream cannot be parted, digesting it can wait. */
void sfs_thread_give_way(void);

#endif
