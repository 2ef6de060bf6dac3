/* An image at a registry as named files: "blobs/sha256/HEX" are its documents, which are read at
 * once and kept in the store, and its layers, which are read by range (blob/blob_range.h). */
#ifndef STAGEFS_REGISTRY_MEMBERS_H
#define STAGEFS_REGISTRY_MEMBERS_H

#include "image/members.h"
#include <stagefs/image.h>

struct sfs_source;

/* Opens the repository that is named, as "HOST[:PORT]/NAME[:TAG|@DIGEST]". No request is made
 * before something is missing. What the options point to is borrowed until the members, and all
 * blobs opened from them, are closed; the store may be NULL (nothing is kept). The caller closes
 * *ret_members. EINVAL: the name. */
int sfs_members_open_registry(const char *text, const struct sfs_image_options *options,
                              struct sfs_members **ret_members, struct sfs_error *err);
/* Which digest has the tag of the name that `base` was opened by now? The registry is asked. If it
 * does not answer, what it said last is taken, and progress->warn is told. Errors as
 * sfs_repository_get_tag(). */
int sfs_registry_find_tag(struct sfs_members *base, struct sfs_digest *ret_digest,
                          struct sfs_error *err);

/* What the members share with their blobs; borrowed. */
struct sfs_source *sfs_registry_source(struct sfs_members *base);
/* Keeps a note of what the registry said under that key, if it can be kept. */
void sfs_registry_keep(struct sfs_members *base, const struct sfs_digest *key, const void *data,
                       size_t size);
/* Reads it again; the caller frees it. ENOENT: there is none of at most `max` bytes. */
int sfs_registry_read_kept(struct sfs_members *base, const struct sfs_digest *key, size_t max,
                           char **ret_data, size_t *ret_size);
/* Is that document here? It is not compared with its digest. */
bool sfs_registry_has_kept(struct sfs_members *base, const struct sfs_digest *digest);
/* Reads a small blob of the repository, which is kept as a document is, and compared with its
 * digest; the caller frees it. Errors as sfs_repository_read_blob(). */
int sfs_registry_read_document(struct sfs_members *base, const struct sfs_digest *digest,
                               uint64_t size, char **ret_data, size_t *ret_size,
                               struct sfs_error *err);

#endif
