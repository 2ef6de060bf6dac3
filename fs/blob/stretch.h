/* A stretch of a blob that is made of frames (zstd frames, gzip members): decoded once, and kept
 * with the compressed bytes, so that frames whose every byte is wanted can be handed on as they
 * are.
 *
 * Which frames are found depends on the blob alone, not on where its seek table has points: a frame
 * belongs to the stretch that it begins in, and is followed to its end. */
#ifndef STAGEFS_STRETCH_H
#define STAGEFS_STRETCH_H

#include "blob/spans.h"
#include <stagefs/digest.h>

/* Decoded bytes of a frame that is handed on. Larger ones would make readers of the copy wait. */
#define SFS_FRAME_MAX (4u << 20)

struct sfs_frame {
    uint64_t out;               /* where its bytes are in the decoded stream */
    uint32_t out_size, in_size; /* bytes, decoded and compressed */
    size_t in;                  /* where it is in the stretch's compressed bytes */
    struct sfs_digest digest;   /* of the decoded bytes, if digests are wanted */
};

struct sfs_stretch {
    uint64_t out; /* decoded bytes [out, out + size) */
    size_t size;
    const uint8_t *data; /* goes on behind `size` as far as the last frame does */
    const uint8_t *in;
    struct sfs_frame *frames; /* in order */
    size_t frame_count;
    void *memory, *in_memory; /* owned, as are the frames; of these sizes: */
    size_t memory_size, in_memory_size;
};
void sfs_stretch_done(struct sfs_stretch *stretch);

/* The first span of the stretch that this span is in, and how many spans that has. */
uint32_t sfs_stretch_first(const struct sfs_seek_table *table, uint32_t span);
uint32_t sfs_stretch_spans(const struct sfs_seek_table *table, uint32_t first);

/* One decode at a time; large, so reused. NULL from open: out of memory. */
struct sfs_stretch_decoder;
struct sfs_stretch_decoder *sfs_stretch_decoder_open(void);
void sfs_stretch_decoder_close(struct sfs_stretch_decoder **decoder);

/* Decodes and checks the stretch that begins at span `first`. A frame is among `frames` only if it
 * is whole; decodes to what the stretch has at that place and to no more; takes no dictionary, no
 * window of more than 8 MiB, and in gzip's header no optional field; is no larger than its bytes
 * compressed as badly as possible; and is not all zeros (a table of contents need not list those).
 * *stretch may bring memory, which is used again. Waits for the disk. EIO, EKEYREJECTED, EBADMSG:
 * as for a span. */
int sfs_stretch_decode(struct sfs_stretch_decoder *decoder, struct sfs_spans *spans, uint32_t first,
                       bool digests, struct sfs_stretch *stretch, struct sfs_error *err);

#endif
