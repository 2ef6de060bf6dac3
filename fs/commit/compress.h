/* Compressing one block on its own: a gzip member, or a zstd frame. Blocks put one behind the other
 * are a valid stream of the format, so they can be made on many cores, and entered in the middle.
 *
 * The same block, level and library version give the same bytes on every machine. */
#ifndef STAGEFS_COMPRESS_H
#define STAGEFS_COMPRESS_H

#include "base/buf.h"
#include <stagefs/codec.h>
#include <stagefs/commit.h>

/* A block of a finished stream. */
struct sfs_segment {
    uint64_t in, out; /* where it starts in the tar and in the blob */
    uint32_t in_size, out_size;
};

/* One job's workspace: one thread at a time. */
struct sfs_compressor { /* embed as first member */
    const struct sfs_compress_method *method;
};

/* A way to compress a block: compress_gzip.c and compress_zstd.c hold one each. */
struct sfs_compress_method {
    enum sfs_codec codec; /* that reads it */
    int default_level;    /* levels are 1 to max_level(); a default may be beside them */
    int (*max_level)(void);
    void (*describe)(int level, char *text, size_t size); /* method, library, version, level */
    size_t (*bound)(size_t size);                         /* as sfs_compress_bound() */
    struct sfs_compressor *(*open)(int level);            /* NULL: out of memory */
    void (*close)(struct sfs_compressor *compressor);     /* not of NULL */
    ssize_t (*run)(struct sfs_compressor *compressor, const void *data, size_t size, void *out,
                   size_t out_size); /* as sfs_compressor_run() */
    /* Adds what goes behind the last block; NULL: nothing does. */
    void (*add_tail)(const struct sfs_segment *segments, size_t count, struct sfs_buf *buf);
};
extern const struct sfs_compress_method sfs_compress_gzip, sfs_compress_zstd;

/* Tables of contents that a layer may bring (contents.h). */
enum sfs_contents_form { SFS_CONTENTS_NONE, SFS_CONTENTS_ESTARGZ, SFS_CONTENTS_CHUNKED };

/* What the wanted format comes to. A value; needs no closing. */
struct sfs_compress_plan {
    const struct sfs_compress_method *method; /* NULL: bytes as they are */
    enum sfs_codec codec;                     /* of what is written */
    enum sfs_contents_form contents;
    size_t chunk_size; /* with contents: plain bytes of a chunk of a file */
    int level;
    size_t block_size; /* plain bytes of a block, at most */
    bool copies;       /* blocks that are of the format already are taken as they are, */
    uint32_t copy_min; /* from so many plain bytes on: small ones would cost more than they save */
    bool splices;      /* deflate blocks of a source, too (splice.h) */
    const char *media_type;
    char name[96]; /* as `describe` has it, for an annotation; "" without a method */
};

/* level 0: the default. EINVAL: out of range. */
int sfs_compress_plan(enum sfs_compression compression, int level,
                      struct sfs_compress_plan *ret_plan, struct sfs_error *err);

/* Most bytes that a block of `size` can become. */
size_t sfs_compress_bound(const struct sfs_compress_plan *plan, size_t size);

/* Not for a plan without a method. NULL: out of memory. */
struct sfs_compressor *sfs_compressor_open(const struct sfs_compress_plan *plan);
/* By its method's `close`; does nothing if *compressor is NULL. */
void sfs_compressor_close(struct sfs_compressor **compressor);
/* Compresses a block into `out` (of sfs_compress_bound() bytes). Count of bytes there or -EIO. */
ssize_t sfs_compressor_run(struct sfs_compressor *compressor, const void *data, size_t size,
                           void *out, size_t out_size);

/* What goes behind the last block: for zstd the seek table of the seekable format (a skippable
 * frame), else nothing. 0 or -ENOMEM. */
int sfs_compress_add_tail(const struct sfs_compress_plan *plan, const struct sfs_segment *segments,
                          size_t count, struct sfs_buf *buf);

#endif
