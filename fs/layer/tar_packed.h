/* A tar's bytes out of a stream that may be compressed (gzip, bzip2, xz, zstd), for what is read
 * once from its start: ADD and tables of contents. Blobs of layers have unpack.h, which verifies
 * them and makes points, and knows neither bzip2 nor xz. Of the tar itself nothing is looked at.
 * One thread. */
#ifndef STAGEFS_TAR_PACKED_H
#define STAGEFS_TAR_PACKED_H

#include "layer/tar_blocks.h"

struct sfs_tar_packed;

/* Looks at the first bytes of `source`, which it copies, for how they are compressed: its first
 * piece has two bytes at least, if there are so many. The caller closes *ret_packed. Waits for the
 * source, whose failures are handed on as they are. EBADMSG: a compressed stream that is damaged at
 * once. ENOTSUP: there is no libarchive, which decodes all but gzip. */
int sfs_tar_packed_open(const struct sfs_tar_source *source, struct sfs_tar_packed **ret_packed,
                        struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. */
void sfs_tar_packed_close(struct sfs_tar_packed **packed);

/* A tar source, with `packed` as its user: lends the next decoded bytes until the next call;
 * *ret_size 0: the end. Failures of the source below are handed on. EBADMSG: it is damaged. */
int sfs_tar_packed_next(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err);

#endif
