/* Writing a stage: what differs from its base becomes one layer. */
#ifndef STAGEFS_COMMIT_H
#define STAGEFS_COMMIT_H

#include <stagefs/progress.h>
#include <stagefs/registry.h>
#include <stagefs/stage.h>

enum sfs_compression {
    SFS_COMPRESS_GZIP,
    SFS_COMPRESS_ZSTD,
    SFS_COMPRESS_NONE,
    SFS_COMPRESS_ESTARGZ,
    SFS_COMPRESS_ZSTD_CHUNKED
};
/* "gzip", "zstd", "none", "estargz", "zstd:chunked". A constant string. */
const char *sfs_compression_name(enum sfs_compression compression);
/* The compression of that name. EINVAL: there is none such; the words list those that there are. */
int sfs_compression_parse(const char *name, enum sfs_compression *ret_compression,
                          struct sfs_error *err);

/* A change of the image's config, or of its manifest's annotations, as `buildah config` makes it.
 * ENV, LABEL, ANNOTATION: "NAME=VALUE" sets, "NAME-" removes, "-" removes all.
 * ENTRYPOINT, CMD: a JSON array of strings; else text for a shell (ENTRYPOINT), or words (CMD).
 * An empty value removes any but ENV, LABEL and ANNOTATION. */
enum sfs_edit_key {
    SFS_EDIT_ENV,
    SFS_EDIT_LABEL,
    SFS_EDIT_ANNOTATION,
    SFS_EDIT_ENTRYPOINT,
    SFS_EDIT_CMD,
    SFS_EDIT_USER,
    SFS_EDIT_WORKINGDIR,
    SFS_EDIT_AUTHOR
};

/* One such change; `value` is borrowed. */
struct sfs_edit {
    enum sfs_edit_key key;
    const char *value;
};

struct sfs_commit_options {
    /* oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME:TAG],
     * containers-storage:NAME (by skopeo), docker://HOST/NAME[:TAG]: an image. dir:DIR: the whole
     * tree as files, in a directory that is new or empty.
     * "-": a tar of the layer alone, to fd. Each appears whole or not at all. */
    const char *destination;
    int fd; /* for "-" only; borrowed */
    enum sfs_compression compression;
    int level;                    /* 0: the format's default */
    unsigned threads;             /* 0: all CPUs */
    bool squash;                  /* base and selection as one layer */
    bool dry_run;                 /* everything but writing the destination */
    bool has_epoch;               /* clamp mtimes and `created` to epoch */
    int64_t epoch;                /* seconds; without has_epoch: now, for `created` only */
    bool set_mtimes;              /* with has_epoch: every mtime is epoch, not only later ones */
    const struct sfs_edit *edits; /* applied in order */
    size_t edit_count;
    /* Profiles (stagefs(1), PROFILES, has the form): what they name comes first in the layer, in
     * their order. Of no effect with dir:. */
    const char *const *profiles;
    size_t profile_count;
    const struct sfs_progress *progress; /* may be NULL */
    /* The indexes of new layers are put there, as far as it can be written to. NULL: whoever reads
     * the image first makes them. */
    struct sfs_store *store;
    /* With docker:// only: the indexes of the layers are put beside the image, and the manifest
     * names them, so that whoever trusts the manifest trusts them. The new layer is read once more,
     * the base's twice. Two commits of the same stage still have the same digest. */
    bool index;
    const struct sfs_registry_options *registry; /* NULL: all-zero (stagefs/registry.h) */
};

struct sfs_commit_result {
    bool has_manifest; /* dir: and "-" have neither manifest nor config, dir: no layer */
    /* Digests of what was written: of the layer, of its blob (layer) and of the tar inside
     * (diff_id). */
    struct sfs_digest manifest, config, layer, diff_id;
    uint64_t manifest_size, layer_size, tar_size; /* bytes; layer_size is the blob's */
    uint64_t base_size;                           /* bytes of the blobs below the new layer */
    uint64_t copied; /* bytes of the layer's blob that were taken from a source as they were */
    uint64_t entries, files, whiteouts; /* how many of each the layer holds */
    uint64_t file_bytes;                /* decoded bytes of its files */
    bool fills_stdout; /* an archive went to standard output: nothing else may be printed there */
};

/* Writes what differs between the stage's base and the stage to the destination; waits for all of
 * it. EINVAL: destination. EBADMSG: a profile. EKEYREJECTED, EIO: a source. ENOSPC, EROFS, EACCES:
 * the destination. After a failure the destination is as before. */
int sfs_commit(const struct sfs_stage *stage, const struct sfs_commit_options *options,
               struct sfs_commit_result *ret_result, struct sfs_error *err);

#endif
