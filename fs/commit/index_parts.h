/* The parts of an artifact that holds the indexes of layers: for each the index, and its windows
 * (docs/registry.md). Both have the layer's digest as an annotation, so that a base that many
 * images share is found, and sent, once. */
#ifndef STAGEFS_INDEX_PARTS_H
#define STAGEFS_INDEX_PARTS_H

#include "layer/index_export.h"
#include "registry/referrers.h"
#include <jansson.h>

struct sfs_index_parts {
    struct sfs_artifact_part *items; /* owned */
    size_t count;
    json_t *notes; /* owned: what the items' annotations are kept by, and the artifact's */
    uint64_t size; /* bytes of all */
    int (*put)(void *user, const void *data, size_t size, struct sfs_digest *ret_digest,
               struct sfs_error *err); /* sends a blob, and says its digest */
    void *user;
};

/* Makes room for the indexes of so many layers; `put` and `user` are set by the caller before.
 * ENOMEM. The caller calls sfs_index_parts_done(), also after a failure. */
int sfs_index_parts_init(struct sfs_index_parts *parts, size_t layers, struct sfs_error *err);
/* Frees what is in it; fine on an all-zero one. */
void sfs_index_parts_done(struct sfs_index_parts *parts);

/* Puts what was exported of a layer; diff_id NULL: it is not known. *ret_head: the digest of the
 * index, by which a manifest vouches for it. Fails as `put`. */
int sfs_index_parts_add(struct sfs_index_parts *parts, const struct sfs_digest *layer,
                        const struct sfs_digest *diff_id, const struct sfs_exported_index *exported,
                        struct sfs_digest *ret_head, struct sfs_error *err);
/* The artifact of all of them, without its subject; it borrows from the parts. */
struct sfs_artifact sfs_index_parts_artifact(const struct sfs_index_parts *parts);

#endif
