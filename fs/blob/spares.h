/* The memory cache's memory: how much of the budget is used, and the spares, which are buffers and
 * decoders kept to be used again. What is in them, and what could be given up for more, only
 * slots.c knows. The caller holds the cache's lock. */
#ifndef STAGEFS_SPARES_H
#define STAGEFS_SPARES_H

#include "blob/arena.h"
#include "blob/span_decoder.h"

/* A decoder, with what it counts in the budget. */
struct sfs_decoder_box {
    struct sfs_decoder_box *next; /* among those at rest */
    struct sfs_span_decoder *decoder;
    size_t charged; /* bytes */
};

struct sfs_buffer {
    uint8_t *data;
    size_t capacity;
};

struct sfs_spares {
    uint64_t budget, used; /* bytes */
    uint64_t limit; /* what `used` may be: the budget, less a share for what is not counted */
    struct sfs_arena arena;        /* of buffers */
    uint64_t decoding;             /* bytes of all decoders, working or at rest */
    struct sfs_decoder_box *boxes; /* the decoders at rest */
    uint64_t resting;              /* bytes of the decoders at rest */
    unsigned box_count, threads;   /* how many decoders are at rest, and how many threads decode */
};

/* Sets the budget, in bytes, and how many threads decode. The struct is all zero before. */
void sfs_spares_init(struct sfs_spares *spares, uint64_t budget, unsigned threads);
/* Frees the spares; whatever was taken has been given back. */
void sfs_spares_done(struct sfs_spares *spares);

/* Takes a decoder, of the spares or new; it is given back with sfs_spares_give_decoder(). NULL: out
 * of memory. */
struct sfs_decoder_box *sfs_spares_take_decoder(struct sfs_spares *spares);
/* Counts in the budget what the decoder holds by now. */
void sfs_spares_charge_decoder(struct sfs_spares *spares, struct sfs_decoder_box *box);
/* Takes a decoder back: keeps it, or frees it where it is large or many are kept. */
void sfs_spares_give_decoder(struct sfs_spares *spares, struct sfs_decoder_box *box);

/* Bytes of memory of a buffer for `size` decoded bytes. */
size_t sfs_spares_capacity(size_t size);
/* Takes a buffer for `size` decoded bytes; `is_beyond`: whatever the limit says. False: there is no
 * room for it, or no memory. */
bool sfs_spares_take_buffer(struct sfs_spares *spares, size_t size, bool is_beyond,
                            struct sfs_buffer *ret_buffer);
/* Takes a buffer back. */
void sfs_spares_give_buffer(struct sfs_spares *spares, struct sfs_buffer *buffer);

#endif
