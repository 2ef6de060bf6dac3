/* What every row of the table of codecs has to hold. */
#include "blob_support.h"
#include <criterion/criterion.h>

/* The stream that a row's own bytes are made of: "abc", as this codec has it. */
static struct sfs_buf stream_of(enum sfs_codec codec)
{
    struct sfs_buf stream = { 0 };
    switch (codec) {
    case SFS_CODEC_GZIP:
        add_libdeflate(&stream, "abc", 3, 6);
        break;
    case SFS_CODEC_ZSTD:
        add_zstd(&stream, "abc", 3, 3, true, true);
        break;
    default:
        sfs_buf_add(&stream, "abc", 3);
    }
    return stream;
}

Test(codecs, have_names_and_media_types_of_their_own)
{
    for (unsigned i = 0; i < SFS_CODECS; i++) {
        const struct sfs_codec_row *row = sfs_codec_get((enum sfs_codec)i);
        cr_assert_str_eq(row->name, sfs_codec_name((enum sfs_codec)i));
        for (unsigned t = 0; t < SFS_LAYER_TYPES; t++) {
            enum sfs_codec codec = SFS_CODEC_NONE;
            enum sfs_layer_type type = SFS_LAYER_OCI;
            cr_assert(sfs_codec_find_type(row->media_types[t], &codec, &type));
            cr_assert_eq(codec, i, "%s", row->media_types[t]);
            cr_assert_eq(type, t, "%s", row->media_types[t]);
        }
    }
    cr_assert_null(sfs_codec_get((enum sfs_codec)SFS_CODECS));
}

Test(codecs, are_spelt_as_the_specifications_have_them)
{
    cr_assert_str_eq(sfs_codec_media_type(SFS_CODEC_NONE, SFS_LAYER_OCI),
                     "application/vnd.oci.image.layer.v1.tar");
    cr_assert_str_eq(sfs_codec_media_type(SFS_CODEC_ZSTD, SFS_LAYER_OCI_FOREIGN),
                     "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd");
    cr_assert_str_eq(sfs_codec_media_type(SFS_CODEC_GZIP, SFS_LAYER_DOCKER),
                     "application/vnd.docker.image.rootfs.diff.tar.gzip");
    cr_assert_str_eq(sfs_codec_media_type(SFS_CODEC_GZIP, SFS_LAYER_DOCKER_FOREIGN),
                     "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
}

Test(codecs, are_told_by_what_they_write)
{
    for (unsigned i = 0; i < SFS_CODECS; i++) {
        AUTO(sfs_buf_close) struct sfs_buf stream = stream_of((enum sfs_codec)i);
        AUTO(sfs_blob_close) struct sfs_blob *blob = blob_of(stream.data, stream.size);
        enum sfs_codec codec;
        cr_assert_eq(sfs_codec_guess(blob, &codec, NULL), 0);
        cr_assert_eq(codec, i);
    }
}

Test(codecs, decode_in_steps_of_any_size)
{
    for (unsigned i = 0; i < SFS_CODECS; i++) {
        const struct sfs_codec_row *row = sfs_codec_get((enum sfs_codec)i);
        AUTO(sfs_buf_close) struct sfs_buf stream = stream_of((enum sfs_codec)i);
        AUTO(sfs_decoder_close) struct sfs_decoder *decoder = row->open();
        cr_assert_geq(row->memory(decoder), sizeof *decoder);
        for (int again = 0; again < 2; again++) { /* it can be used for another span */
            uint8_t out[4] = "";
            struct sfs_decoder_io io = { (const uint8_t *)stream.data, 0, out, 0 };
            struct sfs_decoder_step step = { 0 };
            row->start(decoder);
            for (size_t at = 0; at < stream.size || step.has_moved;) {
                io.in_size += at < stream.size;
                at += at < stream.size;
                io.out_size = io.out < out + 3 ? 1 : 0;
                cr_assert_eq(row->step(decoder, &io, &step, NULL), 0, "%s", row->name);
            }
            cr_assert_str_eq((const char *)out, "abc", "%s", row->name);
        }
    }
}

static bool may_move(enum sfs_codec codec, const struct sfs_buf *stream, size_t size)
{
    AUTO(sfs_free) uint8_t *exact = malloc(size + 1); /* no more, so that ASan sees a look behind */
    uint8_t *start = exact + 1;
    memcpy(start, stream->data, size);
    return sfs_codec_get(codec)->may_move(start, size, (const uint8_t *)"abc", 3);
}

/* The trailer of a gzip member is looked for only where there is one. */
Test(codecs, move_no_frame_that_is_cut_off)
{
    AUTO(sfs_buf_close) struct sfs_buf gzip = stream_of(SFS_CODEC_GZIP);
    AUTO(sfs_buf_close) struct sfs_buf zstd = stream_of(SFS_CODEC_ZSTD);
    cr_assert(may_move(SFS_CODEC_GZIP, &gzip, gzip.size));
    cr_assert(may_move(SFS_CODEC_ZSTD, &zstd, zstd.size));
    for (size_t size = 0; size < gzip.size; size++)
        cr_assert_not(may_move(SFS_CODEC_GZIP, &gzip, size), "%zu", size);
    for (size_t size = 0; size < 6; size++)
        cr_assert_not(may_move(SFS_CODEC_ZSTD, &zstd, size), "%zu", size);
}

Test(codecs, are_guessed_from_the_first_bytes)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum sfs_codec codec;
    } cases[] = { { "\x1f\x8b\x08\x00", 4, SFS_CODEC_GZIP },
                  { "\x28\xb5\x2f\xfd", 4, SFS_CODEC_ZSTD },
                  { "\x5e\x2a\x4d\x18", 4, SFS_CODEC_ZSTD },
                  { "etc/", 4, SFS_CODEC_NONE },
                  { "\x1f", 1, SFS_CODEC_NONE },
                  { "", 0, SFS_CODEC_NONE } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        AUTO(sfs_blob_close) struct sfs_blob *blob = blob_of(cases[i].bytes, cases[i].size);
        enum sfs_codec codec;
        cr_assert_eq(sfs_codec_guess(blob, &codec, NULL), 0);
        cr_assert_eq(codec, cases[i].codec);
    }
}
