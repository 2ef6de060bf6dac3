/* Two steps: what goes into the pack, and where; then its bytes, in the order in which they lie in
 * the blobs, so that each span is decoded once. */
#include "mount/pack_make.h"

#include "base/array.h"
#include "base/hash.h"
#include "base/limits.h"
#include "mount/pack.h"
#include "mount/pack_format.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <fcntl.h>
#include <stagefs/mount.h>
#include <sys/stat.h>

/* What is read of a file counts in units of this. Two starts of one program touch the same pages
 * (`import torch`: 50,061 both times), so coarser units only make the pack larger: 205, 270 and 443
 * MB in units of 4, 16 and 64 KiB. */
#define GRAIN PACK_PAGE
/* Files of fewer bytes are in the pack whole. */
#define SMALL (128u << 10)
/* So many bytes are taken of a file of which the profile tells no bytes, but that it was read. */
#define GUESS (1u << 20)
#define MOST  (4ull << 30) /* bytes of all packs together */

struct planned_file {
    sfs_node node;
    uint64_t size;
    struct sfs_ranges ranges;
    char name[SFS_CONTENT_NAME];
};

/* A piece, and where its bytes come from. */
struct planned_piece {
    const void *blob;
    uint64_t position;
    sfs_node node;
    uint32_t number;
};

struct pack_maker {
    const struct sfs_tree *tree;
    const struct sfs_pack_making *making;
    struct planned_file *files;
    size_t file_count, file_capacity;
    uint32_t *file_of; /* by node: 1 + its file; 0: none */
    struct pack_piece *pieces;
    struct planned_piece *order;
    struct pack_header header;
    struct pack_file *table;
    struct sfs_gmac *gmac;
};

static void maker_done(struct pack_maker *maker)
{
    for (size_t i = 0; i < maker->file_count; i++)
        sfs_ranges_done(&maker->files[i].ranges);
    free(maker->files);
    free(maker->file_of);
    free(maker->pieces);
    free(maker->order);
    free(maker->table);
    sfs_gmac_close(&maker->gmac);
}

/* --- what goes into it ------------------------------------------------------------------------ */

/* The record of a file, made if there is none. NULL, 0: no blob vouches for its bytes. */
static int find_planned(struct pack_maker *maker, sfs_node node, const struct sfs_attr *attr,
                        struct planned_file **ret_file)
{
    *ret_file = NULL;
    if (maker->file_of[node]) {
        *ret_file = &maker->files[maker->file_of[node] - 1];
        return 0;
    }
    struct planned_file file = { .node = node, .size = attr->size };
    int r = sfs_tree_content_name(maker->tree, node, file.name);
    if (r < 0 || maker->file_count == SFS_MAX_PACK_PIECES)
        return r == -ENOMEM ? r : 0;
    if (SFS_ARRAY_GROW(maker->files, maker->file_count, maker->file_capacity, 256) < 0)
        return -ENOMEM;
    maker->files[maker->file_count++] = file;
    maker->file_of[node] = (uint32_t)maker->file_count;
    *ret_file = &maker->files[maker->file_count - 1];
    return 0;
}

/* Adds a range in whole units; what is left behind it up to the file's end is not worth a read of
 * its own. */
static int add_range(struct planned_file *file, uint64_t offset, uint64_t size)
{
    if (offset >= file->size)
        return 0;
    uint64_t start = offset / GRAIN * GRAIN, end = file->size;
    if (size < end - offset)
        end = offset + size;
    end = (end + GRAIN - 1) / GRAIN * GRAIN;
    if (end > file->size || file->size - end <= GRAIN)
        end = file->size;
    return sfs_ranges_add(&file->ranges, start, end - start);
}

