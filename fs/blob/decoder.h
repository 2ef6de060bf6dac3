/* A decoder of one codec stands at a place in compressed bytes and goes on from there in steps, as
 * many and as large as one likes. Its codec's row makes it, and it enters at the points
 * of the seek table (together with codecs.h and seek.h). */
#ifndef STAGEFS_DECODER_H
#define STAGEFS_DECODER_H

#include "blob/seek.h"

struct sfs_codec_row;

/* A decoder's state. One thread at a time; used again for span after span, since it is large. */
struct sfs_decoder { /* embed as first member */
    const struct sfs_codec_row *codec;
};

/* Where a step reads from and writes to. A step moves both pointers on, and makes both sizes
 * less. */
struct sfs_decoder_io {
    const uint8_t *in;
    size_t in_size;
    uint8_t *out;
    size_t out_size;
};

/* What a step has come to. */
struct sfs_decoder_step {
    bool has_moved; /* it read or wrote something; else nothing is left to do with this input */
    bool has_ended; /* it came to the end of a frame, or gzip member */
    bool is_rest;   /* the data has ended: what follows is nothing of this codec */
};

/* The bytes decoded before a point that lies inside a frame. They lie in the decoder's memory until
 * it enters again; size 0: the point needs none. */
struct sfs_decoder_window {
    const uint8_t *data;
    size_t size;
};

/* Makes a decoder stand at a point; io->in is the input from there on. As the row's `enter`. */
int sfs_decoder_enter(struct sfs_decoder *decoder, const struct sfs_seek_table *table,
                      const struct sfs_point *point, struct sfs_decoder_io *io,
                      struct sfs_decoder_window *ret_window, struct sfs_error *err);
/* Frees by its row's `close`, and sets NULL; NULL is fine. */
void sfs_decoder_close(struct sfs_decoder **decoder);

#endif
