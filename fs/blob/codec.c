#include "blob/unpack.h"

#include <errno.h>

/* bzip2 and xz have no seek tables here. Their marks are long enough that no tar begins so. */
static const char *name_foreign(const uint8_t *magic)
{
    static const uint8_t block[] = { 0x31, 0x41, 0x59, 0x26, 0x53, 0x59 };
    static const uint8_t no_block[] = { 0x17, 0x72, 0x45, 0x38, 0x50, 0x90 };
    if (memcmp(magic,
               "\xfd"
               "7zXZ",
               6) == 0)
        return "xz";
    bool is_bzip2 = memcmp(magic, "BZh", 3) == 0 && magic[3] >= '1' && magic[3] <= '9' &&
                    (memcmp(magic + 4, block, sizeof block) == 0 ||
                     memcmp(magic + 4, no_block, sizeof no_block) == 0);
    return is_bzip2 ? "bzip2" : NULL;
}

int sfs_codec_guess(struct sfs_blob *blob, enum sfs_codec *ret_codec, struct sfs_error *err)
{
    uint8_t magic[10] = { 0 };
    ssize_t size = sfs_blob_read_at(blob, magic, sizeof magic, 0, err);
    if (size < 0)
        return (int)size;
    bool is_zstd = magic[0] == 0x28 && magic[1] == 0xb5 && magic[2] == 0x2f && magic[3] == 0xfd;
    bool is_skippable =
        (magic[0] & 0xf0) == 0x50 && magic[1] == 0x2a && magic[2] == 0x4d && magic[3] == 0x18;
    const char *foreign = name_foreign(magic);
    if (foreign)
        return sfs_fail(err, ENOTSUP,
                        "its bytes are %s, which cannot be read at any place: have the image "
                        "written with gzip or zstd, as skopeo copy IMAGE oci:DIR:TAG does",
                        foreign);
    *ret_codec = SFS_CODEC_NONE;
    if (magic[0] == 0x1f && magic[1] == 0x8b)
        *ret_codec = SFS_CODEC_GZIP;
    else if (is_zstd || is_skippable)
        *ret_codec = SFS_CODEC_ZSTD;
    return 0;
}
