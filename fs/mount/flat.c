/* Where each file's bytes lie in the row, and which file lies at a place of it. */
#include "mount/flat.h"

#include <errno.h>

static uint64_t file_size(const struct sfs_forest *forest, sfs_ino ino)
{
    struct sfs_place place;
    struct sfs_attr attr;
    if (!sfs_forest_locate(forest, ino, &place) || !place.tree)
        return 0;
    sfs_tree_attr(place.tree, place.node, &attr);
    return S_ISREG(attr.mode) ? attr.size : 0;
}

int sfs_flat_open(struct sfs_flat *flat, const struct sfs_forest *forest, struct sfs_error *err)
{
    uint64_t pages = 0;
    *flat = (struct sfs_flat){ .forest = forest, .count = forest->first[forest->count] };
    flat->page = calloc(flat->count + 1, sizeof *flat->page);
    if (!flat->page)
        return sfs_fail_memory(err);
    for (sfs_ino ino = 0; ino < flat->count; ino++) {
        flat->page[ino] = (uint32_t)pages;
        uint64_t size = file_size(forest, ino);
        pages += size / SFS_FLAT_PAGE + (size % SFS_FLAT_PAGE != 0);
        if (pages > SFS_FLAT_MAX_PAGES) {
            sfs_flat_done(flat);
            return sfs_fail(err, EFBIG, "the files are more than 16 TiB, which EROFS cannot hold");
        }
    }
    flat->page[flat->count] = (uint32_t)pages;
    return 0;
}

void sfs_flat_done(struct sfs_flat *flat)
{
    free(flat->page);
    *flat = (struct sfs_flat){ 0 };
}

uint64_t sfs_flat_size(const struct sfs_flat *flat)
{
    uint64_t pages = flat->page[flat->count];
    return (pages > 0 ? pages : 1) * SFS_FLAT_PAGE;
}

uint64_t sfs_flat_offset(const struct sfs_flat *flat, sfs_ino ino)
{
    return (uint64_t)flat->page[ino] * SFS_FLAT_PAGE;
}

/* The last inode that starts at the page or before it; those without bytes start where the next
 * one does. */
static sfs_ino inode_at(const struct sfs_flat *flat, uint64_t page)
{
    sfs_ino low = 0, high = flat->count;
    while (high - low > 1) {
        sfs_ino middle = low + (high - low) / 2;
        if (flat->page[middle] <= page)
            low = middle;
        else
            high = middle;
    }
    return low;
}

bool sfs_flat_find(const struct sfs_flat *flat, uint64_t offset, struct sfs_flat_part *ret_part)
{
    uint64_t page = offset / SFS_FLAT_PAGE;
    if (page >= flat->page[flat->count])
        return false;
    sfs_ino ino = inode_at(flat, page);
    struct sfs_flat_part part = { .ino = ino, .file_size = file_size(flat->forest, ino) };
    if (!sfs_forest_locate(flat->forest, ino, &part.place))
        return false;
    uint64_t at = offset - sfs_flat_offset(flat, ino);
    uint64_t end = (uint64_t)(flat->page[ino + 1] - flat->page[ino]) * SFS_FLAT_PAGE;
    part.start = at < part.file_size ? at : part.file_size;
    part.size = part.file_size - part.start;
    part.zeros = end - at - part.size;
    *ret_part = part;
    return true;
}
