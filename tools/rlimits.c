/* How many files and how much memory the process may take, and what is reserved of it. */
#include "rlimits.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>

/* A thread reserves 8 MiB for its stack and an arena of malloc() 64 MiB, though little of that is
 * ever touched: of a limited address space nothing would be left. */
#define STACK  (1u << 20)
#define ARENAS 2
/* The rest is for indexes, which are mapped, decoders and requests in flight. */
#define CACHE_SHARE 4u
#define MOST        (256ull << 20) /* what is kept without a limit */

void rlimits_raise_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

uint64_t rlimits_fit_memory(void)
{
    struct rlimit space;
    pthread_attr_t attributes;
    if (getrlimit(RLIMIT_AS, &space) < 0 || space.rlim_cur == RLIM_INFINITY)
        return 0;
    mallopt(M_ARENA_MAX, ARENAS);
    if (pthread_attr_init(&attributes) == 0) {
        if (pthread_attr_setstacksize(&attributes, STACK) == 0)
            pthread_setattr_default_np(&attributes);
        pthread_attr_destroy(&attributes);
    }
    uint64_t share = space.rlim_cur / CACHE_SHARE;
    return share < MOST ? share : 0;
}
