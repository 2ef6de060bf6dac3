/* SOCI's index of an image: an artifact that names a table of contents (layer/ztoc.h) for each of
 * the image's large layers. The first version is a referrer, which whoever may push to the
 * repository can put there; of the second the image's manifest names the digest, so that it is as
 * good as that, and lies wherever the image does: at a registry, in a layout, in an archive. */
#ifndef STAGEFS_SOCI_H
#define STAGEFS_SOCI_H

#include "image/document.h"
#include <stagefs/image.h>

#define SFS_SOCI_REFERRER_TYPE "application/vnd.amazon.soci.index.v1+json"
#define SFS_SOCI_VOUCHED_TYPE  "application/vnd.amazon.soci.index.v2+json"
#define SFS_SOCI_VOUCHED_NOTE  "com.amazon.soci.index-digest" /* of a manifest */

struct sfs_soci_table {
    struct sfs_digest digest;
    uint64_t size; /* bytes */
};

/* Adds the tables that an index names to a list, as {"layer": DIGEST, "table": DIGEST,
 * "table_size": BYTES}. Whatever is not as it should be is passed over, and so is a document that
 * is no index of SOCI's. */
void sfs_soci_list(const json_t *index, json_t *list);
/* Finds the layer's table in such a list; of several the last one. False: there is none. */
bool sfs_soci_find(const json_t *list, const struct sfs_digest *layer,
                   struct sfs_soci_table *ret_table);

/* Does the image's manifest name an index? No I/O. */
bool sfs_image_has_soci(const struct sfs_image *image);
/* Finds the layer's table in the index that the manifest names, which is read once; progress is
 * told if it cannot be. False: there is none. */
bool sfs_image_find_soci(struct sfs_image *image, const struct sfs_digest *layer,
                         struct sfs_soci_table *ret_table);
/* Reads a table whole, and compares it with its digest; the caller frees it. EKEYREJECTED: it does
 * not hold it. E2BIG: over SFS_MAX_ZTOC. Else as registry/repository.h or members.h have it. */
int sfs_image_read_soci(const struct sfs_image *image, const struct sfs_soci_table *table,
                        char **ret_data, struct sfs_error *err);

#endif
