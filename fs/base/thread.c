/* How the library's threads start, and how one gives way to others. */
#include "base/thread.h"

#include "base/banned.h"
#include <sched.h>
#include <signal.h>
#include <stagefs/cache.h>

int sfs_thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg, const char *what,
                     struct sfs_error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(ret_thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code ? sfs_fail_errno(err, code, "starting a thread that %s", what) : 0;
}

void sfs_thread_give_way(void)
{
    /* Linux keeps a nice value for each thread. If it cannot be had, nothing is lost but time. */
    if (nice(5) < 0)
        return;
}

unsigned sfs_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (unsigned)count : 1;
}
