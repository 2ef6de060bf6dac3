/* What the image's tables of the pack's files say: that a page is in the row, as the image has it,
 * or in the pack, as soon as that was checked. */
#include "mount/erofs_image.h"

#include "mount/erofs_format.h"
#include <endian.h>
#include <string.h>

#define CHUNK       ((uint32_t)sizeof(struct erofs_chunk))
#define PACK_DEVICE 1u

/* Writes what of `entries` entries, the first of them at `from`, is within `size` bytes from `at`
 * on: entry i leads to block `first` + i of the device. No entry lies across the ends of what is
 * asked for, which are those of pages. */
static void write_entries(const struct sfs_erofs_table *table, uint16_t device, uint64_t at,
                          size_t size, char *to)
{
    uint64_t before = at > table->at ? (at - table->at + CHUNK - 1) / CHUNK : 0;
    for (uint64_t i = before; i < table->entries; i++) {
        const uint64_t place = table->at + i * CHUNK;
        const struct erofs_chunk chunk = { .device = htole16(device),
                                           .block = htole32(table->first + (uint32_t)i) };
        if (place + CHUNK > at + size)
            return;
        memcpy(to + (place - at), &chunk, sizeof chunk);
    }
}

/* The first table that ends behind `at`. */
static size_t find_table(const struct sfs_erofs_image *image, uint64_t at)
{
    size_t low = 0, high = image->table_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (image->tables[middle].at + image->tables[middle].entries * CHUNK > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The same of the patches. */
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

void sfs_erofs_image_read(const struct sfs_erofs_image *image, struct sfs_pack *pack, uint64_t at,
                          size_t size, char *to)
{
    uint64_t left = at < image->size ? image->size - at : 0;
    size_t whole = left < size ? (size_t)left : size;
    if (whole > 0)
        memcpy(to, image->data + at, whole);
    memset(to + whole, 0, size - whole);
    for (size_t i = find_table(image, at); i < image->table_count; i++) {
        if (image->tables[i].at >= at + size)
            break;
        write_entries(&image->tables[i], 0, at, size, to);
    }
    for (size_t i = find_patch(image, at); i < image->patch_count; i++) {
        const struct sfs_erofs_patch *patch = &image->patches[i];
        if (patch->at >= at + size || !sfs_pack_wait(pack, patch->piece))
            return;
        const struct sfs_erofs_table part = { patch->at, patch->entries, patch->block };
        write_entries(&part, PACK_DEVICE, at, size, to);
    }
}
