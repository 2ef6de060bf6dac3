/* The bytes of a blob that were fetched so far, on disk: a sparse file of the blob's size, and
 * beside it a map with a checksum for each block that is there. Several processes may have them
 * open: one takes a lock for the blocks that it is about to fetch, and the others wait for those.
 *
 * Nothing is forced to the disk: a block whose bytes do not fit to its checksum (the power went) is
 * taken for one that is not there. Once the map has no name any more, the bytes are a whole blob,
 * and nothing is written to them. */
#ifndef STAGEFS_RANGE_FILE_H
#define STAGEFS_RANGE_FILE_H

#include "base/io.h"

#define SFS_RANGE_BLOCK    (4u << 10) /* bytes that come and go together */
#define SFS_RANGE_TOGETHER 16u        /* blocks that are written in one go, at most */
#define SFS_RANGE_MAX_SIZE ((uint64_t)SFS_RANGE_BLOCK * INT32_MAX) /* bytes of a blob */

struct sfs_range_file;

/* Opens both, for a blob of `size` bytes; a map that is empty gets its form. Takes over both
 * descriptors, also after a failure. The caller closes *ret_file. EBADMSG: they are of another
 * size. ENOSPC, EIO: the disk. */
int sfs_range_file_open(int *data_fd, int *map_fd, uint64_t size, struct sfs_range_file **ret_file,
                        struct sfs_error *err);
/* Frees, gives its locks back, and sets NULL; NULL is fine. */
void sfs_range_file_close(struct sfs_range_file **file);
/* The sparse file, borrowed. */
int sfs_range_file_data(const struct sfs_range_file *file);

/* How many blocks a blob of that size, at most SFS_RANGE_MAX_SIZE, has, and how many bytes block
 * number `block` of it has. */
uint32_t sfs_range_blocks(uint64_t size);
size_t sfs_range_block_size(uint64_t size, uint32_t block);

/* For `count` blocks from `first` on: is each there, as the map has it now? What cannot be read is
 * not. */
void sfs_range_file_look(const struct sfs_range_file *file, uint32_t first, uint32_t count,
                         bool *ret_there);
/* The first block from `from` on that is not there; the number of blocks: all are. */
uint32_t sfs_range_file_next_gap(const struct sfs_range_file *file, uint32_t from);
/* Reads a block that is there into `buf`, and compares its checksum. ENOENT: it is not there, or
 * was damaged, and then is not there any more. EIO: the disk. */
int sfs_range_file_read(const struct sfs_range_file *file, uint32_t block, void *buf);
/* Writes blocks, at most SFS_RANGE_TOGETHER, and then their entries of the map. -ENOSPC and the
 * like: they are not there. -ESTALE: the file is a whole blob by now. */
int sfs_range_file_write(const struct sfs_range_file *file, uint32_t first, uint32_t count,
                         const void *data);
/* Has blocks be not there any more. */
void sfs_range_file_drop(const struct sfs_range_file *file, uint32_t first, uint32_t count);

/* Takes the lock of blocks, against other processes and other openings of the same files. Does not
 * wait. -EAGAIN: another has some of them. */
int sfs_range_file_lock(const struct sfs_range_file *file, uint32_t first, uint32_t count);
/* The first block of the lock that another has on `block`; UINT32_MAX: it is free by now. */
uint32_t sfs_range_file_lock_start(const struct sfs_range_file *file, uint32_t block);
/* Gives it back, or a part of it. */
void sfs_range_file_unlock(const struct sfs_range_file *file, uint32_t first, uint32_t count);

#endif
