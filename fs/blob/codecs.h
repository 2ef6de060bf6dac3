/* The codecs (together with decoder.h: a row makes decoders, which know their row). What is to be
 * known of a codec stands in its row, at the end of its own file (codec_gzip.c and its neighbours);
 * codecs.c has the table of all rows. Elsewhere nothing is switched by the codec: whoever wants to
 * know something asks the row. (Where one certain codec is meant, as for the seekable copy, its
 * value is named.)
 *
 * A codec decodes in two ways. `unpack` goes through a blob once, on a pass's thread, and says
 * where it can be entered: the points of seek.h. A decoder enters at such a point and goes on in
 * steps. */
#ifndef STAGEFS_CODECS_H
#define STAGEFS_CODECS_H

#include "blob/blob.h"
#include "blob/decoder.h"

/* Bytes at a blob's start that tell its codec; zeros where it has fewer. */
#define SFS_CODEC_HEAD 10u

/* In whose words a layer's media type is. FOREIGN: it is not distributed with its image. */
enum sfs_layer_type {
    SFS_LAYER_OCI,
    SFS_LAYER_OCI_FOREIGN,
    SFS_LAYER_DOCKER,
    SFS_LAYER_DOCKER_FOREIGN,
    SFS_LAYER_TYPES
};

/* All of a row's media types, by what stands behind ".tar". */
#define SFS_LAYER_MEDIA_TYPES(oci, docker)                                                         \
    {                                                                                              \
        [SFS_LAYER_OCI] = "application/vnd.oci.image.layer.v1.tar" oci,                            \
        [SFS_LAYER_OCI_FOREIGN] = "application/vnd.oci.image.layer.nondistributable.v1.tar" oci,   \
        [SFS_LAYER_DOCKER] = "application/vnd.docker.image.rootfs.diff.tar" docker,                \
        [SFS_LAYER_DOCKER_FOREIGN] = "application/vnd.docker.image.rootfs.foreign.diff.tar" docker \
    }

struct sfs_pass;
struct sfs_gunzip;

struct sfs_codec_row {
    const char *name;                         /* for people and --json */
    const char *media_types[SFS_LAYER_TYPES]; /* of a layer, in each one's words */
    /* Are these a blob's first bytes? NULL: nothing tells. */
    bool (*is_head)(const uint8_t head[SFS_CODEC_HEAD]);
    bool is_plain;    /* decoded bytes are the blob's: one digest is both */
    bool enters_bits; /* points may lie inside a byte, and have a window */
    /* It may have frames that cannot be entered: a pass should be given a place for a seekable
     * copy. */
    bool may_be_copied;

    /* Decodes all of the pass's blob (unpack_pass.h). */
    int (*unpack)(struct sfs_pass *pass, struct sfs_error *err);

    /* Makes a decoder, which is closed with `close`. NULL: out of memory. */
    struct sfs_decoder *(*open)(void);
    /* Frees; `decoder` is not NULL. */
    void (*close)(struct sfs_decoder *decoder);
    /* Bytes of memory that the decoder holds. */
    size_t (*memory)(const struct sfs_decoder *decoder);
    /* Makes the decoder stand at the start of a frame: the blob's first one, for example. */
    void (*start)(struct sfs_decoder *decoder);
    /* Makes the decoder stand at a point, where io->in starts. Waits for the disk where the table's
     * windows lie in a file. NULL: `start` is all that it takes. EBADMSG: the window is damaged, or
     * there is no input. */
    int (*enter)(struct sfs_decoder *decoder, const struct sfs_seek_table *table,
                 const struct sfs_point *point, struct sfs_decoder_io *io,
                 struct sfs_decoder_window *ret_window, struct sfs_error *err);
    /* Decodes some more, never beyond a frame's end. EBADMSG: damaged. */
    int (*step)(struct sfs_decoder *decoder, struct sfs_decoder_io *io,
                struct sfs_decoder_step *ret_step, struct sfs_error *err);
    /* May this whole frame, which decodes to `out`, stand in another blob? Every reader must be
     * able to read it there. NULL: never. */
    bool (*may_move)(const uint8_t *in, size_t in_size, const uint8_t *out, size_t out_size);
    /* The decoder's inflater, which can be stopped between deflate blocks (cuts.h); borrowed from
     * the decoder. NULL: the codec is not made of deflate. */
    struct sfs_gunzip *(*inflater)(struct sfs_decoder *decoder);
};

/* The rows, for the table only. What a row names is static and called alike in all files, so that
 * one file tells all of a codec: their last lines look alike on purpose. */
extern const struct sfs_codec_row sfs_codec_none, sfs_codec_gzip, sfs_codec_zstd;

/* The row of a codec; a constant. NULL: no such codec (a value out of an index). */
const struct sfs_codec_row *sfs_codec_get(enum sfs_codec codec);

/* The codec by the blob's first bytes; NONE where they tell nothing. Waits for the disk. ENOTSUP:
 * they are bzip2 or xz, which docker loads and stagefs does not decode. */
int sfs_codec_guess(struct sfs_blob *blob, enum sfs_codec *ret_codec, struct sfs_error *err);

/* Finds the codec and the words of a layer's media type. False: it is that of no layer that can be
 * read. */
bool sfs_codec_find_type(const char *media_type, enum sfs_codec *ret_codec,
                         enum sfs_layer_type *ret_type);
/* The media type of a layer of that codec, in those words. A constant string. */
const char *sfs_codec_media_type(enum sfs_codec codec, enum sfs_layer_type type);
/* Are layers of that type distributed apart from their image? */
bool sfs_layer_type_is_foreign(enum sfs_layer_type type);

#endif