static int plan_use(struct pack_maker *maker, const struct sfs_use *use)
{
    sfs_node node;
    struct sfs_attr attr;
    struct planned_file *file;
    if (!sfs_use_has_ranges(use->kind) ||
        sfs_tree_resolve(maker->tree, use->path, SFS_RESOLVE_FOLLOW | SFS_RESOLVE_UNCONFIRMED,
                         &node, NULL) < 0)
        return 0;
    sfs_tree_attr(maker->tree, node, &attr);
    if (!S_ISREG(attr.mode) || attr.size == 0)
        return 0;
    int r = find_planned(maker, node, &attr, &file);
    if (r < 0 || !file)
        return r;
    if (attr.size <= SMALL || use->ranges.count == 0)
        return add_range(file, 0, attr.size <= SMALL ? attr.size : GUESS);
    for (size_t i = 0; r == 0 && i < use->ranges.count; i++)
        r = add_range(file, use->ranges.items[i].offset, use->ranges.items[i].size);
    return r;
}

static uint64_t count_pieces(const struct sfs_ranges *ranges)
{
    uint64_t count = 0;
    for (size_t i = 0; i < ranges->count; i++) {
        const struct sfs_range *range = &ranges->items[i];
        count += (range->offset + range->size - 1) / PACK_PIECE - range->offset / PACK_PIECE + 1;
    }
    return count;
}

static void place_piece(struct pack_maker *maker, sfs_node node, struct sfs_range range)
{
    uint32_t number = maker->header.pieces++;
    struct planned_piece *planned = &maker->order[number];
    maker->pieces[number] = (struct pack_piece){ .offset = range.offset,
                                                 .at = maker->header.size,
                                                 .size = (uint32_t)range.size };
    maker->header.size += (range.size + PACK_PAGE - 1) / PACK_PAGE * PACK_PAGE;
    *planned = (struct planned_piece){ .node = node, .number = number };
    sfs_tree_locate(maker->tree, node, range.offset, &planned->blob, &planned->position);
}

static void place_file(struct pack_maker *maker, size_t index)
{
    const struct planned_file *file = &maker->files[index];
    struct pack_file *entry = &maker->table[index];
    *entry =
        (struct pack_file){ .node = file->node, .size = file->size, .first = maker->header.pieces };
    memcpy(entry->name, file->name, sizeof entry->name);
    for (size_t i = 0; i < file->ranges.count; i++) {
        struct sfs_range range = file->ranges.items[i];
        for (uint64_t end = range.offset + range.size; range.offset < end;) {
            uint64_t next = (range.offset / PACK_PIECE + 1) * PACK_PIECE;
            range.size = (next < end ? next : end) - range.offset;
            place_piece(maker, file->node, range);
            range.offset = next;
        }
    }
    entry->count = maker->header.pieces - entry->first;
}

/* Gives all pieces their places: one behind the other, in the order of first use. */
static int place_all(struct pack_maker *maker, struct sfs_error *err)
{
    uint64_t count = 0;
    for (size_t i = 0; i < maker->file_count; i++) {
        sfs_ranges_merge(&maker->files[i].ranges, 0);
        count += count_pieces(&maker->files[i].ranges);
    }
    if (count == 0)
        return sfs_fail(err, ENODATA, "the profile tells no bytes of files that could be packed");
    if (count > SFS_MAX_PACK_PIECES)
        return sfs_fail(err, E2BIG, "a pack of %llu pieces is larger than one can be",
                        (unsigned long long)count);
    maker->pieces = calloc(count, sizeof *maker->pieces);
    maker->order = calloc(count, sizeof *maker->order);
    maker->table = calloc(maker->file_count, sizeof *maker->table);
    if (!maker->pieces || !maker->order || !maker->table)
        return sfs_fail_memory(err);
    uint64_t tables = sizeof maker->header + maker->file_count * sizeof *maker->table +
                      count * sizeof *maker->pieces;
    maker->header.data_at = (tables + PACK_PAGE - 1) / PACK_PAGE * PACK_PAGE;
    maker->header.size = maker->header.data_at;
    for (size_t i = 0; i < maker->file_count; i++)
        place_file(maker, i);
    maker->header.files = (uint32_t)maker->file_count;
    return maker->header.size <= SFS_MAX_PACK
               ? 0
               : sfs_fail(err, E2BIG, "a pack of %llu MB is larger than one can be",
                          (unsigned long long)(maker->header.size >> 20));
}

