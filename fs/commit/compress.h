/* Compressing one block on its own: a gzip member, or a zstd frame. Blocks put one behind the other
 * are a valid stream of the format, so they can be made on many cores, and entered in the middle.
 *
 * The same block, level and library version give the same bytes on every machine. */
#ifndef STAGEFS_COMPRESS_H
#define STAGEFS_COMPRESS_H

#include "base/buf.h"
#include <stagefs/commit.h>

/* What the wanted format comes to. A value; needs no closing. */
struct sfs_compress_plan {
    enum sfs_compression format; /* GZIP, ZSTD or NONE: of the blocks */
    enum { SFS_CONTENTS_NONE, SFS_CONTENTS_ESTARGZ, SFS_CONTENTS_CHUNKED } contents;
    size_t chunk_size; /* with contents: plain bytes of a chunk of a file */
    int level;
    size_t block_size; /* plain bytes of a block, at most */
    bool copies;       /* blocks that are of the format already are taken as they are, */
    uint32_t copy_min; /* from so many plain bytes on: small ones would cost more than they save */
    const char *media_type;
    char name[96]; /* library, version, level: for an annotation; "" for NONE */
};

/* EINVAL: level out of range. */
int sfs_compress_plan(enum sfs_compression format, int level, struct sfs_compress_plan *ret_plan,
                      struct sfs_error *err);

/* Most bytes that a block of `size` can become. */
size_t sfs_compress_bound(const struct sfs_compress_plan *plan, size_t size);

/* One job's workspace: one thread at a time. NULL: out of memory. */
struct sfs_compressor;
struct sfs_compressor *sfs_compressor_open(const struct sfs_compress_plan *plan);
void sfs_compressor_close(struct sfs_compressor **compressor);
/* Compresses a block into `out` (of sfs_compress_bound() bytes). Count of bytes there or -EIO. Not
 * for NONE. */
ssize_t sfs_compressor_run(struct sfs_compressor *compressor, const void *data, size_t size,
                           void *out, size_t out_size);

/* A block of a finished stream. */
struct sfs_segment {
    uint64_t in, out; /* where it starts in the tar and in the blob */
    uint32_t in_size, out_size;
};
/* What goes behind the last block: for zstd the seek table of the seekable format (a skippable
 * frame), else nothing. */
int sfs_compress_add_tail(const struct sfs_compress_plan *plan, const struct sfs_segment *segments,
                          size_t count, struct sfs_buf *buf);

#endif
