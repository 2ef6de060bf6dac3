/* The bytes of all regular files of a forest in one row, each file at the start of a page, ordered
 * by inode: the data of the EROFS image in erofs_image.h. Borrows the forest. Immutable once
 * open. */
#ifndef STAGEFS_FLAT_H
#define STAGEFS_FLAT_H

#include "mount/forest.h"

#define SFS_FLAT_PAGE 4096u
/* Pages in all: what EROFS's 32-bit addresses leave behind the first 64 GiB, which are for
 * names. */
#define SFS_FLAT_MAX_PAGES (UINT32_MAX - (1u << 24))

/* Where the row starts in the image, behind the names: the page, and the byte. */
#define SFS_FLAT_FIRST_PAGE (UINT32_MAX - SFS_FLAT_MAX_PAGES)
#define SFS_FLAT_AT         ((uint64_t)SFS_FLAT_FIRST_PAGE * SFS_FLAT_PAGE)

struct sfs_flat {
    const struct sfs_forest *forest;
    sfs_ino count; /* of inodes, whether files or not; number 0 is none */
    uint32_t
        *page; /* by inode: the page where its bytes start; one more for the row's end; owned */
};

/* Orders all files: visits every node. EFBIG: more than SFS_FLAT_MAX_PAGES. */
int sfs_flat_open(struct sfs_flat *flat, const struct sfs_forest *forest, struct sfs_error *err);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_flat_done(struct sfs_flat *flat);

/* Bytes of the whole row; a page at least. */
uint64_t sfs_flat_size(const struct sfs_flat *flat);
/* Where in the row a regular file of the forest starts. */
uint64_t sfs_flat_offset(const struct sfs_flat *flat, sfs_ino ino);

/* What lies at one place of the row: the rest of a file, then the zeros of its last page. */
struct sfs_flat_part {
    sfs_ino ino;
    struct sfs_place place;
    uint64_t file_size;
    uint64_t start; /* where in the file the place is; at the file's end size is 0 */
    uint64_t size;  /* bytes of the file from there on */
    uint64_t zeros; /* how many zeros follow them */
};
/* Finds what lies at an offset of the row. False: nothing is there. */
bool sfs_flat_find(const struct sfs_flat *flat, uint64_t offset, struct sfs_flat_part *ret_part);

#endif
