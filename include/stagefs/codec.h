/* How a layer's blob is compressed. */
#ifndef STAGEFS_CODEC_H
#define STAGEFS_CODEC_H

/* The values stand in the indexes of the store: they do not change, new ones go to the end. */
enum sfs_codec {
    SFS_CODEC_NONE = 0,
    SFS_CODEC_GZIP = 1,
    SFS_CODEC_ZSTD = 2,
    SFS_CODECS /* how many codecs there are */
};

/* "none", "gzip", "zstd": as `inspect --json` has it. A constant string. */
const char *sfs_codec_name(enum sfs_codec codec);

#endif
