/* Writes what leads from one tree to another as one layer: tar, digests, compression. */
#ifndef STAGEFS_LAYER_WRITE_H
#define STAGEFS_LAYER_WRITE_H

#include "commit/layer_options.h"

/* Reads all the files. Waits. Where the plan says so, frames of a source that hold nothing but
 * bytes of one file are copied; which, depends on the sources' blobs and nothing else. EIO,
 * EKEYREJECTED: a source; ENOSPC and others: what is written. ENOTSUP: what the format cannot hold.
 */
int sfs_layer_write(const struct sfs_layer_write *write, struct sfs_layer_written *ret_written,
                    struct sfs_error *err);

#endif
