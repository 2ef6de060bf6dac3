/* A layer's index as it goes to other machines.
 *
 * A local index checks spans by tags whose key stands in it, which says nothing to who got both
 * from somebody else. The pushed form is the same file (index.h, version 4) with the check
 * SFS_CHECK_PUBLIC in place of that: 32 bytes a span, the SHA-256 of the point's window as it is
 * stored and, behind it, of the span's compressed bytes. So who trusts the file can take both,
 * bytes and windows, from anybody. It is made from a blob that held its digest, and sent as two
 * blobs: all before the section WINDOWS, and behind it a u64 for each entry (where in the tar its
 * first header stands, or all ones: index.h), as one zstd frame; and that section as it is, which
 * is large, of which little is wanted, and which can so be read by range. */
#ifndef STAGEFS_INDEX_EXPORT_H
#define STAGEFS_INDEX_EXPORT_H

#include "blob/blob.h"
#include "layer/store.h"

#define SFS_SENT_INDEX_FORMAT "5" /* what artifacts say: version 4 of the file, and the places */

struct sfs_exported_index {
    void *head; /* the zstd frame; owned */
    size_t head_size;
    void *windows; /* owned; NULL: the layer needs none */
    size_t windows_size;
};
/* Frees what is in it; fine on an all-zero one. */
void sfs_exported_index_done(struct sfs_exported_index *exported);

/* Makes the pushed form of the index that the store has under `key`. Reads the whole blob. ENOENT:
 * there is no index. ENOTSUP: it can be of no use elsewhere, since it was made from a table of
 * contents in the blob, or reads a seekable copy. EFBIG: it is larger than others
 * take. EKEYREJECTED: the blob does not hold the index's
 * digest. */
int sfs_index_export(struct sfs_store *store, const char *key, struct sfs_blob *blob,
                     struct sfs_exported_index *ret_exported, struct sfs_error *err);

/* The same of an index file that is open; takes over *fd on success. The same points, tables,
 * windows and blob give the same bytes, with the same version of libzstd. */
int sfs_index_export_file(int *fd, struct sfs_blob *blob, struct sfs_exported_index *ret_exported,
                          struct sfs_error *err);

#endif
