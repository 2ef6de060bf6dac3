/* Two passes: the first gives each inode its place, and writes there what it can; the second writes
 * what has to know places of others: directories, data in blocks, the pack's files. Order in
 * the image: super block and device, inodes with what is kept behind them, blocks of directories
 * and long links, inodes of the pack's files with their tables, in the pack's order. The row of
 * contents has no device of its own: of one that is found by block addresses the kernel joins no
 * two pages to one request (Linux 6.18). It does where tables name the device, as those of the
 * pack's files do. */
#include "mount/erofs_image.h"

#include "base/limits.h"
#include "base/path.h"
#include "mount/erofs_format.h"
#include <endian.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#define DEVICE_AT    (EROFS_SUPER_AT + sizeof(struct erofs_super))
#define INODES_AT    (DEVICE_AT + sizeof(struct erofs_device))
#define INODE_ALIGN  64u /* so that no inode lies across two blocks */
#define XATTR_UNIT   4u
#define MAX_XATTRS   (sizeof(struct erofs_xattr_header) + (UINT16_MAX - 1) * XATTR_UNIT)
#define MAX_VALUE    UINT16_MAX
#define ROOM         (2u << 20) /* memory for it grows by so much at least: a page of the larger kind */
#define MEMORY_SHARE 4u /* an image of more than this part of the machine's memory is refused */
#define DIRENT       ((uint32_t)sizeof(struct erofs_dirent))
#define CHUNK        ((uint32_t)sizeof(struct erofs_chunk))

struct name_slot {
    uint32_t number; /* the inode's number in EROFS */
    uint32_t block;  /* the first block of its data, counted from the image's first data block */
    uint8_t type;    /* the file type, as directories have it */
    bool is_written;
};

struct name {
    const char *text;
    uint32_t size;
    sfs_ino ino;
};

struct image_writer {
    const struct sfs_flat *flat;
    const struct sfs_pack *pack;
    struct name_slot *slots;
    sfs_ino inodes; /* how many there are */
    uint64_t inodes_end;
    uint64_t blocks;    /* how many blocks directories and links have */
    uint64_t blocks_at; /* and the first of them */
    uint64_t used;      /* 512-byte blocks of all files, as a mount without EROFS counts them */
    struct name *names;
    size_t names_capacity;
    struct sfs_erofs_image image;
};

static void writer_done(struct image_writer *writer)
{
    sfs_erofs_image_done(&writer->image);
    free(writer->slots);
    free(writer->names);
}

/* One inode, however the forest has it. */
struct node {
    sfs_ino ino;
    struct sfs_place place;
    struct sfs_attr attr;
    size_t xattrs;  /* bytes of its extended attributes in the image, with their header */
    size_t size;    /* bytes of its data in the image, if it is a directory or link */
    uint32_t names; /* how many names it has, if it is a directory */
    uint64_t table; /* entries of its table, if the pack has some of the file */
};

/* --- extended attributes ---------------------------------------------------------------------- */

/* The part of the name that is stored; NULL: EROFS does not know the namespace. */
static const char *xattr_suffix(const char *name, uint8_t *ret_prefix)
{
    static const struct {
        const char *text;
        uint8_t number;
    } prefixes[] = { { "user.", 1 },
                     { "system.posix_acl_access", 2 },
                     { "system.posix_acl_default", 3 },
                     { "trusted.", 4 },
                     { "security.", 6 } };
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t size = strlen(prefixes[i].text);
        if (strncmp(name, prefixes[i].text, size) == 0) {
            *ret_prefix = prefixes[i].number;
            return name + size;
        }
    }
    return NULL;
}

bool sfs_erofs_knows_xattrs(const struct sfs_forest *forest)
{
    struct sfs_place place;
    struct sfs_forest_xattr xattr;
    uint8_t prefix;
    for (sfs_ino ino = SFS_INO_ROOT; ino < forest->first[forest->count]; ino++) {
        uint32_t count =
            sfs_forest_locate(forest, ino, &place) ? sfs_forest_xattr_count(forest, &place) : 0;
        for (uint32_t i = 0; i < count; i++)
            if (sfs_forest_xattr(forest, &place, i, &xattr) && !xattr_suffix(xattr.name, &prefix))
                return false;
    }
    return true;
}

