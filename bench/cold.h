/* Making the next run a first one: nothing of it in the page cache, of the mount or of what the
 * mount reads. */
#ifndef BENCH_COLD_H
#define BENCH_COLD_H

#include "bench.h"

/* Can that be done here? Tries it. -1: the reason says why not. */
int bench_cold_check(struct bench_reason *reason);

/* Runs the --before-cold commands, drops the pages of `plan` (may be NULL) under `dir` and of
 * --drop-extra files, then of everything. -1: a command failed, or the kernel refused. */
int bench_cold_make(const struct bench_options *options, const struct bench_dir *dir,
                    const struct bench_list *plan, struct bench_reason *reason);

#endif
