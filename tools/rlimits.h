/* What the process may have, by its resource limits (ulimit), and how it fits into that. */
#ifndef STAGEFS_RLIMITS_H
#define STAGEFS_RLIMITS_H

#include <stdint.h>

/* Raises the soft limit of open files to the hard one: each layer is a file, and each thread of a
 * mount has one. Programs that are started inherit it, and some old ones cannot bear it: only for
 * commands that start none. */
void rlimits_raise_files(void);

/* Where the address space is limited: makes threads and malloc() reserve less of it; to be called
 * before threads are started. Returns how many bytes may be kept decoded in memory; 0: as many as
 * without a limit. */
uint64_t rlimits_fit_memory(void);

#endif
