/* Decodes a blob's start once more, on the caller's thread and without making points. */
#include "blob/unpack_replay.h"

#include <errno.h>

#define BLOCK (1u << 20) /* bytes that are read, or decoded, at a time */

struct replay {
    struct sfs_blob *blob;
    uint64_t in_offset; /* offset in the blob of what is read next */
    uint64_t left;      /* decoded bytes still wanted */
    uint8_t *in, *out;
    size_t in_pos, in_size;
    struct sfs_decoder *decoder;
};

static int refill(struct replay *replay, struct sfs_error *err)
{
    if (replay->in_pos < replay->in_size)
        return 0;
    ssize_t size = sfs_blob_read_at(replay->blob, replay->in, BLOCK, replay->in_offset, err);
    if (size < 0)
        return (int)size;
    if (size == 0)
        return sfs_fail(err, EIO, "%s was changed while it was read", replay->blob->name);
    replay->in_pos = 0;
    replay->in_size = (size_t)size;
    replay->in_offset += (uint64_t)size;
    return 0;
}

/* One step of the decoder into `out`; *ret_size may be 0. */
static int step(struct replay *replay, size_t room, size_t *ret_size, struct sfs_error *err)
{
    struct sfs_decoder_io io = { replay->in + replay->in_pos, replay->in_size - replay->in_pos,
                                 replay->out, room };
    struct sfs_decoder_step moved;
    int r = replay->decoder->codec->step(replay->decoder, &io, &moved, err);
    replay->in_pos = replay->in_size - io.in_size;
    *ret_size = room - io.out_size;
    return r;
}

static int run(struct replay *replay,
               int (*block)(void *user, const void *data, size_t size, struct sfs_error *err),
               void *user, struct sfs_error *err)
{
    bool was_full = false;
    while (replay->left > 0) {
        int r = was_full ? 0 : refill(replay, err);
        if (r < 0)
            return r;
        size_t room = replay->left < BLOCK ? (size_t)replay->left : BLOCK;
        size_t made;
        r = step(replay, room, &made, err);
        if (r == 0 && made > 0)
            r = block(user, replay->out, made, err);
        if (r < 0)
            return r;
        replay->left -= made;
        was_full = made == room;
    }
    return 0;
}

int sfs_replay(struct sfs_blob *blob, const struct sfs_codec_row *codec, uint64_t size,
               int (*block)(void *user, const void *data, size_t size, struct sfs_error *err),
               void *user, struct sfs_error *err)
{
    AUTO(sfs_free) uint8_t *in = malloc(BLOCK);
    AUTO(sfs_free) uint8_t *out = malloc(BLOCK);
    AUTO(sfs_decoder_close) struct sfs_decoder *decoder = codec->open();
    if (!in || !out || !decoder)
        return sfs_fail_memory(err);
    struct replay replay = { .blob = blob, .left = size, .in = in, .out = out, .decoder = decoder };
    codec->start(decoder);
    return run(&replay, block, user, err);
}
