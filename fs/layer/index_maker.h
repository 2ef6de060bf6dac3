/* The index of a layer that is being written: what a pass over the blob would find is at hand then,
 * so that nobody has to read the blob to see what is in it.
 *
 * Names come from one thread, and blocks from one, which may be another. Whatever fails makes the
 * maker give up and is no failure of its caller: the layer is as good without its index, which the
 * next reader makes. */
#ifndef STAGEFS_INDEX_MAKER_H
#define STAGEFS_INDEX_MAKER_H

#include "blob/seek.h"
#include "layer/store.h"
#include "layer/tables.h"
#include <stagefs/digest.h>

struct sfs_index_maker;

/* A new one, for a blob of that codec; the caller closes it. NULL: out of memory. */
struct sfs_index_maker *sfs_index_maker_open(enum sfs_codec codec);
/* Frees, and sets NULL; NULL is fine. */
void sfs_index_maker_close(struct sfs_index_maker **maker);

/* The builder that the names are added to; borrowed. */
struct sfs_builder *sfs_index_maker_names(struct sfs_index_maker *maker);
/* Makes the maker give up, since a name cannot be told as a reader of the tar would. Any thread. */
void sfs_index_maker_give_up(struct sfs_index_maker *maker);

/* How a block of the blob can be entered. */
enum sfs_entry_kind {
    SFS_ENTER_FRAME, /* a frame, a member, or plain bytes start here */
    SFS_ENTER_RAW,   /* a deflate block starts here, which goes back to what was before */
    SFS_ENTER_NEVER, /* it cannot be entered */
};
/* A block of the blob that is being written. */
struct sfs_made_block {
    enum sfs_entry_kind entry;
    uint8_t raw_skip; /* SFS_ENTER_RAW: whole bytes of `packed` before the deflate block, 0 or 1 */
    uint8_t raw_bits; /* SFS_ENTER_RAW: bits of the byte before those that belong to it */
    const void *plain, *packed; /* the bytes, decoded and as the blob has them */
    size_t plain_size, packed_size;
};
/* Adds the next block; its bytes are borrowed for the call. */
void sfs_index_maker_add(struct sfs_index_maker *maker, const struct sfs_made_block *block);

/* The whole blob, once it is written. */
struct sfs_made_blob {
    struct sfs_digest digest, diff_id; /* of the blob, and of the tar inside */
    uint64_t size;                     /* bytes, with what stands behind the last block */
};
/* Puts the index into the store, unless there is one. Nothing may be added any more. Waits for the
 * disk. Fails as the store does; ENOTSUP: the maker has given up. */
int sfs_index_maker_finish(struct sfs_index_maker *maker, struct sfs_store *store,
                           const struct sfs_made_blob *blob, struct sfs_error *err);

/* Writes the index to an open file, whatever the store has: that may be of a pass over the blob,
 * which enters it at other places. The same names and blocks give the same points, tables and
 * windows; the tags have a key of their own each time. As sfs_index_maker_finish(). */
int sfs_index_maker_write(struct sfs_index_maker *maker, const struct sfs_made_blob *blob, int fd,
                          struct sfs_error *err);

#endif
