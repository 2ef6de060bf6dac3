/* Deflate blocks of a gzip source, copied into the layer. One gzip member is made of
 *
 *   a stored block      32 KiB of the file: what copied blocks may refer back to
 *   the copied blocks   from one cut (blob/cuts.h) to another, bit by bit as they were
 *   an empty last one   and the checksum and size of all
 *
 * so that most of a large file is never compressed again. What is in front of the first cut that
 * serves, and behind the last, goes into the pipe as plain bytes.
 *
 * Which blocks are copied depends on the source's blob and on where the file lies in it only. One
 * thread. */
#ifndef STAGEFS_SPLICE_H
#define STAGEFS_SPLICE_H

#include "blob/stretch_pool.h"
#include "commit/pipe.h"

struct sfs_splice;

/* Borrows the pipe. NULL: out of memory. */
struct sfs_splice *sfs_splice_open(struct sfs_pipe *pipe);
/* Before the frames are closed. */
void sfs_splice_close(struct sfs_splice **splice);

/* Puts decoded bytes from `at` to the stretch's end, or to `stop`, where something else follows. If
 * `stop` is behind the stretch, some of them may be put with the next one. `end`: where the range
 * of one file's bytes ends, `stop` or behind it. Fails as the pipe does. */
int sfs_splice_put(struct sfs_splice *splice, const struct sfs_stretch *stretch, uint64_t at,
                   uint64_t stop, uint64_t end, struct sfs_error *err);
/* Of the range that went on: is something not put yet? */
bool sfs_splice_waits(const struct sfs_splice *splice);
/* Compressed bytes that were copied, ever. */
uint64_t sfs_splice_copied(const struct sfs_splice *splice);

#endif
