/* One header block of a tar: numbers, names, checksum.
 *
 * The judge is Go's archive/tar, which docker, podman, containerd and umoci read layers with. Where
 * GNU tar or libarchive would make another name, type or size of the same bytes, the header is
 * refused: whoever scans an image must see what whoever runs it sees. */
#ifndef STAGEFS_TAR_HEADER_H
#define STAGEFS_TAR_HEADER_H

#include <stagefs/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SFS_TAR_BLOCK 512u /* bytes of a block, and so of a header */

/* A header as it stands in a tar; ustar's fields. Texts that fill their field have no NUL. */
struct sfs_tar_raw {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
    char link[100], magic[8], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct sfs_tar_raw) == SFS_TAR_BLOCK, "a tar header is one block");

enum sfs_tar_format {
    SFS_TAR_V7,
    SFS_TAR_USTAR, /* pax too */
    SFS_TAR_GNU,
};

struct sfs_tar_header {
    enum sfs_tar_format format;
    char type;                    /* the type flag, as it stands */
    char name[155 + 1 + 100 + 1]; /* with ustar's prefix */
    char link[100 + 1];
    int64_t size, mtime, mode, uid, gid, major, minor;
};

/* Reads a number field: octal text, or base 256. EBADMSG, without words: neither, or over 63
 * bits. */
int sfs_tar_number(const void *field, size_t size, int64_t *ret_number);

/* Is it a block of zeros, as stands at a tar's end? */
bool sfs_tar_is_zero_block(const void *block);

/* Does the block's checksum hold? Then it is a header, be it one that is refused. */
bool sfs_tar_is_header(const void *block);

/* Reads a header block. EBADMSG: it is no header, or one that readers disagree on. */
int sfs_tar_header_parse(const void *block, struct sfs_tar_header *ret_header,
                         struct sfs_error *err);

#endif
