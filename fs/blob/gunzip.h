/* A gzip stream as a machine that bytes are pushed through: members one after another, each a
 * header, deflate data and a trailer; then nothing, or what gzip(1) ignores. Starts at a member
 * header, or inside deflate data at a block's first bit. One thread at a time. */
#ifndef STAGEFS_GUNZIP_H
#define STAGEFS_GUNZIP_H

#include "blob/decoder.h"
#include <isa-l/igzip_lib.h>

enum sfs_gunzip_phase {
    SFS_GUNZIP_START,   /* a member must begin here: the start of the stream */
    SFS_GUNZIP_BETWEEN, /* behind a member: another one may begin here, or the stream may end */
    SFS_GUNZIP_HEADER,  /* inside a member's header */
    SFS_GUNZIP_DATA,    /* inside its deflate data */
    SFS_GUNZIP_STOPPED, /* before a deflate block, as was asked */
    SFS_GUNZIP_TRAILER, /* inside its trailer */
    SFS_GUNZIP_REST,    /* what follows is not gzip: ignored */
};

struct sfs_gunzip {
    enum sfs_gunzip_phase phase;
    bool stopping;       /* it was asked to stop at the end of this block */
    bool verify;         /* check trailers (not possible for the member that was entered inside) */
    uint64_t in;         /* bytes taken since start */
    uint64_t member_in;  /* where the present member's header began, by that count */
    uint64_t data_end;   /* `in` behind the last trailer */
    uint64_t member_out; /* decoded bytes of the present member so far */
    uint32_t crc;        /* of those bytes, if `verify` */
    struct {
        uint32_t state, flags, left, size, crc;
        uint8_t bytes[8];
    } head; /* the header or trailer that is being read */
    struct inflate_state inflate;
};

/* Makes it stand at a member header. */
void sfs_gunzip_start(struct sfs_gunzip *gunzip, bool verify);
/* Makes it stand inside deflate data, at a block's first bit: the `bits` (0-7) high bits of `byte`
 * come first, and `window` is what was decoded before (copied). */
int sfs_gunzip_resume(struct sfs_gunzip *gunzip, uint8_t byte, unsigned bits, const void *window,
                      size_t window_size);

/* Goes on, at most to the end of the present phase, and moves `io` on. Nothing is left to do with
 * this input if io->in_size is 0 and io->out_size is not. EBADMSG: damaged. */
int sfs_gunzip_step(struct sfs_gunzip *gunzip, struct sfs_decoder_io *io, struct sfs_error *err);

/* Reads a little-endian number of a member's trailer (RFC 1952, 2.3.1): CRC-32 first, then the
 * size.
 */
uint32_t sfs_gunzip_load32(const uint8_t bytes[4]);

/* May the stream end here? To be asked at the end of the input. */
bool sfs_gunzip_may_end(const struct sfs_gunzip *gunzip);

/* Asks it to stop behind the deflate block that it is in. False: that cannot be asked now, since it
 * stands between blocks or in a member's last block. */
bool sfs_gunzip_ask_stop(struct sfs_gunzip *gunzip);
/* Will it stop behind this block in any case, since it was asked to or this is the member's
 * last? */
bool sfs_gunzip_is_ending(const struct sfs_gunzip *gunzip);
/* The bit where the next block starts, counted from where `in` counts bytes. Only in phase
 * SFS_GUNZIP_STOPPED. */
uint64_t sfs_gunzip_stop_bit(const struct sfs_gunzip *gunzip);
/* Goes on behind a stop as a decoder would that enters there: what it knows of the bytes before is
 * `window` alone. 0 or -EBADMSG. */
int sfs_gunzip_go_on(struct sfs_gunzip *gunzip, const void *window, size_t window_size);

#endif
