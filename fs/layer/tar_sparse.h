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
    uint64_t file_end; /* offset in the file of the last run's end */
    uint64_t stored;   /* bytes of all runs */
};
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_tar_map_done(struct sfs_tar_map *map);

/* Adds a run. EBADMSG: it overlaps what is there or reaches beyond a file of `size` bytes. E2BIG:
 * too many. */
int sfs_tar_map_add(struct sfs_tar_map *map, uint64_t offset, uint64_t length, uint64_t size,
                    struct sfs_error *err);

/* Reads a map of the old GNU form: four runs are in the header, more in blocks behind it. `header`
 * may lie in `blocks`: it is read before that is moved on. *ret_size: the file's bytes. EBADMSG. */
int sfs_tar_sparse_old(const void *header, struct sfs_tar_blocks *blocks, struct sfs_tar_map *map,
                       uint64_t *ret_size, struct sfs_error *err);

/* Reads a map of the pax forms 0.0, 0.1 or 1.0. *ret_map_size: how many of the stored bytes, from
 * the blocks' place on, were the map itself (only in form 1.0). 1: done; 0: the header has no map.
 * EBADMSG. */
int sfs_tar_sparse_pax(const struct sfs_tar_pax *pax, struct sfs_tar_blocks *blocks,
                       uint64_t stored, struct sfs_tar_map *map, uint64_t *ret_map_size,
                       struct sfs_error *err);

#endif
