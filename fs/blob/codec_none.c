/* The codec of what is not compressed: decoded bytes are the blob's. */
#include "blob/codecs.h"

#include "blob/unpack_pass.h"

/* Each block of the pass becomes a span. */
static int unpack(struct sfs_pass *pass, struct sfs_error *err)
{
    uint64_t offset = 0;
    for (;;) {
        const uint8_t *data;
        uint8_t *out;
        size_t size;
        int r = sfs_pass_input(pass, &data, &size, err);
        if (r < 0 || size == 0)
            return r;
        r = sfs_pass_output(pass, &out, err);
        if (r == 0)
            r = sfs_pass_add_point(pass, offset, offset, 0, NULL, 0, err);
        if (r < 0)
            return r;
        memcpy(out, data, size);
        offset += size;
        r = sfs_pass_deliver(pass, size, err);
        if (r < 0)
            return r;
    }
}

static struct sfs_decoder *open_decoder(void)
{
    struct sfs_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder)
        decoder->codec = &sfs_codec_none;
    return decoder;
}

static void close_decoder(struct sfs_decoder *decoder)
{
    free(decoder);
}

static size_t get_memory(const struct sfs_decoder *decoder)
{
    return sizeof *decoder;
}

static void start(struct sfs_decoder *decoder)
{
    (void)decoder;
}

static int step(struct sfs_decoder *decoder, struct sfs_decoder_io *io,
                struct sfs_decoder_step *ret_step, struct sfs_error *err)
{
    (void)decoder;
    (void)err;
    size_t size = io->out_size < io->in_size ? io->out_size : io->in_size;
    if (size > 0)
        memcpy(io->out, io->in, size);
    *io = (struct sfs_decoder_io){ io->in + size, io->in_size - size, io->out + size,
                                   io->out_size - size };
    *ret_step = (struct sfs_decoder_step){ .has_moved = size > 0 };
    return 0;
}

const struct sfs_codec_row sfs_codec_none = {
    .name = "none",
    .media_types = SFS_LAYER_MEDIA_TYPES("", ""),
    .is_plain = true,
    .unpack = unpack,
    .open = open_decoder,
    .close = close_decoder,
    .memory = get_memory,
    .start = start,
    .step = step,
};