static size_t xattr_size(const struct sfs_forest_xattr *xattr)
{
    uint8_t prefix;
    const char *suffix = xattr_suffix(xattr->name, &prefix);
    if (!suffix)
        return 0;
    size_t size = sizeof(struct erofs_xattr) + strlen(suffix) + xattr->size;
    return (size + XATTR_UNIT - 1) / XATTR_UNIT * XATTR_UNIT;
}

static int measure_xattrs(const struct sfs_forest *forest, struct node *node, struct sfs_error *err)
{
    uint32_t count = sfs_forest_xattr_count(forest, &node->place);
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct sfs_forest_xattr xattr;
        if (!sfs_forest_xattr(forest, &node->place, i, &xattr))
            continue;
        uint8_t prefix;
        const char *suffix = xattr_suffix(xattr.name, &prefix);
        if (suffix && (xattr.size > MAX_VALUE || strlen(suffix) > UINT8_MAX))
            return sfs_fail(err, E2BIG, "the extended attribute %s is too long for EROFS",
                            xattr.name);
        size += xattr_size(&xattr);
    }
    node->xattrs = size > 0 ? sizeof(struct erofs_xattr_header) + size : 0;
    if (node->xattrs > MAX_XATTRS)
        return sfs_fail(err, E2BIG,
                        "%zu bytes of extended attributes of one file are more than "
                        "EROFS holds",
                        node->xattrs);
    return 0;
}

static void write_xattrs(const struct sfs_forest *forest, const struct node *node, char *to)
{
    if (node->xattrs == 0)
        return;
    to += sizeof(struct erofs_xattr_header);
    uint32_t count = sfs_forest_xattr_count(forest, &node->place);
    for (uint32_t i = 0; i < count; i++) {
        struct sfs_forest_xattr xattr;
        if (!sfs_forest_xattr(forest, &node->place, i, &xattr))
            continue;
        struct erofs_xattr head = { .value_size = htole16((uint16_t)xattr.size) };
        const char *suffix = xattr_suffix(xattr.name, &head.prefix);
        if (!suffix)
            continue;
        head.name_size = (uint8_t)strlen(suffix);
        memcpy(to, &head, sizeof head);
        memcpy(to + sizeof head, suffix, head.name_size);
        memcpy(to + sizeof head + head.name_size, xattr.value, xattr.size);
        to += xattr_size(&xattr);
    }
}

/* --- directories ------------------------------------------------------------------------------ */

static int compare_names(const void *left, const void *right)
{
    const struct name *a = left, *b = right;
    return sfs_name_compare(a->text, a->size, b->text, b->size);
}

/* Lists a directory, with "." and "..", which EROFS keeps among the other names, in order. */
static int list_names(struct image_writer *writer, sfs_ino dir, uint32_t *ret_count,
                      struct sfs_error *err)
{
    struct sfs_listing listing;
    sfs_ino parent = dir;
    sfs_forest_parent(writer->flat->forest, dir, &parent);
    sfs_forest_list(writer->flat->forest, dir, &listing);
    size_t count = (size_t)listing.count + 2;
    if (count > writer->names_capacity) {
        struct name *names = reallocarray(writer->names, count * 2, sizeof *names);
        if (!names)
            return sfs_fail_memory(err);
        writer->names = names;
        writer->names_capacity = count * 2;
    }
    writer->names[0] = (struct name){ ".", 1, dir };
    writer->names[1] = (struct name){ "..", 2, parent };
    bool sorted = true;
    for (uint32_t i = 0; i < listing.count; i++) {
        const struct sfs_dirent *entry = &listing.entries[i];
        if (entry->name_size > SFS_MAX_NAME)
            return sfs_fail(err, ENAMETOOLONG, "the name %.64s... is too long for EROFS",
                            entry->name);
        struct name *name = &writer->names[i + 2];
        *name = (struct name){ entry->name, entry->name_size, sfs_listing_ino(&listing, i) };
        sorted = sorted && compare_names(name - 1, name) < 0;
    }
    if (!sorted)
        qsort(writer->names, count, sizeof *writer->names, compare_names);
    *ret_count = (uint32_t)count;
    return 0;
}

