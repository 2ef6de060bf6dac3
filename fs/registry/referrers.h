/* Artifacts beside an image: manifests that name it as their subject. A registry with the API
 * (/referrers/DIGEST) lists them itself. For one without, the list is an index under the tag
 * "sha256-HEX", which whoever adds an artifact has to keep, beside others who do the same. */
#ifndef STAGEFS_REFERRERS_H
#define STAGEFS_REFERRERS_H

#include "registry/repository.h"

struct json_t;

/* A part of an artifact; its bytes are at the registry already. */
struct sfs_artifact_part {
    const char *media_type;
    struct sfs_digest digest;
    uint64_t size;
    const struct json_t *annotations; /* NULL: none */
};

struct sfs_artifact {
    /* Of the image's manifest (not of an index above it). */
    struct sfs_digest subject;
    uint64_t subject_size;
    const char *subject_type;
    const char *type;                      /* "application/vnd.stagefs.profile.v1" */
    const struct sfs_artifact_part *parts; /* at least one */
    size_t part_count;
    const struct json_t *annotations; /* NULL: none */
};

struct sfs_referrers_options {
    /* A directory where those of this machine who add to one list take turns; NULL: they do not. */
    const char *lock_dir;
    const atomic_bool *cancelled; /* NULL: it cannot be */
};

/* Puts an artifact beside its subject, and waits until it is listed for good: without the API for
 * more than a second. The same artifact a second time changes nothing. *ret_digest: of its
 * manifest. Fails as registry/upload.h has it; EBUSY: others wrote over the list again and again.
 */
int sfs_referrers_add(struct sfs_repository *repository, const struct sfs_artifact *artifact,
                      const struct sfs_referrers_options *options, struct sfs_digest *ret_digest,
                      struct sfs_error *err);

/* Lists what is beside an image and has that type (NULL: any): a JSON array of descriptors, with
 * "artifactType" and "annotations" where they are said; the caller gives it back to jansson. Each
 * has a digest, and a size that a manifest may have. An image without any gives an empty array.
 * Fails as registry/repository.h has it. */
int sfs_referrers_list(struct sfs_repository *repository, const struct sfs_digest *subject,
                       const char *type, struct json_t **ret_list, struct sfs_error *err);

#endif
