/* The memory cache's memory: what of the budget is used, and buffers and decoders that are used
 * again. It knows nothing of what is in them, nor what could be given up for more: slots.c does.
 * The caller holds the cache's lock. */
#ifndef STAGEFS_SPARES_H
#define STAGEFS_SPARES_H

#include "blob/span_decoder.h"

struct sfs_decoder_box { /* a decoder and what it was charged for */
    struct sfs_decoder_box *next;
    struct sfs_span_decoder *decoder;
    size_t charged;
};

struct sfs_buffer {
    uint8_t *data;
    size_t capacity;
};

#define SFS_FREE_BUFFERS 4

struct sfs_spares {
    uint64_t budget, used; /* bytes */
    uint64_t limit;        /* of `used`: the budget, less what nobody charges */
    struct sfs_buffer buffers[SFS_FREE_BUFFERS];
    uint64_t decoding;             /* bytes of all decoders, working or not */
    struct sfs_decoder_box *boxes; /* decoders at rest, */
    uint64_t resting;              /* and their bytes */
    unsigned box_count, threads;   /* threads: that decode */
};

/* All zero before. */
void sfs_spares_init(struct sfs_spares *spares, uint64_t budget, unsigned threads);
/* Frees what lies here; what was taken has been given back. */
void sfs_spares_done(struct sfs_spares *spares);

/* A decoder at rest, or a new one; the caller gives it back. NULL: out of memory. */
struct sfs_decoder_box *sfs_spares_take_decoder(struct sfs_spares *spares);
/* Counts what the decoder has come to hold. */
void sfs_spares_charge_decoder(struct sfs_spares *spares, struct sfs_decoder_box *box);
/* Keeps it for the next one, or frees it where it is large or there are many. */
void sfs_spares_give_decoder(struct sfs_spares *spares, struct sfs_decoder_box *box);

/* Memory for `size` decoded bytes. `find`: some that lies here; `make`: new, whatever the limit
 * says. false: there is none. */
bool sfs_spares_find_buffer(struct sfs_spares *spares, size_t size, struct sfs_buffer *ret_buffer);
bool sfs_spares_make_buffer(struct sfs_spares *spares, size_t size, struct sfs_buffer *ret_buffer);
/* Keeps it while there is room for it, else frees it. */
void sfs_spares_give_buffer(struct sfs_spares *spares, struct sfs_buffer *buffer);
/* Bytes that such a buffer takes. */
size_t sfs_spares_capacity(size_t size);
/* Frees one buffer. false: none lies here. */
bool sfs_spares_drop_buffer(struct sfs_spares *spares);

#endif
