/* The image is opened as any other; a repository of its own is what is written to. */
#include "commit/beside.h"

#include "image/parts.h"
#include "layer/store.h"
#include <errno.h>

int sfs_beside_open(struct sfs_beside *beside, const struct sfs_artifact_place *place,
                    struct sfs_error *err)
{
    AUTO(sfs_reference_done) struct sfs_reference reference = { 0 };
    AUTO(sfs_name_done) struct sfs_name name = { 0 };
    *beside = (struct sfs_beside){ 0 };
    int r = sfs_reference_parse(place->ref, &reference, err);
    if (r < 0)
        return r;
    if (reference.transport != SFS_TRANSPORT_DOCKER)
        return sfs_fail(err, EINVAL,
                        "'%.300s' is not at a registry: name an image as docker://HOST/NAME:TAG",
                        place->ref);
    r = sfs_name_parse(reference.name, &name, err);
    if (r == 0)
        r = sfs_image_open_with(place->ref, &place->options, &beside->image, err);
    if (r == 0)
        r = sfs_registry_open(place->options.registry, &beside->registry, err);
    if (r == 0)
        r = sfs_repository_open(beside->registry, &name, &beside->repository, err);
    /* Best effort: without a place for the lock they take no turns. */
    if (r == 0 && place->options.store)
        sfs_store_make_dir(place->options.store, "turns", &beside->lock_dir, NULL);
    return r;
}

void sfs_beside_done(struct sfs_beside *beside)
{
    sfs_repository_close(&beside->repository);
    sfs_registry_close(&beside->registry);
    sfs_image_close(&beside->image);
    sfs_free(&beside->lock_dir);
}

int sfs_beside_add(struct sfs_beside *beside, struct sfs_artifact *artifact,
                   struct sfs_digest *ret_digest, struct sfs_error *err)
{
    const struct sfs_image_document *subject = &beside->image->manifest_document;
    const struct sfs_referrers_options options = { .lock_dir = beside->lock_dir };
    artifact->subject = subject->digest;
    artifact->subject_size = subject->size;
    artifact->subject_type = subject->media_type;
    return sfs_referrers_add(beside->repository, artifact, &options, ret_digest, err);
}
