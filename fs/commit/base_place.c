/* Told by the reference alone: registries that are two names of one are not known. */
#include "commit/base_place.h"

#include "image/reference.h"
#include <errno.h>

int sfs_base_place(const struct sfs_image *image, const struct sfs_name *to, char **ret_from,
                   struct sfs_error *err)
{
    AUTO(sfs_reference_done) struct sfs_reference reference = { 0 };
    AUTO(sfs_name_done) struct sfs_name name = { 0 };
    *ret_from = NULL;
    if (sfs_reference_parse(sfs_image_ref(image), &reference, NULL) < 0 ||
        reference.transport != SFS_TRANSPORT_DOCKER ||
        sfs_name_parse(reference.name, &name, NULL) < 0 || strcmp(name.host, to->host) != 0 ||
        strcmp(name.repository, to->repository) == 0)
        return 0;
    *ret_from = TAKE(name.repository);
    return *ret_from ? 0 : sfs_fail_memory(err);
}
