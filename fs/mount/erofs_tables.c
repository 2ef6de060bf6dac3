/* What the image's tables of the pack's files say: that a page is in the row, as the image has it,
 * or in the pack, as soon as that was checked. */
#include "mount/erofs_image.h"

#include "mount/erofs_format.h"
#include <endian.h>
#include <string.h>

#define CHUNK       ((uint32_t)sizeof(struct erofs_chunk))
#define PACK_DEVICE 1u

/* The first patch that ends behind `at`. */
static size_t find_patch(const struct sfs_erofs_image *image, uint64_t at)
{
    size_t low = 0, high = image->patch_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (image->patches[middle].at + (uint64_t)image->patches[middle].entries * CHUNK > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Writes what of a patch is within `size` bytes from `at` on; no entry lies across the ends of a
 * page. */
static void apply_patch(const struct sfs_erofs_patch *patch, uint64_t at, size_t size, char *to)
{
    for (uint32_t i = 0; i < patch->entries; i++) {
        const uint64_t place = patch->at + (uint64_t)i * CHUNK;
        const struct erofs_chunk chunk = { .device = htole16(PACK_DEVICE),
                                           .block = htole32(patch->block + i) };
        if (place >= at && place + CHUNK <= at + size)
            memcpy(to + (place - at), &chunk, sizeof chunk);
    }
}

void sfs_erofs_image_read(const struct sfs_erofs_image *image, struct sfs_pack *pack, uint64_t at,
                          size_t size, char *to)
{
    uint64_t left = at < image->size ? image->size - at : 0;
    size_t whole = left < size ? (size_t)left : size;
    if (whole > 0)
        memcpy(to, image->data + at, whole);
    memset(to + whole, 0, size - whole);
    for (size_t i = find_patch(image, at); i < image->patch_count; i++) {
        const struct sfs_erofs_patch *patch = &image->patches[i];
        if (patch->at >= at + size || !sfs_pack_wait(pack, patch->piece))
            return;
        apply_patch(patch, at, size, to);
    }
}