static int plan(struct pack_maker *maker, const struct sfs_profile *profile, struct sfs_error *err)
{
    maker->file_of = calloc(sfs_tree_count(maker->tree) + 1ull, sizeof *maker->file_of);
    maker->gmac = sfs_gmac_open();
    if (!maker->file_of || !maker->gmac)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < profile->count; i++)
        if (plan_use(maker, &profile->uses[i]) < 0)
            return sfs_fail_memory(err);
    return place_all(maker, err);
}

/* --- its bytes -------------------------------------------------------------------------------- */

static int compare_positions(const void *left, const void *right)
{
    const struct planned_piece *a = left, *b = right;
    uintptr_t x = (uintptr_t)a->blob, y = (uintptr_t)b->blob;
    if (x != y)
        return (x > y) - (x < y);
    return (a->position > b->position) - (a->position < b->position);
}

static int write_at(int fd, const void *data, size_t size, uint64_t at, struct sfs_error *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(fd, (const char *)data + done, size - done, (off_t)(at + done));
        if (n < 0 && errno != EINTR)
            return sfs_fail_errno(err, errno, "writing to the cache directory");
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Copies a piece from the pack before. False: that has not all of it, or is damaged. */
static bool take_piece(const struct sfs_pack_making *making, sfs_node node,
                       const struct pack_piece *piece, char *room)
{
    const sfs_ino ino = making->first + node;
    const struct sfs_range range = { piece->offset, piece->size };
    size_t done = 0;
    while (sfs_pack_has(making->before, ino, range) && done < piece->size) {
        AUTO(sfs_slice_release) struct sfs_slice slice = { 0 };
        if (sfs_pack_pin(making->before, ino, piece->offset + done, piece->size - done, &slice) < 0)
            return false;
        memcpy(room + done, slice.data, slice.size);
        done += slice.size;
    }
    return done == piece->size;
}

static int read_piece(const struct pack_maker *maker, sfs_node node, const struct pack_piece *piece,
                      char *room, struct sfs_error *err)
{
    if (take_piece(maker->making, node, piece, room))
        return 0;
    ssize_t got = sfs_tree_read(maker->tree, node, room, piece->size, piece->offset, err);
    if (got == (ssize_t)piece->size)
        return 0;
    return got < 0 ? (int)got : sfs_fail(err, EIO, "a file ended early");
}

static int write_piece(struct pack_maker *maker, const struct planned_piece *planned, int fd,
                       char *room, struct sfs_error *err)
{
    struct pack_piece *piece = &maker->pieces[planned->number];
    int r = read_piece(maker, planned->node, piece, room, err);
    if (r < 0)
        return r;
    if (sfs_gmac_start(maker->gmac, maker->header.key, 1ull + planned->number) < 0 ||
        sfs_gmac_add(maker->gmac, room, piece->size) < 0 ||
        sfs_gmac_finish(maker->gmac, piece->tag) < 0)
        return sfs_fail_memory(err);
    return write_at(fd, room, piece->size, piece->at, err);
}

static int write_pieces(struct pack_maker *maker, int fd, struct sfs_error *err)
{
    const struct sfs_pack_making *making = maker->making;
    AUTO(sfs_free) char *room = malloc(PACK_PIECE);
    if (!room)
        return sfs_fail_memory(err);
    qsort(maker->order, maker->header.pieces, sizeof *maker->order, compare_positions);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < maker->header.pieces; i++) {
        if (making->go_on && !making->go_on(making->user))
            return sfs_fail(err, ECANCELED, "stopped");
        r = write_piece(maker, &maker->order[i], fd, room, err);
    }
    return r;
}

/* Header and tables come last, since the tags of all pieces are in them. */
static int write_tables(struct pack_maker *maker, int fd, struct sfs_error *err)
{
    struct pack_header *header = &maker->header;
    size_t files = header->files * sizeof *maker->table;
    size_t pieces = header->pieces * sizeof *maker->pieces;
    memcpy(header->magic, PACK_MAGIC, sizeof header->magic);
    header->version = PACK_VERSION;
    if (sfs_gmac_start(maker->gmac, header->key, 0) < 0 ||
        sfs_gmac_add(maker->gmac, header, sizeof *header) < 0 ||
        sfs_gmac_add(maker->gmac, maker->table, files) < 0 ||
        sfs_gmac_add(maker->gmac, maker->pieces, pieces) < 0 ||
        sfs_gmac_finish(maker->gmac, header->tag) < 0)
        return sfs_fail_memory(err);
    int r = write_at(fd, header, sizeof *header, 0, err);
    if (r == 0)
        r = write_at(fd, maker->table, files, sizeof *header, err);
    return r < 0 ? r : write_at(fd, maker->pieces, pieces, sizeof *header + files, err);
}

