/* The bytes of all regular files of a forest in one row, each file at the start of a page, ordered
 * by inode: the data device of the EROFS image in erofs_image.h. Borrows the forest. Immutable once
 * open. */
#ifndef STAGEFS_FLAT_H
#define STAGEFS_FLAT_H

#include "mount/forest.h"

#define SFS_FLAT_PAGE 4096u
/* Pages in all: what EROFS's 32-bit addresses leave behind the first 64 GiB, which are for names.
 */
#define SFS_FLAT_MAX_PAGES (UINT32_MAX - (1u << 24))

/* The number of the file by which a session shows a row (ops_flat.c). */
#define SFS_FLAT_INO 2u

struct sfs_flat {
    const struct sfs_forest *forest;
    sfs_ino count;  /* inodes, those that are no files too; the first is 0 and none */
    uint32_t *page; /* by inode, and the end: where its bytes start */
};

/* Visits every node. EFBIG: more than SFS_FLAT_MAX_PAGES. */
int sfs_flat_open(struct sfs_flat *flat, const struct sfs_forest *forest, struct sfs_error *err);
void sfs_flat_done(struct sfs_flat *flat);

uint64_t sfs_flat_size(const struct sfs_flat *flat); /* a page at least */
/* Of a regular file of the forest. */
uint64_t sfs_flat_offset(const struct sfs_flat *flat, sfs_ino ino);

/* What lies at one place of the row: the rest of a file, then the zeros of its last page. */
struct sfs_flat_part {
    sfs_ino ino;
    struct sfs_place place;
    uint64_t file_size;
    uint64_t start; /* in the file; at its end: size is 0 */
    uint64_t size;
    uint64_t zeros;
};
/* False: nothing is there. */
bool sfs_flat_find(const struct sfs_flat *flat, uint64_t offset, struct sfs_flat_part *ret_part);

#endif
