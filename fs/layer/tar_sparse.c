/* Reads the maps of sparse files, in the old GNU form and in the three pax forms. */
#include "layer/tar_sparse.h"

#include "base/limits.h"

#define NUMBER     12u /* bytes of a number in the old form */
#define OLD_MAP    386u
#define OLD_RUNS   4u
#define OLD_MORE   482u
#define OLD_SIZE   483u
#define BLOCK_RUNS 21u
#define BLOCK_MORE 504u
#define LINE       20u /* longest line of a map in form 1.0, without its end */

void sfs_tar_map_done(struct sfs_tar_map *map)
{
    sfs_buf_close(&map->extents);
    *map = (struct sfs_tar_map){ 0 };
}

int sfs_tar_map_add(struct sfs_tar_map *map, uint64_t offset, uint64_t length, uint64_t size,
                    struct sfs_error *err)
{
    if (offset < map->file_end || offset > size || length > size - offset)
        return sfs_fail(err, EBADMSG, "a run of bytes lies outside the file, or on another");
    size_t count = map->extents.size / sizeof(struct sfs_extent);
    struct sfs_extent *last =
        count ? (struct sfs_extent *)(void *)map->extents.data + count - 1 : NULL;
    const struct sfs_extent extent = { offset, map->stored, length };
    map->file_end = offset + length;
    map->stored += length;
    if (length == 0)
        return 0;
    if (last && last->file_offset + last->size == offset) {
        last->size += length;
        return 0;
    }
    if (count >= SFS_MAX_EXTENTS)
        return sfs_fail(err, E2BIG, "a sparse file has more than %u runs of bytes",
                        SFS_MAX_EXTENTS);
    return sfs_buf_add(&map->extents, &extent, sizeof extent) < 0 ? sfs_fail_memory(err) : 0;
}

/* ---- the old form ---- */

