/* The needed ones are opened first, each by its full path: the loader then finds them by their
 * soname, so every back end loads its own files wherever they lie, and nothing else's. */
#include "load.h"

#include "child.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int make_environment(struct bench_list *env)
{
    for (char **one = environ; *one; one++)
        if (strncmp(*one, "LD_", 3) != 0 && bench_list_add(env, *one) < 0)
            return -1;
    return 0;
}

void bench_load_spawn(const char *mode, const struct bench_dir *dir, const struct bench_list *plan,
                      unsigned timeout_s, struct bench_result *result)
{
    AUTO(bench_list_close) struct bench_list env = { 0 };
    AUTO(sfs_free) const char **argv = calloc(plan->count + 5, sizeof *argv);
    char delay[16];
    if (!argv || make_environment(&env) < 0) {
        *result = (struct bench_result){ .failed = true, .reason = { "out of memory" } };
        return;
    }
    snprintf(delay, sizeof delay, "%u", dir->delay_ms);
    argv[0] = "/proc/self/exe";
    argv[1] = mode;
    argv[2] = delay;
    argv[3] = dir->path;
    for (size_t i = 0; i < plan->count; i++)
        argv[4 + i] = plan->items[i];
    struct bench_child child = { .argv = (char *const *)(uintptr_t)argv,
                                 .env = &env,
                                 .timeout_s = timeout_s };
    bench_child_run(&child, result);
}

void bench_load_run(const struct bench_dir *dir, const struct bench_list *plan, unsigned timeout_s,
                    struct bench_result *result)
{
    bench_load_spawn("--child-load", dir, plan, timeout_s, result);
}

/* NULL with the reason; *ret_there says whether the file at least is there. */
static void *open_one(const char *root, const char *name, bool *ret_there, char *reason,
                      size_t size)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", root, name);
    *ret_there = false;
    if (n < 0 || (size_t)n >= sizeof path) {
        snprintf(reason, size, "a path is too long");
        return NULL;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!handle) {
        snprintf(reason, size, "%s", dlerror());
        *ret_there = access(path, R_OK) == 0;
    }
    return handle;
}

void *bench_load_all(const char *root, char **paths, int count, char *reason, size_t size)
{
    void *handle = NULL;
    bool there, missed = false;
    snprintf(reason, size, "nothing to load");
    for (int i = 0; i < count; i++) {
        handle = open_one(root, paths[i], &there, reason, size);
        if (!handle && !there)
            return NULL;
        missed |= !handle && i < count - 1;
    }
    /* Some (libtorch_nvshmem) use symbols of libraries that they do not say they need; with those
     * loaded by now, another try works. What has loaded is only counted again. */
    for (int i = 0; missed && i < count; i++)
        handle = open_one(root, paths[i], &there, reason, size);
    return handle;
}

void bench_load_delay(const char *delay_ms)
{
    long ms = strtol(delay_ms, NULL, 10);
    struct timespec delay = { ms / 1000, ms % 1000 * 1000000 };
    if (ms > 0)
        nanosleep(&delay, NULL);
}

int bench_load_child(int argc, char **argv)
{
    char reason[512];
    if (argc < 3)
        return 2;
    double start = bench_now();
    bench_load_delay(argv[0]);
    if (!bench_load_all(argv[1], argv + 2, argc - 2, reason, sizeof reason)) {
        bench_tell_failed(reason);
        return 1;
    }
    bench_tell_value("dlopen", bench_now() - start);
    /* No destructors: they are not what is measured, and some libraries do not survive theirs. */
    _exit(0);
}
