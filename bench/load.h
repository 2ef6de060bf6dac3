/* Loading a library and what it needs of its tree in a fresh process. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench.h"

/* Times dlopen of `plan` (from bench_tree_plan) under `dir`: a value "dlopen". */
void bench_load_run(const struct bench_dir *dir, const struct bench_list *plan, unsigned timeout_s,
                    struct bench_result *result);

/* The child's side; argv is what follows "--child-load": DELAY_MS ROOT PATH... Returns the exit
 * status. */
int bench_load_child(int argc, char **argv);

/* For every child that loads: opens ROOT/PATH for each path. Returns the last one's handle, or NULL
 * with the reason. */
void *bench_load_all(const char *root, char **paths, int count, char *reason, size_t size);
/* Sleeps for so many milliseconds as the text says. */
void bench_load_delay(const char *delay_ms);

/* Runs this program in the child mode `mode` with DELAY_MS ROOT PLAN..., in our environment
 * without what changes the loader's ways. */
void bench_load_spawn(const char *mode, const struct bench_dir *dir, const struct bench_list *plan,
                      unsigned timeout_s, struct bench_result *result);

#endif
