/* The index of a tar, plain or compressed, as the store has it. Whoever makes one holds the lock of
 * its key (sfs_store_lock). All of it waits for the disk. */
#ifndef STAGEFS_TAR_INDEX_H
#define STAGEFS_TAR_INDEX_H

#include "layer/index.h"
#include "layer/layer.h"
#include "layer/store.h"

/* Opens the index of a blob of that size; the caller closes it. ENOENT: the store has none that is
 * whole and fits the source. EKEYREJECTED: the tar inside is not that of the source's diff_id. */
int sfs_tar_index_open(struct sfs_store *store, const struct sfs_layer_source *source,
                       uint64_t blob_size, struct sfs_index *ret_index, struct sfs_error *err);
/* Opens the seekable copy; the caller closes it. ENOENT: the store has none that belongs to the
 * index. */
int sfs_tar_index_open_copy(struct sfs_store *store, const char *key, const struct sfs_index *index,
                            struct sfs_blob **ret_blob, struct sfs_error *err);
/* Makes the index, and the copy if there must be one. Fails as sfs_layer_open_tar(); then nothing
 * is kept. EAGAIN: what is kept here of a blob on another machine was wrong, and is dropped:
 * another pass may do better. */
int sfs_tar_index_make(struct sfs_store *store, struct sfs_blob *blob,
                       const struct sfs_layer_source *source, const struct sfs_progress *progress,
                       struct sfs_error *err);

#endif
