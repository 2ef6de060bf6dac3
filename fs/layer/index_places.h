/* Where the names of an index have their headers in the tar, for who is sent the index and compares
 * the two (header_check.h). An index does not say: one more pass over the decoded bytes finds it,
 * and finds out besides whether that comparison will hold. */
#ifndef STAGEFS_INDEX_PLACES_H
#define STAGEFS_INDEX_PLACES_H

#include "blob/blob.h"
#include "layer/index.h"

struct sfs_tar_member;

/* The places of a layer's entries, while its members are told in their order. All-zero is empty. */
struct sfs_places {
    const struct sfs_tables *tables; /* borrowed */
    const char *label;               /* of the layer, for messages; borrowed; NULL: none */
    uint64_t *at;                    /* by entry; owned */
    bool *differs; /* by entry: its last member so far is not what the tables say; owned */
};
/* Begins. ENOMEM. After a failure too, the caller calls sfs_places_done(). */
int sfs_places_start(struct sfs_places *places, const struct sfs_tables *tables, const char *label,
                     struct sfs_error *err);
/* Takes the next member. ENOTSUP: the comparison would not understand it. */
int sfs_places_add(struct sfs_places *places, const struct sfs_tar_member *member,
                   struct sfs_error *err);
/* Has each name its header, and each inode one that is its own? Then it gives the array, which the
 * caller frees. ENOTSUP: one has not. */
int sfs_places_finish(struct sfs_places *places, uint64_t **ret_places, struct sfs_error *err);
/* Frees what is in it. */
void sfs_places_done(struct sfs_places *places);

/* Makes the array of sfs_index.places, which the caller frees, of an index that was made here.
 * Reads and decodes the whole blob. ENOTSUP: the layer has members that the comparison would not
 * understand (paths through symlinks, aufs's links, files that others removed), so its index is of
 * no use elsewhere. EKEYREJECTED: the blob was changed since it was indexed. */
int sfs_index_find_places(const struct sfs_index *index, struct sfs_blob *blob,
                          uint64_t **ret_places, struct sfs_error *err);

#endif
