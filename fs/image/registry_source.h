/* What all members and blobs of one image at a registry share (together with registry_members.h):
 * the connection, which is made when the first byte is missing, and the threads that fetch ahead.
 * Counted, since blobs may outlive the members. */
#ifndef STAGEFS_REGISTRY_SOURCE_H
#define STAGEFS_REGISTRY_SOURCE_H

#include "blob/blob_range.h"
#include "registry/repository.h"
#include <stagefs/image.h>

struct sfs_source;
/* Makes one with one user. Takes over the name. ENOMEM. */
int sfs_source_open(struct sfs_name *name, const struct sfs_image_options *options,
                    struct sfs_source **ret_source, struct sfs_error *err);
/* One user more; the source. */
struct sfs_source *sfs_source_share(struct sfs_source *source);
/* One user less: the last one closes it. Sets NULL; NULL is fine. Not from its own threads. */
void sfs_source_close(struct sfs_source **source);

/* The name, borrowed. */
const struct sfs_name *sfs_source_name(const struct sfs_source *source);
/* The repository, borrowed; opened by the first call. Errors as sfs_registry_open() and
 * sfs_repository_open(). */
int sfs_source_connect(struct sfs_source *source, struct sfs_repository **ret_repository,
                       struct sfs_error *err);

/* The layer's blob that the store has: it is read until somebody distrusts it, and then fetched
 * (whole_blob.c). Takes over *file, also after a failure. ENOMEM. */
int sfs_source_open_whole(struct sfs_source *source, struct sfs_store *store,
                          const struct sfs_digest *digest, struct sfs_blob **file,
                          struct sfs_blob **ret_blob, struct sfs_error *err);

/* A layer's blob, by range; what the store has of it is used. The caller closes *ret_blob. No
 * request is made. */
int sfs_source_open_layer(struct sfs_source *source, const struct sfs_digest *digest, uint64_t size,
                          struct sfs_blob **ret_blob, struct sfs_error *err);

#endif