/* How many names, from `first` on, one block takes, and how much of it they fill. */
static uint32_t fill_block(const struct image_writer *writer, uint32_t first, uint32_t count,
                           size_t *ret_used)
{
    size_t used = 0;
    uint32_t i = first;
    for (; i < count && used + DIRENT + writer->names[i].size <= EROFS_BLOCK; i++)
        used += DIRENT + writer->names[i].size;
    *ret_used = used;
    return i - first;
}

static int measure_dir(struct image_writer *writer, struct node *node, struct sfs_error *err)
{
    int r = list_names(writer, node->ino, &node->names, err);
    size_t used = 0;
    node->size = 0;
    for (uint32_t i = 0; r == 0 && i < node->names;) {
        i += fill_block(writer, i, node->names, &used);
        node->size += i < node->names ? EROFS_BLOCK : used;
    }
    return r;
}

static void write_block(const struct image_writer *writer, const struct name *names, uint32_t count,
                        char *to)
{
    size_t at = (size_t)count * DIRENT;
    for (uint32_t i = 0; i < count; i++) {
        const struct name_slot *slot = &writer->slots[names[i].ino];
        struct erofs_dirent dirent = { .inode = htole64(slot->number),
                                       .name_at = htole16((uint16_t)at),
                                       .type = slot->type };
        memcpy(to + i * sizeof dirent, &dirent, sizeof dirent);
        memcpy(to + at, names[i].text, names[i].size);
        at += names[i].size;
    }
}

/* Writes a directory: its whole blocks to `blocks`, the last one to `tail`. */
static void write_dir(const struct image_writer *writer, const struct node *node, char *blocks,
                      char *tail)
{
    size_t used;
    for (uint32_t i = 0; i < node->names;) {
        uint32_t count = fill_block(writer, i, node->names, &used);
        write_block(writer, writer->names + i, count, i + count < node->names ? blocks : tail);
        blocks += EROFS_BLOCK;
        i += count;
    }
}

/* --- inodes ----------------------------------------------------------------------------------- */

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static bool is_packed(const struct image_writer *writer, sfs_ino ino)
{
    return sfs_pack_count(writer->pack, ino) > 0;
}

static uint8_t type_of(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return 1;
    case S_IFDIR:
        return 2;
    case S_IFCHR:
        return 3;
    case S_IFBLK:
        return 4;
    case S_IFIFO:
        return 5;
    case S_IFSOCK:
        return 6;
    default:
        return 7; /* a symbolic link */
    }
}

static int look_at(struct image_writer *writer, sfs_ino ino, struct node *node,
                   struct sfs_error *err)
{
    *node = (struct node){ .ino = ino };
    sfs_forest_locate(writer->flat->forest, ino, &node->place);
    if (node->place.tree)
        sfs_tree_attr(node->place.tree, node->place.node, &node->attr);
    else
        node->attr = (struct sfs_attr){ .mode = S_IFDIR | 0755,
                                        .nlink = 2 + (uint32_t)writer->flat->forest->count };
    int r = measure_xattrs(writer->flat->forest, node, err);
    if (r == 0 && S_ISDIR(node->attr.mode))
        r = measure_dir(writer, node, err);
    if (S_ISLNK(node->attr.mode))
        node->size = node->attr.size;
    if (is_packed(writer, ino))
        node->table = (node->attr.size + EROFS_BLOCK - 1) / EROFS_BLOCK;
    return r;
}

/* What stands before the data: inode and extended attributes, filled up where a table follows. */
static size_t head_size(const struct node *node)
{
    size_t size = sizeof(struct erofs_inode) + node->xattrs;
    return node->table > 0 ? round_up(size, CHUNK) : size;
}

/* May the last, partial block of a directory or link stand behind its inode? Both must be within
 * one block. */
static bool tail_fits(const struct node *node, uint64_t at)
{
    size_t tail = node->size % EROFS_BLOCK;
    return tail > 0 && (at + head_size(node)) % EROFS_BLOCK + tail <= EROFS_BLOCK;
}

static uint64_t inode_at(const struct image_writer *writer, sfs_ino ino)
{
    return (uint64_t)writer->slots[ino].number * EROFS_SLOT;
}

