/* Writing images: an OCI layout directory, created or added to, safely beside other writers.
 *
 * Blobs appear under their digest by rename, complete; index.json is replaced by rename while an
 * flock on the layout is held, so that a concurrent writer's entry is kept. A killed writer leaves
 * at most temporary files, which the next one removes, and whole blobs that no tag names. */
#ifndef STAGEFS_LAYOUT_H
#define STAGEFS_LAYOUT_H

#include "base/io.h"
#include <stagefs/digest.h>
#include <stagefs/image.h>

struct sfs_layout;

/* Creates the layout (oci-layout, blobs/sha256, empty index) if the directory is not there or is
 * empty. EINVAL: a directory that is something else. One thread at a time per struct; any number
 * of processes. */
int sfs_layout_open(const char *dir, struct sfs_layout **ret_layout, struct sfs_error *err);
/* A layout that sfs_layout_open() created and in which nobody has tagged anything since is taken
 * away again: a commit that failed leaves the destination as it was. */
void sfs_layout_close(struct sfs_layout **layout);

/* Is the blob there, with that size? */
bool sfs_layout_has(const struct sfs_layout *layout, const struct sfs_digest *digest,
                    uint64_t size);
/* A blob whose digest is known when all is written: temporary file in blobs/sha256, then commit to
 * its name. */
int sfs_layout_temp(struct sfs_layout *layout, struct sfs_io_temp *ret_temp, struct sfs_error *err);
int sfs_layout_commit(struct sfs_layout *layout, struct sfs_io_temp *temp,
                      const struct sfs_digest *digest, struct sfs_error *err);
int sfs_layout_add_bytes(struct sfs_layout *layout, const void *data, size_t size,
                         struct sfs_digest *ret_digest, struct sfs_error *err);
/* Brings layer i of an open image here: nothing if it is there already, else a hard link, a reflink
 * or a copy. Each is held to the digest: read, unless the store that the image's layers were opened
 * with knows the file as it is (layer/verified.h). ENOTSUP: the layer has no digest of its own.
 * EKEYREJECTED: its bytes have another one. */
int sfs_layout_add_layer(struct sfs_layout *layout, struct sfs_image *image, size_t i,
                         struct sfs_error *err);

/* For a layer without a digest of its own, whose copy was found to have this one: is that what it
 * was indexed from, and its diff_id found for? EKEYREJECTED: no. */
int sfs_image_check_copied(const struct sfs_image *image, size_t i, const struct sfs_digest *found,
                           struct sfs_error *err);

/* Enters a manifest in index.json under `tag` (NULL: without a name), replacing an entry of that
 * name. `descriptor` needs mediaType, digest, size; gets the ref.name annotation. Everything else
 * in index.json stays. */
int sfs_layout_tag(struct sfs_layout *layout, const char *tag, const struct json_t *descriptor,
                   struct sfs_error *err);

#endif
