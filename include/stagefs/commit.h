/* Writing a stage: what differs from its base becomes one layer. */
#ifndef STAGEFS_COMMIT_H
#define STAGEFS_COMMIT_H

#include <stagefs/progress.h>
#include <stagefs/stage.h>

enum sfs_compression {
    SFS_COMPRESS_GZIP,
    SFS_COMPRESS_ZSTD,
    SFS_COMPRESS_NONE,
    SFS_COMPRESS_ESTARGZ,
    SFS_COMPRESS_ZSTD_CHUNKED
};

struct sfs_commit_options {
    const char *destination; /* "oci:DIR:TAG", ... */
    enum sfs_compression compression;
    int level;        /* 0: the format's default */
    unsigned threads; /* 0: all CPUs */
    bool squash;      /* base and selection as one layer */
    bool dry_run;     /* everything but writing the destination */
    bool has_epoch;   /* clamp mtimes and `created` to epoch */
    int64_t epoch;    /* seconds; without has_epoch: now, for `created` only */
    const struct sfs_progress *progress;
};

struct sfs_commit_result {
    struct sfs_digest manifest, config, layer, diff_id;
    uint64_t manifest_size, layer_size, tar_size; /* bytes */
    uint64_t entries, files, whiteouts;
    uint64_t file_bytes;
};

/* EINVAL: destination. EKEYREJECTED, EIO: a source. ENOSPC, EROFS, EACCES: the destination, which
 * is then as before. */
int sfs_commit(const struct sfs_stage *stage, const struct sfs_commit_options *options,
               struct sfs_commit_result *ret_result, struct sfs_error *err);

#endif
