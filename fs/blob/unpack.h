/* One pass over a compressed blob from start to end, which also makes its seek table and verifies
 * its digest.
 *
 * A pipeline: one thread reads and decodes, one digests the compressed bytes, one the decoded ones;
 * the caller takes decoded blocks in order. Memory is bounded (a ring of blocks). One caller's
 * thread. */
#ifndef STAGEFS_UNPACK_H
#define STAGEFS_UNPACK_H

#include "blob/blob.h"
#include "blob/seek.h"
#include <stagefs/digest.h>
#include <stagefs/progress.h>

struct sfs_unpack;

struct sfs_unpack_options {
    enum sfs_codec codec;
    uint32_t spacing; /* wanted decoded bytes between points; 0: the codec's default */
    /* Where a seekable copy may be written if the blob cannot be entered in the middle (a large
     * zstd frame); -1: never. The copy consists of independent zstd frames; the seek table then
     * describes the copy. */
    int copy_fd;
    const struct sfs_progress *progress; /* NULL: nobody is told */
    const char *what;                    /* what progress calls this work */
};

/* Starts a pass, with its threads. Borrows blob and options until close. */
int sfs_unpack_open(struct sfs_blob *blob, const struct sfs_unpack_options *options,
                    struct sfs_unpack **ret_unpack, struct sfs_error *err);

/* Lends the next decoded block until the next call: *ret_size 0 at the end. Waits.
 * EBADMSG: the blob is damaged; sfs_unpack_finish() may then still be called, and says whether its
 * digest holds. */
int sfs_unpack_next(struct sfs_unpack *unpack, const void **ret_data, size_t *ret_size,
                    struct sfs_error *err);

struct sfs_unpacked {
    /* Of the compressed blob, whole, whatever the decoder made of it. */
    struct sfs_digest in_digest;
    struct sfs_digest out_digest; /* of the decoded stream (diff_id) */
    struct sfs_seek_table table;  /* its arrays are owned by this struct */
    bool uses_copy;               /* the table describes the copy */
    uint64_t copy_size;           /* bytes of the copy, or 0 */
    void *memory;                 /* what sfs_unpacked_close() frees */
};

/* Takes what is left (discarding decoded bytes), joins the threads. Works after an EBADMSG too:
 * then only in_digest is meaningful and the function returns that same failure. */
int sfs_unpack_finish(struct sfs_unpack *unpack, struct sfs_unpacked *ret_unpacked,
                      struct sfs_error *err);
/* Frees the table's arrays. Fine on an all-zero struct. */
void sfs_unpacked_close(struct sfs_unpacked *unpacked);
/* Stops and joins the threads, wherever they are; frees. Does nothing if *unpack is NULL. */
void sfs_unpack_close(struct sfs_unpack **unpack);

#endif
