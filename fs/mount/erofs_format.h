/* EROFS on disk, as far as an uncompressed image of names and attributes needs it. All numbers are
 * little-endian. Source: Documentation/filesystems/erofs.rst of Linux 6.12, and the layout that its
 * driver checks. */
#ifndef STAGEFS_EROFS_FORMAT_H
#define STAGEFS_EROFS_FORMAT_H

#include <stdint.h>

#define EROFS_BLOCK_BITS   12u
#define EROFS_BLOCK        (1u << EROFS_BLOCK_BITS)
#define EROFS_MAGIC        0xe0f5e1e2u
#define EROFS_SUPER_AT     1024u
#define EROFS_SLOT         32u  /* an inode's number is its place, counted in so many bytes */
#define EROFS_DEVICE_SLOT  128u /* a device's number is its place, counted in so many bytes */
#define EROFS_MTIME        0x2u /* compatible feature: times are mtimes */
#define EROFS_CHUNKED_FILE 0x4u /* incompatible features */
#define EROFS_DEVICE_TABLE 0x8u

struct erofs_super {
    uint32_t magic, checksum, compatible;
    uint8_t block_bits, extension_slots;
    uint16_t root;
    uint64_t inodes, time;
    uint32_t time_nsec, blocks, meta_block, xattr_block;
    uint8_t uuid[16];
    char label[16];
    uint32_t incompatible;
    uint16_t compression;
    uint16_t devices, device_slot;
    uint8_t rest[38];
};
_Static_assert(sizeof(struct erofs_super) == 128, "as on disk");

struct erofs_device {
    char tag[64];
    uint32_t blocks;
    uint32_t mapped_at; /* block addresses from this one on are this device's */
    uint8_t rest[56];
};
_Static_assert(sizeof(struct erofs_device) == 128, "as on disk");

/* `format`: the long form of an inode, with its data in blocks; with the last, partial block behind
 * inode and extended attributes instead; or with a table there that says where each chunk is. */
#define EROFS_FORMAT_PLAIN   (1u | 0u << 1)
#define EROFS_FORMAT_INLINE  (1u | 2u << 1)
#define EROFS_FORMAT_CHUNKED (1u | 4u << 1)
/* In place of the first block of such an inode: chunks are of one block, and the table is of struct
 * erofs_chunk. It begins at a multiple of its entries' size. */
#define EROFS_CHUNKS_OF_A_BLOCK 0x20u

struct erofs_inode {
    uint16_t format;
    uint16_t xattr_count; /* 0, or 1 + the 4-byte units behind the header of the attributes */
    uint16_t mode, rest;
    uint64_t size;
    uint32_t block; /* the first block of its data; of device files: the device */
    uint32_t number;
    uint32_t uid, gid;
    uint64_t mtime;
    uint32_t mtime_nsec, links;
    uint8_t rest2[16];
};
_Static_assert(sizeof(struct erofs_inode) == 64, "as on disk");

struct erofs_chunk {
    uint16_t block_high, device; /* device 0: the image itself; 1: the first of the table, ... */
    uint32_t block;
};
_Static_assert(sizeof(struct erofs_chunk) == 8, "as on disk");

struct erofs_xattr_header {
    uint32_t filter;
    uint8_t shared, rest[7];
};
_Static_assert(sizeof(struct erofs_xattr_header) == 12, "as on disk");

/* Name without its prefix and value follow; then zeros up to four bytes. */
struct erofs_xattr {
    uint8_t name_size, prefix;
    uint16_t value_size;
};
_Static_assert(sizeof(struct erofs_xattr) == 4, "as on disk");

/* A block of a directory is an array of these, sorted by name, with the names behind it. */
struct erofs_dirent {
    uint64_t inode;
    uint16_t name_at; /* where in the block its name is; the first one tells how many there are */
    uint8_t type, rest;
} __attribute__((packed));
_Static_assert(sizeof(struct erofs_dirent) == 12, "as on disk");

#endif
