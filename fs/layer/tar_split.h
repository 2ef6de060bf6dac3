/* A tar that is kept in two halves, as containers/storage has its layers: the contents of its files
 * lie in a directory tree, and all else (headers, padding, its end) in a file beside it that
 * vbatts/tar-split has written. Together they are the tar again, byte for byte.
 *
 * That file is compressed JSON, one value behind another: {"type":2,"payload":BASE64} are bytes as
 * they are, {"type":1,"name":NAME,"size":SIZE} are those of a file. */
#ifndef STAGEFS_TAR_SPLIT_H
#define STAGEFS_TAR_SPLIT_H

#include "blob/blob.h"

/* Opens the tar as a blob. `*root` is the directory that its files are below, and no symlink leads
 * out of it; `*split` is that file. Both are taken over on success. `name` is what messages call
 * the tar. `size` is that of the tar; 0: not known. If it is known, `split` is read when a byte of
 * the tar is first asked for, which then fails as here. Contents are not known to be right: compare
 * the digest. What is no file's is kept in a file without a name in $TMPDIR. EBADMSG: `split` is
 * malformed, or makes another size. E2BIG: over a limit. */
int sfs_tar_split_open(struct sfs_blob **split, int *root, const char *name, uint64_t size,
                       struct sfs_blob **ret_blob, struct sfs_error *err);

#endif
