/* Writes what leads from one tree to another as one layer: tar, digests, compression. */
#ifndef STAGEFS_LAYER_WRITE_H
#define STAGEFS_LAYER_WRITE_H

#include "commit/changes.h"
#include "commit/pipe.h"
#include <stagefs/progress.h>

struct json_t;

struct sfs_layer_write {
    const struct sfs_tree *tree;
    const struct sfs_changes *changes; /* in that tree */
    struct sfs_pipe_options pipe;
    bool has_epoch; /* no mtime is later than epoch */
    int64_t epoch;
    bool set_mtimes;                     /* with has_epoch: every mtime is epoch */
    const struct sfs_progress *progress; /* may be NULL */
};

struct sfs_layer_written {
    struct sfs_pipe_result pipe;
    uint64_t copied;            /* bytes of the blob that were taken over as they were */
    struct json_t *annotations; /* what the descriptor is to say of a table of contents, which the
                                   caller frees; NULL: nothing */
};

/* Reads all the files. Waits. Where the plan says so, frames of a source that hold nothing but
 * bytes of one file are copied; which, depends on the sources' blobs and nothing else. EIO,
 * EKEYREJECTED: a source; ENOSPC and others: what is written. ENOTSUP: what the format cannot hold.
 */
int sfs_layer_write(const struct sfs_layer_write *write, struct sfs_layer_written *ret_written,
                    struct sfs_error *err);

#endif
