/* Which bytes of a window are ever looked at: mostly few. The others can be anything, so zeros,
 * which compress to nothing. One thread at a time. */
#ifndef STAGEFS_UNPACK_WINDOW_H
#define STAGEFS_UNPACK_WINDOW_H

#include "base/banned.h"
#include <stddef.h>
#include <stdint.h>

struct sfs_window_pruner;
/* A new one, which the caller closes. NULL: out of memory. */
struct sfs_window_pruner *sfs_window_pruner_open(void);
/* Frees, and sets NULL; NULL is fine. */
void sfs_window_pruner_close(struct sfs_window_pruner **pruner);

/* Zeroes those bytes of the window to which the deflate data at `in` does not refer; the first
 * `bits` bits of that data are the high ones of `byte`. Leaves the window as it is if `in` is too
 * short to tell. */
void sfs_window_prune(struct sfs_window_pruner *pruner, uint8_t byte, unsigned bits,
                      const uint8_t *in, size_t in_size, uint8_t *window, size_t size);

#endif
