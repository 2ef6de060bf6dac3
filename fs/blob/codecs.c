/* The table of codecs, and what is found in it: by value, by a blob's first bytes, by media
 * type. */
#include "blob/codecs.h"

#include <errno.h>

/* A new codec: its file, a value of enum sfs_codec, its row's name in codecs.h, and one line
 * here. */
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

/* bzip2 and xz have no seek tables here. Their marks are long enough that no tar begins so. */
static const char *name_foreign(const uint8_t head[SFS_CODEC_HEAD])
{
    static const uint8_t xz[] = { 0xfd, '7', 'z', 'X', 'Z', 0 };
    static const uint8_t block[] = { 0x31, 0x41, 0x59, 0x26, 0x53, 0x59 };
    static const uint8_t no_block[] = { 0x17, 0x72, 0x45, 0x38, 0x50, 0x90 };
    if (memcmp(head, xz, sizeof xz) == 0)
        return "xz";
    bool is_bzip2 = memcmp(head, "BZh", 3) == 0 && head[3] >= '1' && head[3] <= '9' &&
                    (memcmp(head + 4, block, sizeof block) == 0 ||
                     memcmp(head + 4, no_block, sizeof no_block) == 0);
    return is_bzip2 ? "bzip2" : NULL;
}

int sfs_codec_guess(struct sfs_blob *blob, enum sfs_codec *ret_codec, struct sfs_error *err)
{
    uint8_t head[SFS_CODEC_HEAD] = { 0 };
    ssize_t size = sfs_blob_read_at(blob, head, sizeof head, 0, err);
    if (size < 0)
        return (int)size;
    const char *foreign = name_foreign(head);
    if (foreign)
        return sfs_fail(err, ENOTSUP,
                        "its bytes are %s, which cannot be read at any place: have the image "
                        "written with gzip or zstd, as skopeo copy IMAGE oci:DIR:TAG does",
                        foreign);
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
