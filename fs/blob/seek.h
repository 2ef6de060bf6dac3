/* Where decompression can start: the seek table of one compressed blob (together with codecs.h: the
 * codec's row says what its points may be).
 *
 * Decoded bytes are cut into spans. Span i starts at points[i] and ends where span i+1 starts (the
 * last one at out_size). It is the unit of decoding, caching and checking. Spans are at most
 * SFS_SPAN_MAX decoded bytes. A span may be empty: it holds input that nobody needs. */
#ifndef STAGEFS_SEEK_H
#define STAGEFS_SEEK_H

#include "base/io.h"
#include <stagefs/codec.h>

#define SFS_SPAN_MAX (16u << 20)
/* Compressed bytes of a span, at most (those of an empty span are never read, and any number). */
#define SFS_SPAN_IN_MAX (40u << 20)

#define SFS_WINDOW_MAX (32u << 10) /* how far back deflate refers */
/* Bytes of a window as it is stored, at most: a frame of what cannot be made smaller. */
#define SFS_WINDOW_STORED_MAX (SFS_WINDOW_MAX + 1024u)
#define SFS_POINT_RAW         0x80 /* in `bits`: raw deflate goes on here */

/* How a span's bytes are checked each time they are read. */
enum sfs_check {
    SFS_CHECK_NONE = 0,
    /* 16-byte AES-128-GMAC of the span's compressed bytes; key in the table, nonce = the span's
     * number. Made while the whole blob's SHA-256 was verified. */
    SFS_CHECK_GMAC = 1,
    /* 32-byte SHA-256 of the decoded bytes, from a table of contents that the image brought. */
    SFS_CHECK_SHA256 = 2,
    /* 32-byte SHA-256 of the point's stored window and the span's compressed bytes: of indexes that
     * came from other machines (layer/index_export.h). */
    SFS_CHECK_PUBLIC = 3,
    /* 32-byte SHA-256 of the span's compressed bytes alone, from a table of SOCI's
     * (layer/ztoc.h); its windows, which came with it, are in the table's own file. */
    SFS_CHECK_INPUT = 4,
    SFS_CHECK_LAST = SFS_CHECK_INPUT,
};

struct sfs_blob;

struct sfs_point {   /* on disk: little-endian, 32 bytes */
    uint64_t out;    /* offset in the decoded stream */
    uint64_t in;     /* offset in the blob of the first whole byte of input */
    uint64_t window; /* offset of its compressed window in `windows`; unused if window_size is 0 */
    /* Bytes of that window: a zstd frame of the 32 KiB of output before the point. 0: the point
     * needs none. */
    uint32_t window_size : 24;
    /* Of gzip: how many bits of byte in-1 (0-7) belong to this span. With SFS_POINT_RAW, raw
     * deflate goes on here; without, a gzip member header stands at `in`. */
    uint32_t bits : 8;
    /* Decoded bytes between where input starts and `out`. Small files that share a frame have the
     * same `in`, and all but the first of them skip. */
    uint32_t skip;
};
_Static_assert(sizeof(struct sfs_point) == 32, "on-disk struct");

struct sfs_seek_table {
    enum sfs_codec codec;
    enum sfs_check check;
    bool is_framed;    /* the blob has more than one frame, or gzip member: see stretch.h */
    uint64_t in_size;  /* bytes of the compressed blob that hold data (before a footer) */
    uint64_t out_size; /* bytes of the decoded stream */
    uint32_t count;    /* of points, and so of spans */
    const struct sfs_point *points;
    const uint8_t *tags; /* count * 16 (GMAC) or count * 32 (SHA-256) bytes, or NULL */
    /* Windows lie in memory, or, where that is NULL, in a file: each is wanted once in a long
     * while, and all of a large image's would take 12 MB. */
    const uint8_t *windows;
    uint64_t windows_size;
    int windows_fd;      /* borrowed; used only where windows is NULL */
    uint64_t windows_at; /* offset of the windows in that file */
    /* Where the check is PUBLIC: the windows as a blob of their own, borrowed, which may lie on
     * another machine. NULL where they are in memory, or there are none. */
    struct sfs_blob *windows_blob;
    uint8_t key[16]; /* of the GMAC tags */
};

/* The compressed bytes of a span: [*ret_start, *ret_end). Neighbours overlap by one byte where bits
 * are shared. */
void sfs_seek_input(const struct sfs_seek_table *table, uint32_t span, uint64_t *ret_start,
                    uint64_t *ret_end);
/* How many decoded bytes a span has. */
uint64_t sfs_seek_size(const struct sfs_seek_table *table, uint32_t span);
/* The span that holds decoded byte `offset` (< out_size). */
uint32_t sfs_seek_find(const struct sfs_seek_table *table, uint64_t offset);
/* Checks a table that came from outside: points in order and inside the blob, spans within
 * SFS_SPAN_MAX, windows inside their section. EBADMSG: something does not hold. */
int sfs_seek_check(const struct sfs_seek_table *table, uint64_t blob_size, struct sfs_error *err);

#endif
