/* Where the layers of an image lie at a registry, for those who write another image there. */
#ifndef STAGEFS_BASE_PLACE_H
#define STAGEFS_BASE_PLACE_H

#include "registry/name.h"
#include <stagefs/image.h>

/* The repository, at the same host as `to`, that the image was opened from; NULL in *ret_from: it
 * was not, or it is the same one. The caller frees. No request is made. ENOMEM. */
int sfs_base_place(const struct sfs_image *image, const struct sfs_name *to, char **ret_from,
                   struct sfs_error *err);

#endif
