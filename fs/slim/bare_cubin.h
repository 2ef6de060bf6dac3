/* Cubins that stand in a library as a zstd frame each, with no fat binary around them: cuBLASLt has
 * a table of its own of some hundreds. */
#ifndef STAGEFS_BARE_CUBIN_H
#define STAGEFS_BARE_CUBIN_H

#include "slim/fatbin.h"
#include "slim/window.h"

#define SFS_BARE_START 16u /* bytes that sfs_bare_cubin_may_start() looks at */
#define SFS_BARE_ALIGN 16u /* each begins at a multiple of it */

/* Is this how a zstd frame begins that says how large it is decoded? */
bool sfs_bare_cubin_may_start(const void *bytes);

/* Reads what is at `offset`, which may start one, and ends before `end`. Returns 1 if it is a whole
 * frame that begins with a cubin, of *ret_size compressed bytes; 0 if not. The architecture is what
 * the cubin says. Waits for the source; a negative errno is the source's, or -ENOMEM. */
int sfs_bare_cubin_read(struct sfs_window *window, struct sfs_fatbin_decoder *decoder,
                        uint64_t offset, uint64_t end, uint64_t *ret_size, unsigned *ret_arch,
                        struct sfs_error *err);

#endif
