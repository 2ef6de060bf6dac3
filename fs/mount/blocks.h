/* Which blocks of a large file are worth fetching when a reader asks for a part of one: that block
 * whole, since decoding passes over it anyway, and the next ones if the reader moves through the
 * file in one direction, even in leaps and even backwards (destructors run so). (Where a reader
 * goes on without leaps, the kernel itself asks ahead.) Not thread-safe. */
#ifndef STAGEFS_BLOCKS_H
#define STAGEFS_BLOCKS_H

#include "mount/forest.h"
#include "tree/profile.h"

#define SFS_BLOCK     (1u << 20) /* bytes */
#define SFS_BLOCKS_AT 12u        /* blocks that one request asks for, at most */

struct sfs_blocks; /* what was asked for, by file; NULL is empty */
/* Frees, and sets NULL; NULL is fine. */
void sfs_blocks_close(struct sfs_blocks **blocks);

/* Tells of a request for [offset, offset + size), inside a file of file_size bytes. Returns how
 * many blocks are to be fetched now, the requested ones first, and counts them as under way. */
unsigned sfs_blocks_touch(struct sfs_blocks **blocks, sfs_ino ino, uint64_t file_size,
                          struct sfs_range range, uint32_t ret_blocks[SFS_BLOCKS_AT]);
/* A block is not under way any more: it may be asked for again, when the kernel dropped it. */
void sfs_blocks_done(struct sfs_blocks *blocks, sfs_ino ino, uint32_t block);

#endif
