/* Writes what leads from one tree to another as one layer: tar, digests, compression. */
#ifndef STAGEFS_LAYER_WRITE_H
#define STAGEFS_LAYER_WRITE_H

#include "commit/layer_options.h"

/* Writes the layer: reads all the files, and waits for it. Where the plan says so, frames of a
 * source that hold nothing but bytes of one file are copied; which ones, depends on the sources'
 * blobs and on nothing else. EIO, EKEYREJECTED: a source. ENOSPC and others: what is written.
 * ENOTSUP: a name or a file that the format cannot hold. */
int sfs_layer_write(const struct sfs_layer_write *write, struct sfs_layer_written *ret_written,
                    struct sfs_error *err);

#endif
