/* The pipe of a pass as its decoder sees it: compressed blocks in, decoded blocks and points out.
 * Everything here is called on the decoder's thread. Failures: -ECANCELED without words if the pass
 * is being closed. */
#ifndef STAGEFS_UNPACK_PASS_H
#define STAGEFS_UNPACK_PASS_H

#include "blob/blob.h"
#include "blob/unpack.h"
#include "blob/unpack_points.h"

#define SFS_PASS_BLOCK (1u << 20) /* bytes of a block, compressed or decoded, at most */

/* Input that may lie before a point found now: a gzip header, a block header. */
#define SFS_PASS_LAG (SFS_PASS_BLOCK / 2)

struct sfs_pass;

/* The next compressed block: *ret_size 0 at the end. The last block stays valid one call longer. */
int sfs_pass_input(struct sfs_pass *pass, const uint8_t **ret_data, size_t *ret_size,
                   struct sfs_error *err);

/* Room for SFS_PASS_BLOCK decoded bytes, with the last SFS_WINDOW_MAX bytes before it in memory. */
int sfs_pass_output(struct sfs_pass *pass, uint8_t **ret_data, struct sfs_error *err);
/* Hands out what was written there. */
int sfs_pass_deliver(struct sfs_pass *pass, size_t size, struct sfs_error *err);

/* Wanted distance of points at decoded offset `out`. */
uint32_t sfs_pass_spacing(struct sfs_pass *pass, uint64_t out);
/* The stream can be entered at `out`: see struct sfs_point. `window`: copied; size 0: none is
 * needed. Ignored once all goes to a copy. E2BIG: too many. */
int sfs_pass_add_point(struct sfs_pass *pass, uint64_t out, uint64_t in, uint8_t bits,
                       const void *window, size_t window_size, struct sfs_error *err);
/* A frame, or gzip member, begins. */
void sfs_pass_note_frame(struct sfs_pass *pass);
/* Data ends here; only rubbish follows. */
void sfs_pass_end(struct sfs_pass *pass, uint64_t in_end);

/* This blob cannot be entered where it should: from here on everything goes to a seekable copy.
 * `why` for the case that there may be none (ENOTSUP). Between blocks only. */
int sfs_pass_start_copy(struct sfs_pass *pass, const char *why, struct sfs_error *err);
/* Does everything go to a copy already? May it? */
bool sfs_pass_copies(const struct sfs_pass *pass);
bool sfs_pass_may_copy(const struct sfs_pass *pass);

#endif
