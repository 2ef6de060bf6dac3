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
    uint64_t in, out;           /* where it starts in the tar and in the blob */
    uint32_t in_size, out_size; /* bytes, plain and compressed */
};

/* What one job compresses with: one thread at a time. */
struct sfs_compressor { /* embed as first member */
    const struct sfs_compress_method *method;
};

/* A way to compress a block: compress_gzip.c and compress_zstd.c hold one each. */
struct sfs_compress_method {
    enum sfs_codec codec;   /* the codec that decodes it */
    int default_level;      /* may be outside of the levels that a caller can ask for */
    int (*max_level)(void); /* levels are 1 to this */
    void (*describe)(int level, char *text, size_t size); /* method, library, version, level */
    size_t (*bound)(size_t size);                         /* as sfs_compress_bound() */
    struct sfs_compressor *(*open)(int level);            /* NULL: out of memory */
    void (*close)(struct sfs_compressor *compressor);     /* frees; never called with NULL */
    ssize_t (*run)(struct sfs_compressor *compressor, const void *data, size_t size, void *out,
                   size_t out_size); /* as sfs_compressor_run() */
    /* Adds what goes behind the last block; NULL: nothing does. */
    void (*add_tail)(const struct sfs_segment *segments, size_t count, struct sfs_buf *buf);
};
extern const struct sfs_compress_method sfs_compress_gzip, sfs_compress_zstd;

/* Tables of contents that a layer may bring (contents.h). */
enum sfs_contents_form { SFS_CONTENTS_NONE, SFS_CONTENTS_ESTARGZ, SFS_CONTENTS_CHUNKED };

/* All that the wanted format decides. A value; needs no closing. */
struct sfs_compress_plan {
    const struct sfs_compress_method *method; /* NULL: bytes as they are */
    enum sfs_codec codec;                     /* of what is written */
    enum sfs_contents_form contents;          /* which table of contents the layer gets */
    size_t chunk_size;                        /* with contents: plain bytes of a chunk of a file */
    int level;
    size_t block_size; /* plain bytes of a block, at most */
    bool copies;       /* a source's frames that are of this format are taken as they are */
    uint32_t copy_min; /* only frames of so many plain bytes: small ones cost more than they save */
    bool splices;      /* a source's deflate blocks are taken as they are, too (splice.h) */
    const char *media_type;
    char name[96]; /* the text of `describe`, for an annotation; "" without a method */
};

/* Makes the plan of a format. level 0: the default. EINVAL: the level is out of range. */
int sfs_compress_plan(enum sfs_compression compression, int level,
                      struct sfs_compress_plan *ret_plan, struct sfs_error *err);

/* How many bytes a block of `size` bytes can become at most. */
size_t sfs_compress_bound(const struct sfs_compress_plan *plan, size_t size);

/* A new one, which the caller closes; the plan must have a method. NULL: out of memory. */
struct sfs_compressor *sfs_compressor_open(const struct sfs_compress_plan *plan);
/* Frees by its method's `close`, and sets NULL; NULL is fine. */
void sfs_compressor_close(struct sfs_compressor **compressor);
/* Compresses a block into `out` (of sfs_compress_bound() bytes). Returns how many bytes are there,
 * or -EIO. */
ssize_t sfs_compressor_run(struct sfs_compressor *compressor, const void *data, size_t size,
                           void *out, size_t out_size);

/* Adds what goes behind the last block: for zstd the seek table of the seekable format (a skippable
 * frame), else nothing. 0 or -ENOMEM. */
int sfs_compress_add_tail(const struct sfs_compress_plan *plan, const struct sfs_segment *segments,
                          size_t count, struct sfs_buf *buf);

#endif
