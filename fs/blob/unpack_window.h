/* Which bytes of a window are ever looked at: mostly few. The others can be anything, so zeros,
 * which compress to nothing. One thread at a time. */
#ifndef STAGEFS_UNPACK_WINDOW_H
#define STAGEFS_UNPACK_WINDOW_H

#include "base/banned.h"
#include <stddef.h>
#include <stdint.h>

struct sfs_window_pruner;
struct sfs_window_pruner *sfs_window_pruner_open(void); /* NULL: out of memory */
void sfs_window_pruner_close(struct sfs_window_pruner **pruner);

/* Zeroes what the deflate data at `in` does not refer to; its first `bits` bits are the high ones
 * of `byte`. Leaves the window as it is if `in` is too short to tell. */
void sfs_window_prune(struct sfs_window_pruner *pruner, uint8_t byte, unsigned bits,
                      const uint8_t *in, size_t in_size, uint8_t *window, size_t size);

#endif
