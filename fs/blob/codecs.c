#include "blob/codecs.h"

#include <errno.h>

/* A new codec: its file, a value of enum sfs_codec, its row's name in codecs.h, and one line here.
 */
static const struct sfs_codec_row *const rows[] = {
    [SFS_CODEC_NONE] = &sfs_codec_none,
    [SFS_CODEC_GZIP] = &sfs_codec_gzip,
    [SFS_CODEC_ZSTD] = &sfs_codec_zstd,
};
_Static_assert(sizeof rows / sizeof *rows == SFS_CODECS, "a row for each codec");

const struct sfs_codec_row *sfs_codec_get(enum sfs_codec codec)
{
    return (unsigned)codec < (unsigned)SFS_CODECS ? rows[codec] : NULL;
}

const char *sfs_codec_name(enum sfs_codec codec)
{
    return rows[codec]->name;
}

int sfs_codec_guess(struct sfs_blob *blob, enum sfs_codec *ret_codec, struct sfs_error *err)
{
    uint8_t head[SFS_CODEC_HEAD] = { 0 };
    ssize_t size = sfs_blob_read_at(blob, head, sizeof head, 0, err);
    if (size < 0)
        return (int)size;
    *ret_codec = SFS_CODEC_NONE;
    for (unsigned i = 0; i < SFS_CODECS; i++)
        if (rows[i]->is_head && rows[i]->is_head(head))
            *ret_codec = (enum sfs_codec)i;
    return 0;
}

bool sfs_codec_find_type(const char *media_type, enum sfs_codec *ret_codec,
                         enum sfs_layer_type *ret_type)
{
    for (unsigned i = 0; i < SFS_CODECS * SFS_LAYER_TYPES; i++) {
        unsigned codec = i / SFS_LAYER_TYPES, type = i % SFS_LAYER_TYPES;
        if (strcmp(media_type, rows[codec]->media_types[type]) != 0)
            continue;
        *ret_codec = (enum sfs_codec)codec;
        *ret_type = (enum sfs_layer_type)type;
        return true;
    }
    return false;
}

const char *sfs_codec_media_type(enum sfs_codec codec, enum sfs_layer_type type)
{
    return rows[codec]->media_types[type];
}

bool sfs_layer_type_is_foreign(enum sfs_layer_type type)
{
    return type == SFS_LAYER_OCI_FOREIGN || type == SFS_LAYER_DOCKER_FOREIGN;
}
