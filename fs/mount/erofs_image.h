/* Names and attributes of a forest as the start of an EROFS image. The contents of files stand
 * behind them, from SFS_FLAT_AT on, as flat.h orders them, and are never all in memory. */
#ifndef STAGEFS_EROFS_IMAGE_H
#define STAGEFS_EROFS_IMAGE_H

#include "mount/flat.h"
#include "mount/pack.h"

/* The number of the file by which a session shows the image (ops_flat.c). */
#define SFS_IMAGE_INO 2u

/* The table of a file: of its pages, in the row. */
struct sfs_erofs_table {
    uint64_t at, entries; /* of its first entry in the image; how many there are */
    uint32_t first;       /* the first page, as the image counts its blocks */
};

/* Where the table of a file leads into the pack, as soon as that piece of it is checked. */
struct sfs_erofs_patch {
    uint64_t at; /* of its first entry in the image */
    uint32_t entries;
    uint32_t piece, block; /* the piece's number, and its first block in the pack */
};

struct sfs_erofs_image {
    char *data; /* mapped memory, owned; NULL: none. All files' bytes are the row's there */
    size_t size;
    /* From here to the end are the inodes of the pack's files, whose tables are not in memory: they
     * take 8 bytes for each page of such a file, and the kernel asks for few of them. */
    size_t fixed;
    struct sfs_erofs_table *tables; /* by place; owned */
    size_t table_count;
    struct sfs_erofs_patch *patches; /* by place; owned */
    size_t patch_count;
};

/* Makes the image; while it is made, 12 more bytes of memory are needed for each inode. Extended
 * attributes of namespaces that EROFS does not know (all but user, trusted, security and access
 * control lists) are left out. `pack`, NULL: none, is the image's second device, which the kernel
 * has to be given (front.h). ENAMETOOLONG, E2BIG: a name, or extended attributes, that EROFS has no
 * room for. */
int sfs_erofs_image_make(const struct sfs_flat *flat, const struct sfs_pack *pack,
                         struct sfs_erofs_image *ret_image, struct sfs_error *err);
/* Copies `size` bytes from `at` on, zeros behind the end. Tables lead into the pack as far as that
 * is whole: waits until what is asked for of it was checked. */
void sfs_erofs_image_read(const struct sfs_erofs_image *image, struct sfs_pack *pack, uint64_t at,
                          size_t size, char *to);
/* Is no extended attribute left out? */
bool sfs_erofs_knows_xattrs(const struct sfs_forest *forest);
/* Unmaps it. Fine on an all-zero struct. */
void sfs_erofs_image_done(struct sfs_erofs_image *image);

#endif
