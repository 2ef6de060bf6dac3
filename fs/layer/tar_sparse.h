/* Sparse files in the four forms that GNU tar has: where the stored bytes go in the file. */
#ifndef STAGEFS_TAR_SPARSE_H
#define STAGEFS_TAR_SPARSE_H

#include "layer/tables.h"
#include "layer/tar_blocks.h"
#include "layer/tar_pax.h"

/* A file's bytes: runs of struct sfs_extent, in order, whose data_offset counts from the first
 * stored byte. */
struct sfs_tar_map {
    struct sfs_buf extents;
    uint64_t file_end; /* of the last run */
    uint64_t stored;   /* bytes of all runs */
};
void sfs_tar_map_done(struct sfs_tar_map *map);

/* Adds a run. EBADMSG: it overlaps what is there or leaves a file of `size` bytes; E2BIG. */
int sfs_tar_map_add(struct sfs_tar_map *map, uint64_t offset, uint64_t length, uint64_t size,
                    struct sfs_error *err);

/* The old GNU form: four runs in the header, more in blocks behind it. `header` is read before
 * `blocks` is moved. */
int sfs_tar_sparse_old(const void *header, struct sfs_tar_blocks *blocks, struct sfs_tar_map *map,
                       uint64_t *ret_size, struct sfs_error *err);

/* The pax forms 0.0, 0.1 and 1.0. `ret_map_size`: bytes of the stored ones, from the blocks' place
 * on, that held the map (only form 1.0 has some). 1; 0: the header says nothing of it. */
int sfs_tar_sparse_pax(const struct sfs_tar_pax *pax, struct sfs_tar_blocks *blocks,
                       uint64_t stored, struct sfs_tar_map *map, uint64_t *ret_map_size,
                       struct sfs_error *err);

#endif
