/* An image at a registry, opened for what is to be put beside it, or read there. */
#ifndef STAGEFS_BESIDE_H
#define STAGEFS_BESIDE_H

#include "image/artifacts.h"
#include "registry/referrers.h"
#include "registry/upload.h"
#include <stagefs/artifact.h>

struct sfs_beside {
    struct sfs_image *image; /* at the registry */
    struct sfs_registry *registry;
    struct sfs_repository *repository;
    char *lock_dir; /* NULL: nobody takes turns */
};
/* Opens it. The place is borrowed. The caller calls sfs_beside_done(), also after a failure.
 * EINVAL: it is no docker://. */
int sfs_beside_open(struct sfs_beside *beside, const struct sfs_artifact_place *place,
                    struct sfs_error *err);
/* Closes what is in it; fine on an all-zero one. */
void sfs_beside_done(struct sfs_beside *beside);
/* Puts an artifact there: its subject is filled in. Else as sfs_referrers_add(). */
int sfs_beside_add(struct sfs_beside *beside, struct sfs_artifact *artifact,
                   struct sfs_digest *ret_digest, struct sfs_error *err);

#endif
