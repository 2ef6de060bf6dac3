/* The start profiles that are beside an image at its registry, as they are sent. */
#include "image/parts.h"

#include "base/pool.h"
#include "image/artifacts.h"
#include <errno.h>

#define AT_ONCE 8u /* profiles that are asked for */

struct profile_read {
    struct sfs_image *image;
    const struct sfs_artifacts *artifacts;
    size_t number;
};

static void read_one(void *arg)
{
    const struct profile_read *reading = arg;
    struct sfs_image *image = reading->image;
    struct sfs_sent_profile *profile = &image->profiles[reading->number];
    profile->result =
        atomic_load(&image->is_closing)
            ? sfs_fail(&profile->err, ECANCELED, "cancelled")
            : sfs_artifacts_read_profile(reading->artifacts, reading->number, &profile->text,
                                         &profile->size, &profile->err);
}

static int read_all(struct sfs_image *image, const struct sfs_artifacts *artifacts,
                    struct sfs_error *err)
{
    const size_t count = image->profile_count;
    AUTO(sfs_free) struct profile_read *readings = calloc(count, sizeof *readings);
    AUTO(sfs_pool_close) struct sfs_pool *pool = NULL; /* closing it waits for all */
    if (!readings)
        return sfs_fail_memory(err);
    int r = sfs_pool_open(count < AT_ONCE ? (unsigned)count : AT_ONCE, &pool, err);
    for (size_t i = 0; r == 0 && i < count; i++) {
        readings[i] = (struct profile_read){ image, artifacts, i };
        if (sfs_pool_submit(pool, SFS_POOL_DEMAND, read_one, &readings[i]) < 0)
            r = sfs_fail_memory(err);
    }
    return r;
}

void sfs_image_free_profiles(struct sfs_image *image)
{
    for (size_t i = 0; i < image->profile_count; i++)
        free(image->profiles[i].text);
    sfs_free(&image->profiles);
    image->profile_count = 0;
}

int sfs_image_read_profiles(struct sfs_image *image, const struct sfs_sent_profile **ret_profiles,
                            size_t *ret_count, struct sfs_error *err)
{
    const struct sfs_artifacts *artifacts = sfs_image_artifacts(image);
    size_t count = artifacts ? sfs_artifacts_profile_count(artifacts) : 0;
    int r = 0;
    if (!image->profiles && count > 0) {
        image->profiles = calloc(count, sizeof *image->profiles);
        if (!image->profiles)
            return sfs_fail_memory(err);
        image->profile_count = count;
        r = read_all(image, artifacts, err);
    }
    if (r < 0)
        sfs_image_free_profiles(image);
    *ret_profiles = image->profiles;
    *ret_count = image->profile_count;
    return r;
}
