/* A decoder of one codec: stands at a place in compressed bytes and goes on from there in steps, as
 * many and as large as one likes. Its codec's row makes it (together with codecs.h and
 * seek.h, whose points it enters). */
#ifndef STAGEFS_DECODER_H
#define STAGEFS_DECODER_H

#include "blob/seek.h"

struct sfs_codec_row;

/* A decoder's state. One thread at a time; used again for span after span, since it is large. */
struct sfs_decoder { /* embed as first member */
    const struct sfs_codec_row *codec;
};

/* What a step takes from and writes to: the four move on. */
struct sfs_decoder_io {
    const uint8_t *in;
    size_t in_size;
    uint8_t *out;
    size_t out_size;
};

/* What a step came to. */
struct sfs_decoder_step {
    bool has_moved; /* else there is nothing left to do with this input */
    bool has_ended; /* a frame, or gzip member */
    bool is_rest;   /* the data has ended: what follows is nothing of this codec */
};

/* What was decoded before a point that lies inside a frame. The decoder's memory, until it enters
 * again; size 0: the point needs none. */
struct sfs_decoder_window {
    const uint8_t *data;
    size_t size;
};

/* Makes a decoder stand at a point. *io: the input from there on. As the row's `enter`. */
int sfs_decoder_enter(struct sfs_decoder *decoder, const struct sfs_seek_table *table,
                      const struct sfs_point *point, struct sfs_decoder_io *io,
                      struct sfs_decoder_window *ret_window, struct sfs_error *err);
/* By its row's `close`; does nothing if *decoder is NULL. */
void sfs_decoder_close(struct sfs_decoder **decoder);

#endif
