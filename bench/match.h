/* Patterns for paths: '*', '?' and '[...]' within a name, '**' for any number of directories. */
#ifndef BENCH_MATCH_H
#define BENCH_MATCH_H

#include <stdbool.h>

/* `path` is relative to the root. A '/' in front of the pattern is passed over; a pattern without
 * any '/' matches names in any directory. */
bool bench_path_matches(const char *pattern, const char *path);

#endif
