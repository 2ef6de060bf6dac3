/* The index file of one layer: little-endian, mapped read-only, used in place. Made once, renamed
 * into place, never changed.
 *
 *     0  magic "SFSINDEX"
 *     8  version u32, SFS_INDEX_VERSION      12  size of this header u32, 288
 *    16  size of the file u64                24  CRC-64 (ECMA, reflected) from byte 32 on
 *    32  SHA-256 of the blob                 64  SHA-256 of the tar inside (diff_id), or (flag 2)
 *                                                of the table of contents
 *    96  bytes of the blob u64              104  bytes of the seekable copy u64; 0: none is used
 *   112  codec of the blob u32              116  codec of the seek table u32
 *   120  kind of check u32 (enum sfs_check) 124  flags u32
 *   128  in_size u64                        136  out_size u64 (the tar's bytes)
 *   144  key of the checks, 16 bytes
 *   160  eight sections {offset u64, count u64}, in this order in the file, each 8-byte aligned:
 *
 * INODES   struct sfs_inode_rec      ENTRIES  struct sfs_entry_rec    (layer/tables.h)
 * EXTENTS  struct sfs_extent         XATTRS   struct sfs_xattr_rec
 * POINTS   struct sfs_point          TAGS     bytes                   (blob/seek.h)
 * STRINGS  bytes                     WINDOWS  bytes
 *
 * Flag 1: each window is a zstd frame with a checksum of its own. The CRC then ends before WINDOWS,
 * so that opening does not read them: they can be most of the file, and few are ever needed.
 *
 * Flag 2: made from a table of contents that the image brought, without a pass over the blob: the
 * blob's digest is what the manifest says, and decoded bytes are the files' alone, without headers.
 * It is good only for an image whose manifest vouches for the same table of contents.
 *
 * Flag 4: the blob has more than one frame (zstd) or member (gzip), and there is no copy.
 *
 * The seek table describes the blob, or the copy if there is one. The CRC finds accidents; that
 * nothing in the file can lead out of it is checked besides (sfs_tables_check, sfs_seek_check). */
#ifndef STAGEFS_INDEX_H
#define STAGEFS_INDEX_H

#include "blob/seek.h"
#include "layer/tables.h"
#include <stagefs/digest.h>

#define SFS_INDEX_VERSION 4u

struct sfs_index {
    int fd;    /* keeps the store's lock on the file, and the windows are read from it; -1: none */
    void *map; /* the whole file */
    size_t map_size;               /* bytes of it */
    struct sfs_digest digest;      /* of the blob */
    bool from_toc;                 /* flag 2 */
    struct sfs_digest diff_id;     /* of the tar inside; from_toc: of the table of contents */
    uint64_t blob_size, copy_size; /* bytes; copy_size 0: there is no seekable copy */
    enum sfs_codec codec;          /* of the blob */
    struct sfs_seek_table seek;
    struct sfs_tables tables;
    /* Of one that another machine sent: for each entry where in the tar its first header stands, or
     * SFS_NO_PLACE. NULL: it was made here. */
    const uint64_t *places;
};

/* The entry has no header of its own: a directory that is implied, a whiteout. */
#define SFS_NO_PLACE UINT64_MAX

/* Writes an index that was made, not opened (fd, map and map_size are not looked at), at the file's
 * position. Waits for the disk. */
int sfs_index_write(int fd, const struct sfs_index *index, struct sfs_error *err);

/* Maps and checks the file. Takes over *fd on success. EBADMSG: damaged, or of another version. */
int sfs_index_open(int *fd, struct sfs_index *ret_index, struct sfs_error *err);
/* Maps and checks an index that another machine sent (index_export.h), without its windows: where
 * the check is SFS_CHECK_PUBLIC, the caller sets seek.windows_blob if seek.windows_size is not 0.
 * Or one that was made of SOCI's table (ztoc.h), which has its windows. Its names, and what its
 * digests are worth, are as good as who vouches for the file. Else as sfs_index_open(). */
int sfs_index_open_sent(int *fd, struct sfs_index *ret_index, struct sfs_error *err);
/* Bytes of the file up to WINDOWS, out of the first `size` bytes of an index; 0: it is none. */
size_t sfs_index_head_size(const void *data, size_t size);
/* Unmaps. Fine on an all-zero struct with fd -1. */
void sfs_index_close(struct sfs_index *index);

#endif
