/* What stagefs keeps beside an image at its registry (docs/registry.md), as a reader of the image
 * finds it: the indexes of its layers, and start profiles; and SOCI's indexes. One list is asked
 * for, and the manifests that are on it; what they say is kept in the store, so that the same image
 * asks for nothing the next time. Nothing here is believed: who uses it says how far. */
#ifndef STAGEFS_ARTIFACTS_H
#define STAGEFS_ARTIFACTS_H

#include "image/document.h"
#include <stagefs/image.h>

#define SFS_PROFILE_ARTIFACT   "application/vnd.stagefs.profile.v1"
#define SFS_PROFILE_TEXT_TYPE  "application/vnd.stagefs.profile.v1+text"
#define SFS_INDEX_ARTIFACT     "application/vnd.stagefs.index.v1"
#define SFS_INDEX_FORMAT_NOTE  "dev.stagefs.index.format"
#define SFS_LAYER_INDEX_TYPE   "application/vnd.stagefs.layer-index.v1+zstd"
#define SFS_LAYER_WINDOWS_TYPE "application/vnd.stagefs.layer-windows.v1"
#define SFS_LAYER_NOTE         "dev.stagefs.layer." /* .digest, .format, .windows, ... */
#define SFS_LAYER_VOUCHED_NOTE "dev.stagefs.index"  /* of a layer: the digest of its index */

struct sfs_artifacts;

/* Finds out what is beside the image of that manifest, which the members were opened for (a
 * registry's, and borrowed). Asks the registry where the store has no answer; one that was given
 * more than a day ago counts only where the image was named by digest, or nobody answers. What
 * is known of an artifact is never asked for again. The caller closes *ret_artifacts. Errors as
 * registry/repository.h has them. */
int sfs_artifacts_open(struct sfs_members *members, const struct sfs_digest *manifest,
                       struct sfs_artifacts **ret_artifacts, struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. */
void sfs_artifacts_close(struct sfs_artifacts **artifacts);

/* The index of a layer. */
struct sfs_artifact_index {
    struct sfs_digest head, windows;  /* of the blobs at the registry */
    uint64_t head_size, windows_size; /* bytes; windows_size 0: there is none */
};
/* Finds the layer's index; of several the one that was put there last, or, where `head` is not
 * NULL, the one of that digest. False: there is none. */
bool sfs_artifacts_find_index(const struct sfs_artifacts *artifacts, const struct sfs_digest *layer,
                              const struct sfs_digest *head, struct sfs_artifact_index *ret_index);

struct sfs_soci_table;
/* Finds SOCI's table of the layer, as sfs_artifacts_find_index(). */
bool sfs_artifacts_find_soci(const struct sfs_artifacts *artifacts, const struct sfs_digest *layer,
                             struct sfs_soci_table *ret_table);

/* How many start profiles there are: the latest ones, if there are many. */
size_t sfs_artifacts_profile_count(const struct sfs_artifacts *artifacts);
/* Reads the text of profile i, below the count; the caller frees it. EBADMSG: the list is wrong. */
int sfs_artifacts_read_profile(const struct sfs_artifacts *artifacts, size_t i, char **ret_text,
                               size_t *ret_size, struct sfs_error *err);

#endif
