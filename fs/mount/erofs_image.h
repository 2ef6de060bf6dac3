/* Names and attributes of a forest as the start of an EROFS image. The contents of files stand
 * behind them, from SFS_FLAT_AT on, as flat.h orders them, and are never all in memory. */
#ifndef STAGEFS_EROFS_IMAGE_H
#define STAGEFS_EROFS_IMAGE_H

#include "mount/flat.h"

/* The number of the file by which a session shows the image (ops_flat.c). */
#define SFS_IMAGE_INO 2u

struct sfs_erofs_image {
    char *data; /* mapped memory, owned; NULL: none */
    size_t size;
};

/* Makes the image; while it is made, 12 more bytes of memory are needed for each inode. Extended
 * attributes of namespaces that EROFS does not know (all but user, trusted, security and access
 * control lists) are left out. ENAMETOOLONG, E2BIG: a name, or extended attributes, that EROFS has
 * no room for. */
int sfs_erofs_image_make(const struct sfs_flat *flat, struct sfs_erofs_image *ret_image,
                         struct sfs_error *err);
/* Is no extended attribute left out? */
bool sfs_erofs_knows_xattrs(const struct sfs_forest *forest);
/* Unmaps it. Fine on an all-zero struct. */
void sfs_erofs_image_done(struct sfs_erofs_image *image);

#endif
