/* A tar's bytes, block by block, out of pieces of any size. One thread. */
#ifndef STAGEFS_TAR_BLOCKS_H
#define STAGEFS_TAR_BLOCKS_H

#include "base/buf.h"
#include "layer/tar_header.h"

/* Where the bytes come from. */
struct sfs_tar_source {
    /* Lends the next bytes until the next call; *ret_size 0: the end. */
    int (*next)(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err);
    void *user;
    /* Passes over `size` bytes behind what was lent, or as many as there are. NULL: they are lent,
     * and not looked at. */
    int (*skip)(void *user, uint64_t size, uint64_t *ret_skipped, struct sfs_error *err);
};

struct sfs_tar_blocks {
    struct sfs_tar_source source;
    const unsigned char *at; /* the next byte of what the source has lent */
    size_t left;             /* bytes from there on */
    uint64_t offset;         /* where `at` is in the tar */
    bool source_failed;      /* the words of a failure are the source's own */
    unsigned char block[SFS_TAR_BLOCK];
};

/* Lends the next block until the next call. 1: done; 0: nothing is left. EBADMSG: only a part of a
 * block is left. */
int sfs_tar_blocks_next(struct sfs_tar_blocks *blocks, const void **ret_block,
                        struct sfs_error *err);
/* Passes over that many bytes. EBADMSG: there are fewer. */
int sfs_tar_blocks_skip(struct sfs_tar_blocks *blocks, uint64_t size, struct sfs_error *err);
/* Passes over what fills a block behind `size` bytes; at the end of the tar it may be missing. */
int sfs_tar_blocks_skip_padding(struct sfs_tar_blocks *blocks, uint64_t size,
                                struct sfs_error *err);
/* Adds that many bytes to `buf`, and passes over their padding. EBADMSG: there are fewer. */
int sfs_tar_blocks_read(struct sfs_tar_blocks *blocks, size_t size, struct sfs_buf *buf,
                        struct sfs_error *err);

#endif
