#include "blob/unpack.h"

int sfs_codec_guess(struct sfs_blob *blob, enum sfs_codec *ret_codec, struct sfs_error *err)
{
    uint8_t magic[4] = { 0 };
    ssize_t size = sfs_blob_read_at(blob, magic, sizeof magic, 0, err);
    if (size < 0)
        return (int)size;
    bool is_zstd = magic[0] == 0x28 && magic[1] == 0xb5 && magic[2] == 0x2f && magic[3] == 0xfd;
    bool is_skippable =
        (magic[0] & 0xf0) == 0x50 && magic[1] == 0x2a && magic[2] == 0x4d && magic[3] == 0x18;
    *ret_codec = SFS_CODEC_NONE;
    if (magic[0] == 0x1f && magic[1] == 0x8b)
        *ret_codec = SFS_CODEC_GZIP;
    else if (is_zstd || is_skippable)
        *ret_codec = SFS_CODEC_ZSTD;
    return 0;
}
