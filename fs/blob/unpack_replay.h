/* A second reading of a blob's start, for the seekable copy. */
#ifndef STAGEFS_UNPACK_REPLAY_H
#define STAGEFS_UNPACK_REPLAY_H

#include "blob/codecs.h"

/* Decodes the first `size` bytes of the blob once more and gives them to `block`, piece by piece,
 * until that fails. Waits for the disk. EIO: the blob is not what it was. */
int sfs_replay(struct sfs_blob *blob, const struct sfs_codec_row *codec, uint64_t size,
               int (*block)(void *user, const void *data, size_t size, struct sfs_error *err),
               void *user, struct sfs_error *err);

#endif
