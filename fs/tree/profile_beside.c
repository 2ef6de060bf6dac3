/* The start profiles beside an image at its registry, as one. */
#include "image/parts.h"
#include "tree/profile_merge.h"

#include "base/io.h"
#include <errno.h>
#include <inttypes.h>
#include <stagefs/artifact.h>
#include <stagefs/format.h>

struct beside_profile {
    struct sfs_profile profile;
    int result;
    struct sfs_error err; /* of the result */
};

/* What one writer got wrong must not take the profile from all: it is left out. */
static void parse_one(struct beside_profile *beside, const struct sfs_sent_profile *sent,
                      size_t number)
{
    char name[48];
    snprintf(name, sizeof name, "profile %zu beside the image", number);
    beside->err = sent->err;
    beside->result = sent->result < 0 ? sent->result
                                      : sfs_profile_parse(&beside->profile, name, sent->text,
                                                          sent->size, &beside->err);
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
    const struct sfs_sent_profile *sent;
    size_t count;
    *ret_count = 0;
    sfs_image_end_asking(image);
    int r = sfs_image_read_profiles(image, &sent, &count, err);
    if (r < 0 || count == 0)
        return r;
    AUTO(sfs_free) struct beside_profile *items = calloc(count, sizeof *items);
    if (!items)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < count; i++)
        parse_one(&items[i], &sent[i], i);
    r = merge(image, items, count, fd, ret_count, err);
    for (size_t i = 0; i < count; i++)
        sfs_profile_done(&items[i].profile);
    return r;
}
