/* The index of a layer that is being written: what a pass over the blob would find is at hand then,
 * so that nobody has to read the blob to see what is in it.
 *
 * Names come from one thread, blocks from one, which may be another. Whatever fails makes the maker
 * give up, and no caller: the layer is as good without its index, which the next reader makes. */
#ifndef STAGEFS_INDEX_MAKER_H
#define STAGEFS_INDEX_MAKER_H

#include "blob/seek.h"
#include "layer/store.h"
#include "layer/tables.h"
#include <stagefs/digest.h>

struct sfs_index_maker;

/* NULL: out of memory. */
struct sfs_index_maker *sfs_index_maker_open(enum sfs_codec codec);
void sfs_index_maker_close(struct sfs_index_maker **maker);

/* What the names are added to; borrowed. */
struct sfs_builder *sfs_index_maker_names(struct sfs_index_maker *maker);
/* A name cannot be told as a reader of the tar would. Any thread. */
void sfs_index_maker_give_up(struct sfs_index_maker *maker);

/* How a block of the blob can be entered. */
enum sfs_entry_kind {
    SFS_ENTER_FRAME, /* a frame, a member, or plain bytes start here */
    SFS_ENTER_RAW,   /* a deflate block starts here, which goes back to what was before */
    SFS_ENTER_NEVER,
};
struct sfs_made_block {
    enum sfs_entry_kind entry;
    uint8_t raw_skip; /* SFS_ENTER_RAW: whole bytes of `packed` before it, 0 or 1, */
    uint8_t raw_bits; /* and how many bits of the byte before those belong to it */
    const void *plain, *packed;
    size_t plain_size, packed_size;
};
/* The next block; both its bytes are borrowed for the call. */
void sfs_index_maker_add(struct sfs_index_maker *maker, const struct sfs_made_block *block);

struct sfs_made_blob {
    struct sfs_digest digest, diff_id;
    uint64_t size; /* bytes, with what stands behind the last block */
};
/* Puts the index into the store, unless there is one. The maker is spent. Waits for the disk. Fails
 * as the store does; ENOTSUP: it has given up. */
int sfs_index_maker_finish(struct sfs_index_maker *maker, struct sfs_store *store,
                           const struct sfs_made_blob *blob, struct sfs_error *err);

#endif