static int add_old_runs(const char *runs, size_t count, uint64_t size, struct sfs_tar_map *map,
                        struct sfs_error *err)
{
    for (size_t i = 0; i < count; i++, runs += 2 * NUMBER) {
        int64_t offset, length;
        if (runs[0] == 0) /* where all readers stop */
            return 0;
        if (sfs_tar_number(runs, NUMBER, &offset) < 0 ||
            sfs_tar_number(runs + NUMBER, NUMBER, &length) < 0 || offset < 0 || length < 0)
            return sfs_fail(err, EBADMSG, "the map of a sparse file has no numbers");
        int r = sfs_tar_map_add(map, (uint64_t)offset, (uint64_t)length, size, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Does another block of runs follow? Go, libarchive and GNU tar go on where this byte is not 0. */
static bool goes_on(const char *block, size_t at)
{
    return block[at] != 0;
}

int sfs_tar_sparse_old(const void *header, struct sfs_tar_blocks *blocks, struct sfs_tar_map *map,
                       uint64_t *ret_size, struct sfs_error *err)
{
    const char *bytes = header;
    int64_t size;
    if (sfs_tar_number(bytes + OLD_SIZE, NUMBER, &size) < 0 || size < 0)
        return sfs_fail(err, EBADMSG, "the size of a sparse file is no number");
    *ret_size = (uint64_t)size;
    int r = add_old_runs(bytes + OLD_MAP, OLD_RUNS, *ret_size, map, err);
    bool more = goes_on(bytes, OLD_MORE);
    for (uint32_t count = 0; r == 0 && more; count++) {
        const void *block;
        if (count > SFS_MAX_EXTENTS / BLOCK_RUNS)
            return sfs_fail(err, E2BIG, "the map of a sparse file is too long");
        r = sfs_tar_blocks_next(blocks, &block, err);
        if (r == 0)
            return sfs_fail(err, EBADMSG, "it is truncated in the map of a sparse file");
        if (r > 0)
            r = add_old_runs(block, BLOCK_RUNS, *ret_size, map, err);
        more = r == 0 && goes_on(block, BLOCK_MORE);
    }
    return r;
}

/* ---- the pax forms ---- */

static int add_pairs(const struct sfs_tar_pax *pax, struct sfs_tar_map *map, struct sfs_error *err)
{
    const uint64_t *pairs = (const void *)pax->sparse.pairs.data;
    size_t numbers = pax->sparse.pairs.size / sizeof *pairs;
    if (!pax->sparse.has_count || numbers % 2 != 0 || numbers / 2 != (uint64_t)pax->sparse.count)
        return sfs_fail(err, EBADMSG, "the map of a sparse file has another number of runs");
    int r = 0;
    for (size_t i = 0; r == 0 && i < numbers; i += 2)
        r = sfs_tar_map_add(map, pairs[i], pairs[i + 1], (uint64_t)pax->sparse.size, err);
    return r;
}

/* Adds the runs of form 0.1: "OFFSET,SIZE,OFFSET,SIZE" and so on. */
static int add_listed(const struct sfs_tar_pax *pax, struct sfs_tar_map *map, struct sfs_error *err)
{
    int64_t offset = 0, number, count = 0;
    for (const char *at = pax->sparse.map; *at; count++) {
        size_t size = strcspn(at, ",");
        if (sfs_tar_decimal(at, size, false, &number) < 0 || (at[size] && !at[size + 1]))
            return sfs_fail(err, EBADMSG, "the map of a sparse file has no numbers");
        int r = count % 2 ? sfs_tar_map_add(map, (uint64_t)offset, (uint64_t)number,
                                            (uint64_t)pax->sparse.size, err)
                          : 0;
        if (r < 0)
            return r;
        offset = number;
        at += size + (at[size] == ',');
    }
    if (!pax->sparse.has_count || count % 2 || count / 2 != pax->sparse.count)
        return sfs_fail(err, EBADMSG, "the map of a sparse file has another number of runs");
    return 0;
}

/* Reads the lines of the map that starts a file's bytes in form 1.0. */
struct map_lines {
    struct sfs_tar_blocks *blocks;
    uint64_t stored, taken;
    const char *block;
    size_t at;
};

static int next_byte(struct map_lines *reader, char *ret_byte, struct sfs_error *err)
{
    if (!reader->block || reader->at == SFS_TAR_BLOCK) {
        const void *block = NULL;
        int r = reader->stored - reader->taken < SFS_TAR_BLOCK
                    ? 0
                    : sfs_tar_blocks_next(reader->blocks, &block, err);
        if (r == 0)
            return sfs_fail(err, EBADMSG, "the map of a sparse file does not end");
        if (r < 0)
            return r;
        reader->block = block;
        reader->taken += SFS_TAR_BLOCK;
        reader->at = 0;
    }
    *ret_byte = reader->block[reader->at++];
    return 0;
}

static int next_line(struct map_lines *reader, int64_t *ret_number, struct sfs_error *err)
{
    char line[LINE];
    size_t size = 0;
    for (;;) {
        char byte = 0;
        int r = next_byte(reader, &byte, err);
        if (r < 0)
            return r;
        if (byte == '\n')
            break;
        if (size == sizeof line)
            return sfs_fail(err, EBADMSG, "the map of a sparse file has a line too long");
        line[size++] = byte;
    }
    if (sfs_tar_decimal(line, size, false, ret_number) < 0)
        return sfs_fail(err, EBADMSG, "the map of a sparse file has no numbers");
    return 0;
}

/* Adds the runs of form 1.0: the number of runs, then each one's offset and size, a line each, to
 * the end of a block. */
static int add_stored(const struct sfs_tar_pax *pax, struct map_lines *reader,
                      struct sfs_tar_map *map, struct sfs_error *err)
{
    int64_t count, offset, length;
    int r = next_line(reader, &count, err);
    for (int64_t i = 0; r == 0 && i < count; i++) {
        r = next_line(reader, &offset, err);
        if (r == 0)
            r = next_line(reader, &length, err);
        if (r == 0)
            r = sfs_tar_map_add(map, (uint64_t)offset, (uint64_t)length, (uint64_t)pax->sparse.size,
                                err);
    }
    return r;
}

static bool is_version(const struct sfs_tar_pax *pax, const char *major, const char *minor)
{
    return pax->sparse.major && pax->sparse.minor && strcmp(pax->sparse.major, major) == 0 &&
           strcmp(pax->sparse.minor, minor) == 0;
}

int sfs_tar_sparse_pax(const struct sfs_tar_pax *pax, struct sfs_tar_blocks *blocks,
                       uint64_t stored, struct sfs_tar_map *map, uint64_t *ret_map_size,
                       struct sfs_error *err)
{
    bool says_version = pax->sparse.major || pax->sparse.minor;
    bool has_map = pax->sparse.map, has_pairs = pax->sparse.pairs.size > 0;
    struct map_lines reader = { .blocks = blocks, .stored = stored };
    *ret_map_size = 0;
    if (!pax->sparse.any)
        return 0;
    if (!pax->sparse.has_size)
        return sfs_fail(err, EBADMSG, "a sparse file does not say its size");
    int r;
    if (is_version(pax, "1", "0") && !has_map && !has_pairs)
        r = add_stored(pax, &reader, map, err);
    else if (has_map == has_pairs || (says_version && !is_version(pax, "0", has_map ? "1" : "0")))
        r = sfs_fail(err, EBADMSG, "a sparse file of an unknown form");
    else
        r = has_map ? add_listed(pax, map, err) : add_pairs(pax, map, err);
    *ret_map_size = reader.taken;
    return r < 0 ? r : 1;
}
