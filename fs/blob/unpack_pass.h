/* The pipe of a pass as its decoder sees it: compressed blocks in, decoded blocks and points out.
 * Everything here is called on the decoder's thread. What returns an int returns 0 or a negative
 * errno; -ECANCELED, without words, if the pass is being closed. */
#ifndef STAGEFS_UNPACK_PASS_H
#define STAGEFS_UNPACK_PASS_H

#include "blob/blob.h"
#include "blob/unpack.h"
#include "blob/unpack_points.h"

#define SFS_PASS_BLOCK (1u << 20) /* bytes of a block, compressed or decoded, at most */

/* A point that is found now may lie so many bytes of input before where the decoder is: behind them
 * may be a gzip header or a block header. */
#define SFS_PASS_LAG (SFS_PASS_BLOCK / 2)

struct sfs_pass;

/* Lends the next compressed block; *ret_size 0 at the end. It stays valid until the call after the
 * next one. Waits for the disk. */
int sfs_pass_input(struct sfs_pass *pass, const uint8_t **ret_data, size_t *ret_size,
                   struct sfs_error *err);

/* Lends room for SFS_PASS_BLOCK decoded bytes; the last SFS_WINDOW_MAX decoded bytes lie in memory
 * in front of it. Waits until there is room in the ring. */
int sfs_pass_output(struct sfs_pass *pass, uint8_t **ret_data, struct sfs_error *err);
/* Hands out the first `size` bytes of that room, which were written. */
int sfs_pass_deliver(struct sfs_pass *pass, size_t size, struct sfs_error *err);

/* The wanted distance of points, in decoded bytes, at decoded offset `out`. */
uint32_t sfs_pass_spacing(const struct sfs_pass *pass);
/* Adds a point: the stream can be entered at `out` (see struct sfs_point). `window` is copied; size
 * 0: none is needed. Ignored once all goes to a copy. E2BIG: too many points. */
int sfs_pass_add_point(struct sfs_pass *pass, uint64_t out, uint64_t in, uint8_t bits,
                       const void *window, size_t window_size, struct sfs_error *err);
/* Tells that a frame, or gzip member, begins. */
void sfs_pass_note_frame(struct sfs_pass *pass);
/* Tells that data ends here, at byte `in_end` of the blob; what follows is ignored. */
void sfs_pass_end(struct sfs_pass *pass, uint64_t in_end);

/* Has everything go to a seekable copy from here on, since this blob cannot be entered where it
 * should be. `why` is told where there may be no copy (ENOTSUP). Between blocks only. Waits: what
 * was decoded so far is decoded again. */
int sfs_pass_start_copy(struct sfs_pass *pass, const char *why, struct sfs_error *err);
/* Does everything go to a copy already? */
bool sfs_pass_copies(const struct sfs_pass *pass);
/* May there be a copy? */
bool sfs_pass_may_copy(const struct sfs_pass *pass);

#endif