static int place(struct image_writer *writer, const struct node *node, struct sfs_error *err)
{
    uint64_t at = round_up(writer->inodes_end, INODE_ALIGN), next = round_up(at, EROFS_BLOCK);
    if (!tail_fits(node, at) && tail_fits(node, next))
        at = next;
    bool fits = tail_fits(node, at);
    size_t tail = fits ? node->size % EROFS_BLOCK : 0;
    writer->inodes_end = at + head_size(node) + tail + node->table * CHUNK;
    writer->slots[node->ino] = (struct name_slot){ .number = (uint32_t)(at / EROFS_SLOT),
                                                   .block = (uint32_t)writer->blocks,
                                                   .type = type_of(node->attr.mode) };
    writer->blocks += round_up(node->size - tail, EROFS_BLOCK) / EROFS_BLOCK;
    if (S_ISREG(node->attr.mode))
        writer->used += node->attr.size / 512 + (node->attr.size % 512 != 0);
    writer->inodes++;
    if (round_up(writer->inodes_end, EROFS_BLOCK) / EROFS_BLOCK + writer->blocks >=
        SFS_FLAT_FIRST_PAGE)
        return sfs_fail(err, EFBIG, "the names are more than 64 GiB, which EROFS cannot hold");
    return 0;
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Has memory for the first `end` bytes of the image, and for more, which finish_room() gives back.
 */
static int make_room(struct image_writer *writer, uint64_t end, struct sfs_error *err)
{
    struct sfs_erofs_image *image = &writer->image;
    size_t size = round_up(end > 2 * image->size ? end : 2 * image->size, ROOM);
    if (end <= image->size)
        return 0;
    if (end > (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / MEMORY_SHARE)
        return sfs_fail(err, E2BIG,
                        "names and attributes would take %zu MB of memory: mount without --erofs",
                        (size_t)(end >> 20));
    void *data = image->data
                     ? mremap(image->data, image->size, size, MREMAP_MAYMOVE)
                     : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return sfs_fail_errno(err, errno, "%zu bytes for an EROFS image", size);
    madvise(data, size, MADV_HUGEPAGE); /* 25,000 page faults less for a million files */
    image->data = data;
    image->size = size;
    return 0;
}

/* Has memory for all of the image and no more. Of its end little is written: the pack's files
 * without their tables. */
static int finish_room(struct image_writer *writer, struct sfs_error *err)
{
    struct sfs_erofs_image *image = &writer->image;
    size_t size = round_up(writer->inodes_end, EROFS_BLOCK);
    int r = make_room(writer, size, err);
    if (r < 0)
        return r;
    if (size < image->size)
        munmap(image->data + size, image->size - size);
    image->size = size;
    if (image->fixed < size)
        madvise(image->data + image->fixed, size - image->fixed, MADV_NOHUGEPAGE);
    return 0;
}

/* --- the pack --------------------------------------------------------------------------------- */

/* The kernel takes whole blocks, so only pieces that consist of those lead into the pack. */
static bool has_whole_blocks(struct sfs_range range, uint64_t at, uint64_t file_size)
{
    bool ends_file = range.offset + range.size == file_size;
    return range.offset % EROFS_BLOCK == 0 && at % EROFS_BLOCK == 0 &&
           at / EROFS_BLOCK <= UINT32_MAX && (range.size % EROFS_BLOCK == 0 || ends_file);
}

static void add_patches(struct image_writer *writer, const struct node *node, uint64_t table)
{
    uint64_t at;
    for (size_t i = 0; i < sfs_pack_count(writer->pack, node->ino); i++) {
        struct sfs_range range = sfs_pack_piece(writer->pack, node->ino, i, &at);
        if (has_whole_blocks(range, at, node->attr.size))
            writer->image.patches[writer->image.patch_count++] = (struct sfs_erofs_patch){
                .at = table + range.offset / EROFS_BLOCK * CHUNK,
                .entries = (uint32_t)(round_up(range.size, EROFS_BLOCK) / EROFS_BLOCK),
                .piece = sfs_pack_number(writer->pack, node->ino, i),
                .block = (uint32_t)(at / EROFS_BLOCK),
            };
    }
}

static int allocate_tables(struct image_writer *writer, struct sfs_error *err)
{
    size_t most = 0, files = sfs_pack_files(writer->pack);
    for (size_t i = 0; i < files; i++)
        most += sfs_pack_count(writer->pack, sfs_pack_ino(writer->pack, i));
    if (most == 0)
        return 0;
    writer->image.tables = calloc(files, sizeof *writer->image.tables);
    writer->image.patches = calloc(most, sizeof *writer->image.patches);
    return writer->image.tables && writer->image.patches ? 0 : sfs_fail_memory(err);
}

static int place_packed(struct image_writer *writer, sfs_ino ino, struct sfs_error *err)
{
    struct node node;
    int r = look_at(writer, ino, &node, err);
    if (r == 0)
        r = place(writer, &node, err);
    if (r < 0)
        return r;
    struct sfs_erofs_table *table = &writer->image.tables[writer->image.table_count++];
    *table = (struct sfs_erofs_table){
        .at = inode_at(writer, ino) + head_size(&node),
        .entries = node.table,
        .first = SFS_FLAT_FIRST_PAGE + writer->flat->page[ino],
    };
    add_patches(writer, &node, table->at);
    return 0;
}

/* In the pack's order, so that tables and patches are sorted by place. */
static int place_all_packed(struct image_writer *writer, struct sfs_error *err)
{
    int r = allocate_tables(writer, err);
    for (size_t i = 0; r == 0 && i < sfs_pack_files(writer->pack); i++) {
        sfs_ino ino = sfs_pack_ino(writer->pack, i);
        if (ino && is_packed(writer, ino))
            r = place_packed(writer, ino, err);
    }
    return r;
}

/* --- writing ---------------------------------------------------------------------------------- */

static uint32_t first_block(const struct image_writer *writer, const struct node *node)
{
    uint32_t mode = node->attr.mode;
    if (node->table > 0)
        return EROFS_CHUNKS_OF_A_BLOCK;
    if (S_ISREG(mode))
        return SFS_FLAT_FIRST_PAGE + writer->flat->page[node->ino];
    if (S_ISCHR(mode) || S_ISBLK(mode))
        return (uint32_t)sfs_forest_rdev(writer->flat->forest, &node->attr);
    if (!S_ISDIR(mode) && !S_ISLNK(mode))
        return 0;
    return (uint32_t)writer->blocks_at + writer->slots[node->ino].block;
}

/* Writes the data of a directory or link. `tail`: where its last block stands; NULL: behind the
 * others. */
static void write_data(struct image_writer *writer, const struct node *node, uint32_t block,
                       char *tail)
{
    char *blocks = writer->image.data + (uint64_t)block * EROFS_BLOCK;
    if (!tail)
        tail = blocks + (node->size - 1) / EROFS_BLOCK * EROFS_BLOCK;
    if (S_ISDIR(node->attr.mode))
        write_dir(writer, node, blocks, tail);
    else
        memcpy(tail, sfs_tree_target(node->place.tree, node->place.node), node->size);
}

static uint16_t format_of(const struct node *node, bool has_tail)
{
    if (node->table > 0)
        return EROFS_FORMAT_CHUNKED;
    return has_tail ? EROFS_FORMAT_INLINE : EROFS_FORMAT_PLAIN;
}

static void write_inode(struct image_writer *writer, const struct node *node)
{
    const struct sfs_attr *attr = &node->attr;
    uint64_t at = inode_at(writer, node->ino);
    bool fits = tail_fits(node, at);
    uint32_t block = first_block(writer, node);
    size_t units = (node->xattrs - (node->xattrs ? sizeof(struct erofs_xattr_header) : 0)) / 4;
    struct erofs_inode inode = {
        .format = htole16(format_of(node, fits)),
        .xattr_count = htole16(node->xattrs ? (uint16_t)(1 + units) : 0),
        .mode = htole16((uint16_t)attr->mode),
        .size = htole64(S_ISREG(attr->mode) ? attr->size : node->size),
        .block = htole32(block),
        .number = htole32((uint32_t)node->ino),
        .uid = htole32(attr->uid),
        .gid = htole32(attr->gid),
        .mtime = htole64((uint64_t)attr->mtime_sec),
        .mtime_nsec = htole32(attr->mtime_nsec),
        .links = htole32(attr->nlink),
    };
    char *to = writer->image.data + at;
    writer->slots[node->ino].is_written = true;
    memcpy(to, &inode, sizeof inode);
    write_xattrs(writer->flat->forest, node, to + sizeof inode);
    if (S_ISDIR(attr->mode) || S_ISLNK(attr->mode))
        write_data(writer, node, block, fits ? to + head_size(node) : NULL);
}

/* The kernel uses the count of blocks for statfs() alone, so that it is of the files' bytes and not
 * of what lies between names and row. */
static uint32_t blocks_told(const struct image_writer *writer)
{
    uint64_t per_block = EROFS_BLOCK / 512, blocks = (writer->used + per_block - 1) / per_block;
    return blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks;
}

static void write_super(struct image_writer *writer)
{
    struct erofs_super super = {
        .magic = htole32(EROFS_MAGIC),
        .compatible = htole32(EROFS_MTIME),
        .block_bits = EROFS_BLOCK_BITS,
        .root = htole16((uint16_t)writer->slots[SFS_INO_ROOT].number),
        .inodes = htole64(writer->inodes),
        .blocks = htole32(blocks_told(writer)),
        .label = "stagefs",
    };
    if (writer->image.patch_count > 0) {
        super.incompatible = htole32(EROFS_CHUNKED_FILE | EROFS_DEVICE_TABLE);
        super.devices = htole16(1);
        super.device_slot = htole16(DEVICE_AT / EROFS_DEVICE_SLOT);
    }
    memcpy(writer->image.data + EROFS_SUPER_AT, &super, sizeof super);
}

/* --- placing all ------------------------------------------------------------------------------ */

/* Does nothing of it have to know the places of others? */
static bool is_complete(const struct image_writer *writer, const struct node *node)
{
    bool is_whole = node->size == 0 ||
                    (node->size < EROFS_BLOCK && tail_fits(node, inode_at(writer, node->ino)));
    return !S_ISDIR(node->attr.mode) && node->table == 0 && is_whole;
}

static int write_now(struct image_writer *writer, const struct node *node, struct sfs_error *err)
{
    int r = make_room(writer, writer->inodes_end, err);
    if (r == 0)
        write_inode(writer, node);
    return r;
}

static int place_all(struct image_writer *writer, struct sfs_error *err)
{
    const struct sfs_flat *flat = writer->flat;
    struct node node;
    writer->slots = calloc(flat->count + 1, sizeof *writer->slots);
    if (!writer->slots)
        return sfs_fail_memory(err);
    writer->inodes_end = INODES_AT;
    int r = 0;
    for (sfs_ino ino = SFS_INO_ROOT; r == 0 && ino < flat->count; ino++) {
        if (is_packed(writer, ino))
            continue;
        r = look_at(writer, ino, &node, err);
        if (r == 0)
            r = place(writer, &node, err);
        if (r == 0 && is_complete(writer, &node))
            r = write_now(writer, &node, err);
    }
    writer->blocks_at = round_up(writer->inodes_end, EROFS_BLOCK) / EROFS_BLOCK;
    writer->inodes_end = (writer->blocks_at + writer->blocks) * EROFS_BLOCK;
    writer->image.fixed = writer->inodes_end;
    return r < 0 ? r : place_all_packed(writer, err);
}

int sfs_erofs_image_make(const struct sfs_flat *flat, const struct sfs_pack *pack,
                         struct sfs_erofs_image *ret_image, struct sfs_error *err)
{
    AUTO(writer_done) struct image_writer writer = { .flat = flat, .pack = pack };
    int r = place_all(&writer, err);
    if (r == 0)
        r = finish_room(&writer, err);
    for (sfs_ino ino = SFS_INO_ROOT; r == 0 && ino < flat->count; ino++) {
        struct node node;
        if (writer.slots[ino].is_written)
            continue;
        r = look_at(&writer, ino, &node, err);
        if (r == 0)
            write_inode(&writer, &node);
    }
    if (r < 0)
        return r;
    write_super(&writer);
    *ret_image = writer.image;
    writer.image = (struct sfs_erofs_image){ 0 };
    return 0;
}

void sfs_erofs_image_done(struct sfs_erofs_image *image)
{
    if (image->data)
        munmap(image->data, image->size);
    free(image->tables);
    free(image->patches);
    *image = (struct sfs_erofs_image){ 0 };
}
