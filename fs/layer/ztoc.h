/* SOCI's table of one layer (zTOC, version 0.9), which lies beside an image as a blob of its own:
 * what the tar's headers say, points of the gzip stream with the windows that they need, and a
 * SHA-256 of each span's compressed bytes. Made by others, whose program may read a tar otherwise
 * than we do: it becomes an index of the form that other machines send (index.h, sent_index.h),
 * whose names are compared with the layer's headers as they are used, whoever vouches for it.
 *
 *   ztoc.c          the document: its fields, caps, and the members it tells of
 *   ztoc_points.c   where the layer can be entered
 *   ztoc_index.c    the index that is made of both
 *   flatbuffer.c    the format below it
 *
 * What the table cannot say, or what we could not compare later, makes it be refused: sparse files,
 * times that its text cannot hold, paths through symlinks, aufs's links, eStargz's marks. */
#ifndef STAGEFS_ZTOC_H
#define STAGEFS_ZTOC_H

#include "layer/flatbuffer.h"
#include "layer/layer.h"
#include "layer/store.h"
#include "layer/tar_stream.h"

/* Makes an index of a table, of the source's layer, and keeps it in the store under `key`, for
 * sfs_layer_open_sent(). The bytes are borrowed. Reads nothing of the layer. EBADMSG: the table is
 * damaged, or of another layer. ENOTSUP: it tells of what cannot be compared. E2BIG: over a cap.
 * EROFS, ENOSPC, ...: the cache directory. */
int sfs_ztoc_keep(struct sfs_store *store, const char *key, const void *data, size_t size,
                  const struct sfs_layer_source *source, struct sfs_error *err);

/* ---- between the files named above ---- */

struct sfs_ztoc {
    struct sfs_flatbuffer buffer;
    struct sfs_flatbuffer_vector members; /* tables, one for each header of the tar */
    struct sfs_flatbuffer_table points;   /* of the compressed stream */
    uint64_t in_size, out_size;           /* bytes of the blob, and of the tar up to its end */
};
/* Opens the document, which borrows the bytes. EBADMSG: it is none. E2BIG: it has too many
 * members. */
int sfs_ztoc_open(const void *data, size_t size, struct sfs_ztoc *ret_ztoc, struct sfs_error *err);
/* Calls `take` with each member, in the tar's order, until it fails. The member lives for the call.
 * EBADMSG: one is malformed or out of order. ENOTSUP: see above. */
int sfs_ztoc_each(const struct sfs_ztoc *ztoc,
                  int (*take)(void *user, const struct sfs_tar_member *member,
                              struct sfs_error *err),
                  void *user, struct sfs_error *err);

/* A seek table that owns what it points to. */
struct sfs_ztoc_points {
    struct sfs_seek_table seek;
    struct sfs_buf points, tags, windows;
};
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_ztoc_points_done(struct sfs_ztoc_points *points);
/* Makes the seek table of a layer with that codec and size. After a failure too, the caller calls
 * sfs_ztoc_points_done(). EBADMSG: it does not fit to the layer. ENOTSUP: another compression, or
 * spans that are too large for us. */
int sfs_ztoc_points_read(const struct sfs_ztoc *ztoc, enum sfs_codec codec, uint64_t blob_size,
                         struct sfs_ztoc_points *ret_points, struct sfs_error *err);

#endif
