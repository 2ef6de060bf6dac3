/* A library that does not survive being loaded, for test_bench_run.c. */
#include <stdlib.h>

__attribute__((constructor)) static void crash(void)
{
    abort();
}
