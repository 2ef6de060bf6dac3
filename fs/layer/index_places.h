/* Where the names of an index have their headers in the tar, for who is sent the index and compares
 * the two (header_check.h). An index does not say: one more pass over the decoded bytes finds it,
 * and finds out besides whether that comparison will hold. */
#ifndef STAGEFS_INDEX_PLACES_H
#define STAGEFS_INDEX_PLACES_H

#include "blob/blob.h"
#include "layer/index.h"

/* Makes the array of sfs_index.places, which the caller frees, of an index that was made here.
 * Reads and decodes the whole blob. ENOTSUP: the layer has members that the comparison would not
 * understand (paths through symlinks, aufs's links, files that others removed), so its index is of
 * no use elsewhere. EKEYREJECTED: the blob was changed since it was indexed. */
int sfs_index_find_places(const struct sfs_index *index, struct sfs_blob *blob,
                          uint64_t **ret_places, struct sfs_error *err);

#endif
