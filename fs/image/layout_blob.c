/* How a blob gets into a layout, by the cheapest way that works: it is there already, a hard link,
 * a reflink, a copy. A copy is digested on its way; what is there, linked or cloned is read for
 * that, unless it is known to have been read since it was changed last. */
#include "image/layout_parts.h"

#include "image/parts.h"
#include "layer/verified.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* The blob's file name, without the path. */
static const char *hex_of(const struct sfs_digest *digest, char text[SFS_DIGEST_TEXT])
{
    return sfs_digest_print(digest, text) + sizeof "sha256:" - 1;
}

bool sfs_layout_has(const struct sfs_layout *layout, const struct sfs_digest *digest, uint64_t size)
{
    char text[SFS_DIGEST_TEXT];
    struct stat st;
    return fstatat(layout->blobs_fd, hex_of(digest, text), &st, 0) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == size;
}

int sfs_layout_temp(struct sfs_layout *layout, struct sfs_io_temp *ret_temp, struct sfs_error *err)
{
    return sfs_io_temp_open(ret_temp, layout->blobs, 0644, err);
}

int sfs_layout_commit(struct sfs_layout *layout, struct sfs_io_temp *temp,
                      const struct sfs_digest *digest, struct sfs_error *err)
{
    char text[SFS_DIGEST_TEXT];
    int r = sfs_io_temp_commit(temp, hex_of(digest, text), err);
    return r < 0 ? sfs_fail_while(err, r, "%s", layout->blobs) : 0;
}

int sfs_layout_add_bytes(struct sfs_layout *layout, const void *data, size_t size,
                         struct sfs_digest *ret_digest, struct sfs_error *err)
{
    struct sfs_digest digest;
    char text[SFS_DIGEST_TEXT];
    if (sfs_digest_of(data, size, &digest) < 0)
        return sfs_fail_memory(err);
    int r = sfs_io_replace_file(layout->blobs, hex_of(&digest, text), data, size, 0644, err);
    if (r == 0)
        *ret_digest = digest;
    return r;
}

/* Is the blob there, and right? The caller replaces one that is not. */
static int check_present(const struct sfs_layout *layout, const struct sfs_image *image,
                         const struct sfs_image_layer *layer, struct sfs_error *err)
{
    char text[SFS_DIGEST_TEXT];
    if (!sfs_layout_has(layout, &layer->digest, layer->size))
        return -ENOENT;
    AUTO(sfs_close_fd) int fd = -1;
    int r = sfs_io_open_regular(layout->blobs_fd, hex_of(&layer->digest, text), &fd, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", layout->blobs);
    r = sfs_verified_check(image->store, fd, layer->size, &layer->digest, err);
    return r == -EKEYREJECTED ? -ENOENT : r;
}

/* Makes a hard link of the source's file. After any failure another way is tried. */
static bool link_file(const struct sfs_layout *layout, int fd, const struct sfs_image_layer *layer)
{
    char source[32], text[SFS_DIGEST_TEXT];
    snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, source, layout->blobs_fd, hex_of(&layer->digest, text),
                  AT_SYMLINK_FOLLOW) == 0 &&
           fsync(layout->blobs_fd) == 0;
}

static int copy_verified(struct sfs_blob *blob, int fd, const struct sfs_digest *expected,
                         struct sfs_error *err)
{
    struct sfs_digest digest;
    sfs_blob_judge(blob, SFS_VERDICT_BEGINS);
    int r = sfs_blob_digest(blob, fd, &digest, err);
    if (r < 0)
        return r;
    char found[SFS_DIGEST_TEXT];
    bool holds = sfs_digest_equal(&digest, expected);
    sfs_blob_judge(blob, holds ? SFS_VERDICT_HOLDS : SFS_VERDICT_WRONG);
    if (!holds)
        return sfs_fail(err, EKEYREJECTED, "%s does not match its digest: its bytes have %s",
                        blob->name, sfs_digest_print(&digest, found));
    return 0;
}

static int copy_layer(struct sfs_layout *layout, struct sfs_blob *blob, int source,
                      const struct sfs_image_layer *layer, struct sfs_error *err)
{
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    int r = sfs_layout_temp(layout, &temp, err);
    if (r == 0 && (source < 0 || ioctl(temp.fd, FICLONE, source) < 0))
        r = copy_verified(blob, temp.fd, &layer->digest, err);
    return r < 0 ? r : sfs_layout_commit(layout, &temp, &layer->digest, err);
}

int sfs_layout_add_layer(struct sfs_layout *layout, struct sfs_image *image, size_t i,
                         struct sfs_error *err)
{
    const struct sfs_image_layer *layer = sfs_image_layer(image, i);
    struct sfs_members *members = image->members;
    char label[SFS_LAYER_LABEL];
    sfs_image_label(image, i, label);
    if (!layer->has_digest)
        return sfs_fail(err, ENOTSUP,
                        "%s of %.200s has no digest of its own; copy the image to a layout first: "
                        "skopeo copy %.200s oci:DIR:TAG",
                        label, image->ref, image->ref);
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    int r = check_present(layout, image, layer, err);
    if (r != -ENOENT)
        return r < 0 ? sfs_fail_while(err, r, "%s", label) : 0;
    r = sfs_image_open_blob(image, i, &blob, err);
    if (r == 0) {
        AUTO(sfs_close_fd) int source = -1;
        if (members->ops->open_file)
            source = members->ops->open_file(members, image->parts[i].member);
        if (source >= 0)
            r = sfs_verified_check(image->store, source, layer->size, &layer->digest, err);
        if (r < 0)
            return sfs_fail_while(err, r, "%s: %s", label, blob->name);
        if (source >= 0 && link_file(layout, source, layer))
            return 0;
        r = copy_layer(layout, blob, source, layer, err);
    }
    return r < 0 ? sfs_fail_while(err, r, "%s", label) : 0;
}

int sfs_image_check_copied(const struct sfs_image *image, size_t i, const struct sfs_digest *found,
                           struct sfs_error *err)
{
    const struct sfs_image_layer *layer = sfs_image_layer(image, i);
    struct sfs_layer_state state;
    char label[SFS_LAYER_LABEL];
    int r = image->store ? sfs_layer_get_state(image->store, layer->key, &state, err) : 0;
    if (r < 0 || !image->store || !state.indexed || sfs_digest_equal(&state.digest, found))
        return r;
    return sfs_fail(err, EKEYREJECTED, "%s of %.200s was changed since it was indexed",
                    sfs_image_label(image, i, label), image->ref);
}
