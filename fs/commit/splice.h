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

/* A new one, which borrows the pipe and is closed by the caller. NULL: out of memory. */
struct sfs_splice *sfs_splice_open(struct sfs_pipe *pipe);
/* Frees, and sets NULL; NULL is fine. To be called before the struct sfs_frames of its stretches is
 * closed. */
void sfs_splice_close(struct sfs_splice **splice);

/* Puts the decoded bytes from `at` to the stretch's end, or to `stop`, behind which something else
 * is put. If `stop` is behind the stretch, some of them may be put only with the next one. `end`:
 * where the range of one file's bytes ends, at `stop` or behind it. Fails as the pipe does. */
int sfs_splice_put(struct sfs_splice *splice, const struct sfs_stretch *stretch, uint64_t at,
                   uint64_t stop, uint64_t end, struct sfs_error *err);
/* Are bytes of a range that goes on in the next stretch not put yet? */
bool sfs_splice_waits(const struct sfs_splice *splice);
/* How many compressed bytes were copied since the opening. */
uint64_t sfs_splice_copied(const struct sfs_splice *splice);

#endif
