/* A second reading of a blob's start, for the seekable copy: no threads, no points. */
#include "blob/gunzip.h"
#include "blob/unpack_pass.h"
#include <errno.h>

struct replay {
    struct sfs_blob *blob;
    uint64_t in_offset, left; /* of the blob; decoded bytes still wanted */
    uint8_t *in, *out;
    size_t in_pos, in_size;
    struct sfs_gunzip *gunzip;
    ZSTD_DCtx *zstd;
};

static int refill(struct replay *replay, struct sfs_error *err)
{
    if (replay->in_pos < replay->in_size)
        return 0;
    ssize_t size =
        sfs_blob_read_at(replay->blob, replay->in, SFS_PASS_BLOCK, replay->in_offset, err);
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
    if (replay->gunzip) {
        struct sfs_gunzip_io io = { replay->in + replay->in_pos, replay->in_size - replay->in_pos,
                                    replay->out, room };
        int r = sfs_gunzip_step(replay->gunzip, &io, err);
        replay->in_pos = replay->in_size - io.in_size;
        *ret_size = room - io.out_size;
        return r;
    }
    ZSTD_inBuffer in = { replay->in, replay->in_size, replay->in_pos };
    ZSTD_outBuffer out = { replay->out, room, 0 };
    size_t r = ZSTD_decompressStream(replay->zstd, &out, &in);
    replay->in_pos = in.pos;
    *ret_size = out.pos;
    if (ZSTD_isError(r))
        return sfs_fail(err, EBADMSG, "zstd data is damaged: %s", ZSTD_getErrorName(r));
    return 0;
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
        size_t room = replay->left < SFS_PASS_BLOCK ? (size_t)replay->left : SFS_PASS_BLOCK;
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

int sfs_replay(struct sfs_blob *blob, enum sfs_codec codec, uint64_t size,
               int (*block)(void *user, const void *data, size_t size, struct sfs_error *err),
               void *user, struct sfs_error *err)
{
    AUTO(sfs_free) uint8_t *in = malloc(SFS_PASS_BLOCK);
    AUTO(sfs_free) uint8_t *out = malloc(SFS_PASS_BLOCK);
    AUTO(sfs_free) struct sfs_gunzip *gunzip = calloc(1, sizeof *gunzip);
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    struct replay replay = { .blob = blob, .left = size, .in = in, .out = out, .zstd = zstd };
    if (codec == SFS_CODEC_GZIP)
        replay.gunzip = gunzip;
    if (gunzip)
        sfs_gunzip_start(gunzip, false);
    int r = in && out && gunzip && zstd ? run(&replay, block, user, err) : sfs_fail_memory(err);
    ZSTD_freeDCtx(zstd);
    return r;
}