/* Asks for the room of the whole file first: if there is none, no time is lost, and the file lies
 * in one piece. */
static int reserve(int fd, uint64_t size, struct sfs_error *err)
{
    if (fallocate(fd, 0, 0, (off_t)size) == 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return sfs_fail_errno(err, errno, "%llu bytes in the cache directory",
                              (unsigned long long)size);
    return ftruncate(fd, (off_t)size) < 0 ? sfs_fail_errno(err, errno, "the cache directory") : 0;
}

static int write_pack(struct pack_maker *maker, struct sfs_error *err)
{
    const struct sfs_pack_making *making = maker->making;
    uint64_t limit = making->limit && making->limit < MOST ? making->limit : MOST;
    int r = sfs_store_make_room(making->store, SFS_STORE_PACK, limit, maker->header.size, err);
    if (r < 0)
        return r;
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    r = sfs_store_start_file(making->store, SFS_STORE_PACK, &temp, err);
    if (r == 0)
        r = reserve(temp.fd, maker->header.size, err);
    if (r == 0 && sfs_gmac_make_key(maker->header.key) < 0)
        r = sfs_fail(err, EIO, "no random bytes for a key");
    if (r == 0)
        r = write_pieces(maker, temp.fd, err);
    if (r == 0)
        r = write_tables(maker, temp.fd, err);
    if (r == 0)
        r = sfs_store_commit_file(making->store, SFS_STORE_PACK, making->key, &temp, err);
    return r;
}

int sfs_pack_make(const struct sfs_tree *tree, const struct sfs_profile *profile,
                  const struct sfs_pack_making *making, struct sfs_pack_made *ret_made,
                  struct sfs_error *err)
{
    AUTO(maker_done) struct pack_maker maker = { .tree = tree, .making = making };
    int r = plan(&maker, profile, err);
    if (r == 0)
        r = write_pack(&maker, err);
    if (r == 0)
        *ret_made = (struct sfs_pack_made){ .size = maker.header.size,
                                            .files = maker.header.files,
                                            .pieces = maker.header.pieces };
    return r;
}

int sfs_pack_read_profiles(const char *const *paths, size_t count, struct sfs_profile *profile,
                           struct sfs_digest *ret_digest, struct sfs_error *err)
{
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    int r = hash ? 0 : sfs_fail_memory(err);
    for (size_t i = 0; r == 0 && i < count; i++) {
        AUTO(sfs_free) char *text = NULL;
        size_t size;
        r = sfs_io_read_file(AT_FDCWD, paths[i], SFS_MAX_PROFILE, &text, &size, err);
        if (r == 0 && sfs_hash_add(hash, text, size) < 0)
            r = sfs_fail_memory(err);
        if (r == 0)
            r = sfs_profile_parse(profile, paths[i], text, size, err);
    }
    if (r == 0 && sfs_hash_finish(hash, ret_digest) < 0)
        r = sfs_fail_memory(err);
    return r;
}

int sfs_mount_pack(const struct sfs_tree *tree, const struct sfs_mount_options *options,
                   uint64_t *ret_size, struct sfs_error *err)
{
    char key[SFS_DIGEST_TEXT];
    struct sfs_digest digest;
    struct sfs_pack_made made;
    AUTO(sfs_profile_done) struct sfs_profile profile = { 0 };
    int r =
        sfs_pack_read_profiles(options->profiles, options->profile_count, &profile, &digest, err);
    if (r == 0 && sfs_pack_key(tree, &digest, key) < 0)
        r = sfs_fail_memory(err);
    const struct sfs_pack_making making = { .store = options->store,
                                            .key = key,
                                            .limit = options->pack_limit };
    if (r == 0)
        r = sfs_pack_make(tree, &profile, &making, &made, err);
    if (r == 0)
        *ret_size = made.size;
    return r;
}
