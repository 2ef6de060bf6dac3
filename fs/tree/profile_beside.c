/* The start profiles beside an image at its registry, as one. */
#include "image/artifacts.h"
#include "image/parts.h"
#include "tree/profile_merge.h"

#include "base/io.h"
#include "base/pool.h"
#include <errno.h>
#include <inttypes.h>
#include <stagefs/artifact.h>
#include <stagefs/format.h>

#define AT_ONCE 8u /* profiles that are asked for */

/* One profile that is read. */
struct beside_profile {
    const struct sfs_artifacts *artifacts;
    size_t number;
    struct sfs_profile profile;
    int result;
    struct sfs_error err; /* of the result */
};

/* What one writer got wrong must not take the profile from all: it is left out. */
static void read_one(void *arg)
{
    struct beside_profile *beside = arg;
    AUTO(sfs_free) char *text = NULL;
    char name[40];
    size_t size = 0;
    snprintf(name, sizeof name, "profile %zu beside the image", beside->number);
    int r =
        sfs_artifacts_read_profile(beside->artifacts, beside->number, &text, &size, &beside->err);
    if (r == 0)
        r = sfs_profile_parse(&beside->profile, name, text, size, &beside->err);
    beside->result = r;
}

static int read_all(struct beside_profile *items, size_t count, struct sfs_error *err)
{
    AUTO(sfs_pool_close) struct sfs_pool *pool = NULL;
    int r = sfs_pool_open(count < AT_ONCE ? (unsigned)count : AT_ONCE, &pool, err);
    for (size_t i = 0; r == 0 && i < count; i++)
        if (sfs_pool_submit(pool, SFS_POOL_DEMAND, read_one, &items[i]) < 0)
            r = sfs_fail_memory(err);
    return r; /* closing the pool waits for all */
}

static void note_fault(const struct sfs_image *image, const struct sfs_error *why)
{
    const struct sfs_progress *progress = image->options.progress;
    if (progress && progress->note)
        progress->note(progress->user, why->text);
}

static int merge(const struct sfs_image *image, struct beside_profile *items, size_t count, int fd,
                 uint64_t *ret_count, struct sfs_error *err)
{
    AUTO(sfs_free) struct sfs_profile *profiles = calloc(count, sizeof *profiles);
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    size_t good = 0;
    if (!profiles)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        if (items[i].result == 0)
            profiles[good++] = items[i].profile;
        else
            note_fault(image, &items[i].err);
    }
    int r = good > 0 ? sfs_profile_merge(profiles, good, &text, err) : 0;
    for (size_t i = 0, next = 0; i < count; i++) /* merging changed them */
        if (items[i].result == 0)
            items[i].profile = profiles[next++];
    if (r == 0)
        r = sfs_buf_check(&text, err);
    if (r < 0)
        return r;
    *ret_count = good;
    r = text.size > 0 ? sfs_io_write_all(fd, text.data, text.size) : 0;
    return r < 0 ? sfs_fail_errno(err, -r, "writing the profile") : 0;
}

int sfs_profile_find_beside(struct sfs_image *image, int fd, uint64_t *ret_count,
                            struct sfs_error *err)
{
    sfs_image_end_asking(image);
    const struct sfs_artifacts *artifacts = sfs_image_artifacts(image);
    size_t count = artifacts ? sfs_artifacts_profile_count(artifacts) : 0;
    *ret_count = 0;
    if (count == 0)
        return 0;
    AUTO(sfs_free) struct beside_profile *items = calloc(count, sizeof *items);
    if (!items)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < count; i++)
        items[i] =
            (struct beside_profile){ .artifacts = artifacts, .number = i, .result = -EAGAIN };
    int r = read_all(items, count, err);
    if (r == 0)
        r = merge(image, items, count, fd, ret_count, err);
    for (size_t i = 0; i < count; i++)
        sfs_profile_done(&items[i].profile);
    return r;
}
