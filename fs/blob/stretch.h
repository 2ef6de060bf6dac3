/* A stretch of a blob: decoded once, and kept with the compressed bytes, so that what is wanted
 * whole can be handed on as it is: frames (zstd frames, gzip members), and, of a gzip member,
 * deflate blocks from one cut to another.
 *
 * Which of both are found depends on the blob alone, not on where its seek table has points. A
 * frame belongs to the stretch that it begins in, and is followed to its end. A cut belongs to the
 * stretch that the bytes before it are in; see cuts.h for where they are. */
#ifndef STAGEFS_STRETCH_H
#define STAGEFS_STRETCH_H

#include "blob/cuts.h"
#include "blob/spans.h"
#include <stagefs/digest.h>

/* Decoded bytes of a frame that is handed on. Larger ones would make readers of the copy wait. */
#define SFS_FRAME_MAX (4u << 20)

struct sfs_frame {
    uint64_t out;               /* offset of its bytes in the decoded stream */
    uint32_t out_size, in_size; /* how many bytes it has, decoded and compressed */
    size_t in;                  /* its offset in the stretch's compressed bytes */
    struct sfs_digest digest;   /* of the decoded bytes, if digests are wanted */
};

struct sfs_stretch {
    uint64_t out; /* decoded bytes [out, out + size) */
    size_t size;
    const uint8_t *data; /* the decoded bytes; behind `size` they go on to the last frame's end */
    const uint8_t *in;   /* the compressed bytes */
    struct sfs_frame *frames; /* in order; owned */
    size_t frame_count;
    struct sfs_cut *cuts; /* in order; their bits count from `in`; owned */
    size_t cut_count;
    bool is_inside;     /* the stretch begins in the middle of a member */
    uint64_t first_bit; /* if is_inside: the bit of `in` where it begins */
    bool goes_on;     /* the member of its last cut, or of its start, goes on in the next stretch */
    uint64_t end_bit; /* if goes_on: the bit of `in` behind which it goes on */
    void *memory, *in_memory;           /* what `data` and `in` point into; owned */
    size_t memory_size, in_memory_size; /* bytes of those */
};
/* Frees its memory and arrays. Fine on an all-zero struct. */
void sfs_stretch_done(struct sfs_stretch *stretch);

/* The first span of the stretch that this span is in. */
uint32_t sfs_stretch_first(const struct sfs_seek_table *table, uint32_t span);
/* How many spans the stretch has that begins at span `first`. */
uint32_t sfs_stretch_spans(const struct sfs_seek_table *table, uint32_t first);

/* What is wanted beside the decoded bytes and the frames. */
struct sfs_stretch_wish {
    bool digests; /* of the frames */
    bool cuts;    /* of gzip; not of a blob with a table of contents */
};

/* Decodes one stretch at a time. It is large, so it is used again. */
struct sfs_stretch_decoder;
/* A new one, which the caller closes. NULL: out of memory. */
struct sfs_stretch_decoder *sfs_stretch_decoder_open(void);
/* Frees *decoder and sets it to NULL; does nothing if it is NULL. */
void sfs_stretch_decoder_close(struct sfs_stretch_decoder **decoder);

/* Decodes and checks the stretch that begins at span `first`. A frame is among `frames` only if it
 * is not the blob's only one; is whole; decodes to what the stretch has at that place and to no
 * more; takes no dictionary, no window of more than 8 MiB, and in gzip's header no optional field;
 * is no larger than its bytes compressed as badly as possible; and is not all zeros (a table of
 * contents need not list those). *stretch may bring memory, which is used again. Waits for the
 * disk. EIO, EKEYREJECTED, EBADMSG: as for a span. */
int sfs_stretch_decode(struct sfs_stretch_decoder *decoder, struct sfs_spans *spans, uint32_t first,
                       const struct sfs_stretch_wish *wish, struct sfs_stretch *stretch,
                       struct sfs_error *err);

#endif
