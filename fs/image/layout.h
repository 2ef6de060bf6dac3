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
/* Frees, and sets NULL; NULL is fine. A layout that sfs_layout_open() created, and in which nobody
 * has tagged anything since, is removed: a commit that failed leaves the destination as it was. */
void sfs_layout_close(struct sfs_layout **layout);

/* Is the blob there, with that size? */
bool sfs_layout_has(const struct sfs_layout *layout, const struct sfs_digest *digest,
                    uint64_t size);
/* Starts a blob whose digest is known only when all is written: makes a temporary file. The caller
 * writes it, calls sfs_layout_commit(), then sfs_io_temp_close(). */
int sfs_layout_temp(struct sfs_layout *layout, struct sfs_io_temp *ret_temp, struct sfs_error *err);
/* Gives a blob that was written its name. Waits for the disk. */
int sfs_layout_commit(struct sfs_layout *layout, struct sfs_io_temp *temp,
                      const struct sfs_digest *digest, struct sfs_error *err);
/* Adds a small blob from memory, and says its digest. Waits for the disk. */
int sfs_layout_add_bytes(struct sfs_layout *layout, const void *data, size_t size,
                         struct sfs_digest *ret_digest, struct sfs_error *err);
/* Brings layer i of an open image here: nothing if it is there already, else a hard link, a reflink
 * or a copy. The blob is compared with its digest, for which it is read, unless the store that the
 * image's layers were opened with knows the file as it is (layer/verified.h). ENOTSUP: the layer
 * has no digest of its own. EKEYREJECTED: its bytes have another one. */
int sfs_layout_add_layer(struct sfs_layout *layout, struct sfs_image *image, size_t i,
                         struct sfs_error *err);

/* For a layer without a digest of its own, whose copy has the digest `found`: are those the bytes
 * that the layer was indexed from, and that its diff_id was verified with? EKEYREJECTED: no. */
int sfs_image_check_copied(const struct sfs_image *image, size_t i, const struct sfs_digest *found,
                           struct sfs_error *err);

/* Enters a manifest in index.json under `tag` (NULL: without a name), replacing an entry of that
 * name. `descriptor` has mediaType, digest and size, and is copied; the copy gets the annotation
 * ref.name. Everything else in index.json stays. */
int sfs_layout_tag(struct sfs_layout *layout, const char *tag, const struct json_t *descriptor,
                   struct sfs_error *err);

#endif
