/* Running a command with a directory as its root. */
#ifndef BENCH_ROOT_H
#define BENCH_ROOT_H

#include "bench.h"

/* Runs `command` by the root's /bin/sh: a value "total", from exec to its end. In a mount
 * namespace of its own, with the machine's /proc, /dev and /sys, an empty /tmp, and (where there
 * is one) the machine's NVIDIA driver in /tmp/.driver. With options->no_root: by this machine's
 * sh, with the directory as the current one. With options->workdir, options->user and options->env
 * as an image's config has them. */
void bench_root_run(const struct bench_options *options, const struct bench_dir *dir,
                    const char *command, struct bench_result *result);

#endif
