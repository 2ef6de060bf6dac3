/* What a start reads first of an image's layers, as compressed bytes: put beside its profile
 * (push_profile.c), so that a mount has them fetched while it still fetches the index that would
 * tell it which they are. */
#ifndef STAGEFS_FIRST_RANGES_H
#define STAGEFS_FIRST_RANGES_H

#include "image/document.h"
#include "tree/profile.h"

struct sfs_image;
struct sfs_store;

/* Makes the list of the bytes that the profile's first uses lie in, of an image that was opened
 * with the store: [{"layer": DIGEST, "windows": [[OFFSET, SIZE], ...], "ranges": [[OFFSET, SIZE],
 * ...]},
 * ...], in the order in which a mount asks for them (mount/replay.c). Windows are those of the
 * index beside the image. The caller closes *ret_list. Reads the network for indexes that are
 * beside the image. ENOENT: of some layer there is no index, neither here nor there. ENODATA: the
 * profile's files are not in the image. Else as sfs_image_open_layers(). */
int sfs_first_ranges(struct sfs_image *image, struct sfs_store *store,
                     const struct sfs_profile *profile, json_t **ret_list, struct sfs_error *err);

#endif
