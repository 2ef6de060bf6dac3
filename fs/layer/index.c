/* Writing and opening an index file, and the checks that make it safe to use in place. */
#include "layer/index.h"

#include "base/limits.h"
#include "blob/codecs.h"
#include <isa-l/crc64.h>
#include <sys/mman.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the index is used in place");

enum { INODES, ENTRIES, EXTENTS, XATTRS, POINTS, TAGS, STRINGS, WINDOWS, SECTIONS };

static const uint32_t item_sizes[SECTIONS] = {
    [INODES] = sizeof(struct sfs_inode_rec),
    [ENTRIES] = sizeof(struct sfs_entry_rec),
    [EXTENTS] = sizeof(struct sfs_extent),
    [XATTRS] = sizeof(struct sfs_xattr_rec),
    [POINTS] = sizeof(struct sfs_point),
    [TAGS] = 1,
    [WINDOWS] = 1,
    [STRINGS] = 1,
};

struct header {
    char magic[8];
    uint32_t version, header_size;
    uint64_t file_size, crc;
    struct sfs_digest digest, diff_id;
    uint64_t blob_size, copy_size;
    uint32_t codec, seek_codec, check, flags;
    uint64_t in_size, out_size;
    uint8_t key[16];
    struct {
        uint64_t offset, count;
    } sections[SECTIONS];
};
_Static_assert(sizeof(struct header) == 288, "on-disk struct");

#define CRC_START            32
#define FLAG_WINDOWS_CHECKED 1u
#define FLAG_FROM_TOC        2u
#define FLAG_FRAMED          4u
#define FLAGS                (FLAG_WINDOWS_CHECKED | FLAG_FROM_TOC | FLAG_FRAMED)
static const char magic[8] = { 'S', 'F', 'S', 'I', 'N', 'D', 'E', 'X' };

static uint32_t tag_size(enum sfs_check check)
{
    return check == SFS_CHECK_GMAC ? 16 : check == SFS_CHECK_NONE ? 0 : 32;
}

static uint64_t align(uint64_t offset)
{
    return (offset + 7) & ~7ull;
}

/* Zstandard's frame header: the magic number, then a byte whose bit 2 says that a checksum ends the
 * frame. */
static bool are_windows_checked(const struct sfs_seek_table *seek)
{
    static const uint8_t zstd[4] = { 0x28, 0xb5, 0x2f, 0xfd };
    for (uint32_t i = 0; i < seek->count; i++) {
        const struct sfs_point *point = &seek->points[i];
        const uint8_t *window = seek->windows + point->window;
        if (point->window_size > 0 &&
            (point->window_size <= sizeof zstd || memcmp(window, zstd, sizeof zstd) != 0 ||
             !(window[sizeof zstd] & 1 << 2)))
            return false;
    }
    return true;
}

static uint64_t crc_end(const struct header *header)
{
    return header->flags & FLAG_WINDOWS_CHECKED ? header->sections[WINDOWS].offset
                                                : header->file_size;
}

static struct header make_header(const struct sfs_index *index)
{
    struct header header = {
        .version = SFS_INDEX_VERSION,
        .header_size = sizeof header,
        .digest = index->digest,
        .diff_id = index->diff_id,
        .blob_size = index->blob_size,
        .copy_size = index->copy_size,
        .codec = index->codec,
        .seek_codec = index->seek.codec,
        .check = index->seek.check,
        .flags = (are_windows_checked(&index->seek) ? FLAG_WINDOWS_CHECKED : 0) |
                 (index->from_toc ? FLAG_FROM_TOC : 0) | (index->seek.is_framed ? FLAG_FRAMED : 0),
        .in_size = index->seek.in_size,
        .out_size = index->seek.out_size,
    };
    memcpy(header.magic, magic, sizeof magic);
    memcpy(header.key, index->seek.key, sizeof header.key);
    const uint64_t counts[SECTIONS] = {
        [INODES] = index->tables.inode_count,
        [ENTRIES] = index->tables.entry_count,
        [EXTENTS] = index->tables.extent_count,
        [XATTRS] = index->tables.xattr_count,
        [POINTS] = index->seek.count,
        [TAGS] = (uint64_t)index->seek.count * tag_size(index->seek.check),
        [STRINGS] = index->tables.strings_size,
        [WINDOWS] = index->seek.windows_size,
    };
    uint64_t offset = sizeof header;
    for (int i = 0; i < SECTIONS; i++) {
        header.sections[i].offset = offset;
        header.sections[i].count = counts[i];
        offset = align(offset + counts[i] * item_sizes[i]);
    }
    header.file_size = offset;
    return header;
}

/* Writes the bytes of a section and what fills up to the next one, or only counts them into
 * *crc. */
static int put(int fd, const void *data, uint64_t size, uint64_t *crc)
{
    static const char zeros[8];
    size_t fill = (size_t)(align(size) - size);
    if (crc) {
        *crc = size ? crc64_ecma_refl(*crc, data, size) : *crc;
        *crc = fill ? crc64_ecma_refl(*crc, (const unsigned char *)zeros, fill) : *crc;
        return 0;
    }
    int r = size ? sfs_io_write_all(fd, data, size) : 0;
    return r < 0 ? r : sfs_io_write_all(fd, zeros, fill);
}

int sfs_index_write(int fd, const struct sfs_index *index, struct sfs_error *err)
{
    struct header header = make_header(index);
    const void *data[SECTIONS] = {
        [INODES] = index->tables.inodes,   [ENTRIES] = index->tables.entries,
        [EXTENTS] = index->tables.extents, [XATTRS] = index->tables.xattrs,
        [POINTS] = index->seek.points,     [TAGS] = index->seek.tags,
        [WINDOWS] = index->seek.windows,   [STRINGS] = index->tables.strings,
    };
    uint64_t crc = 0;
    put(fd, (const char *)&header + CRC_START, sizeof header - CRC_START, &crc);
    for (int i = 0; i < SECTIONS && header.sections[i].offset < crc_end(&header); i++)
        put(fd, data[i], header.sections[i].count * item_sizes[i], &crc);
    header.crc = crc;

    int r = put(fd, &header, sizeof header, NULL);
    for (int i = 0; i < SECTIONS && r == 0; i++)
        r = put(fd, data[i], header.sections[i].count * item_sizes[i], NULL);
    return r < 0 ? sfs_fail_errno(err, -r, "writing a layer index") : 0;
}

/* The sections follow one another up to the end of the file, whose size the header says. */
static const char *find_section_fault(const struct header *header)
{
    uint64_t offset = sizeof *header, file_size = header->file_size;
    if (file_size < offset)
        return "cut off";
    for (int i = 0; i < SECTIONS; i++) {
        uint64_t size;
        if (header->sections[i].offset != offset ||
            __builtin_mul_overflow(header->sections[i].count, item_sizes[i], &size) ||
            size > file_size - offset || align(size) > file_size - offset)
            return "a section lies outside the file";
        offset += align(size);
    }
    if (offset != file_size)
        return "bytes behind the last section";
    for (int i = 0; i <= POINTS; i++)
        if (header->sections[i].count > UINT32_MAX)
            return "a section has too many items";
    if (header->sections[TAGS].count !=
        header->sections[POINTS].count * tag_size((enum sfs_check)header->check))
        return "wrong number of checks";
    return NULL;
}

/* Where the places stand in the file of an index that came from elsewhere: in the stead of WINDOWS,
 * or behind the whole file where the windows came with the names. Call it only for sections without
 * a fault. */
static uint64_t places_at(const struct header *header)
{
    return header->check == SFS_CHECK_INPUT ? header->file_size : header->sections[WINDOWS].offset;
}

/* How many bytes such a file must have: it ends with a place for each entry. */
static uint64_t sent_size(const struct header *header)
{
    return places_at(header) + header->sections[ENTRIES].count * sizeof(uint64_t);
}

static bool is_from_elsewhere(const struct header *header)
{
    return header->check == SFS_CHECK_PUBLIC || header->check == SFS_CHECK_INPUT;
}

/* What is wrong with the form for other machines besides. */
static const char *find_sent_fault(const struct header *header, uint64_t file_size)
{
    if (!is_from_elsewhere(header) || header->copy_size != 0 ||
        header->codec != header->seek_codec || (header->flags & FLAG_FROM_TOC) ||
        !(header->flags & FLAG_WINDOWS_CHECKED))
        return "not an index for other machines";
    return sent_size(header) == file_size ? NULL : "cut off";
}

static const char *find_header_fault(const struct header *header, uint64_t file_size, bool is_sent)
{
    if (memcmp(header->magic, magic, sizeof magic) != 0)
        return "not a layer index";
    if (header->version != SFS_INDEX_VERSION || header->header_size != sizeof *header)
        return "a layer index of another version";
    if (!is_sent && header->file_size != file_size)
        return "cut off";
    /* The form for other machines is none to be taken for one that was made here. */
    if (!is_sent && is_from_elsewhere(header))
        return "an index of another machine";
    if (!sfs_codec_get(header->codec) || !sfs_codec_get(header->seek_codec) ||
        header->check > SFS_CHECK_LAST || (header->flags & ~FLAGS))
        return "unknown codec";
    /* Nothing but the digests of its chunks vouches for the bytes. */
    if ((header->flags & FLAG_FROM_TOC) && header->check != SFS_CHECK_SHA256)
        return "a table of contents without digests";
    const char *fault = find_section_fault(header);
    return fault || !is_sent ? fault : find_sent_fault(header, file_size);
}

static void use_sections(struct sfs_index *index, int fd)
{
    const char *base = index->map;
    const struct header *header = index->map;
    const void *at[SECTIONS];
    for (int i = 0; i < SECTIONS; i++)
        at[i] = base + header->sections[i].offset;
    index->from_toc = header->flags & FLAG_FROM_TOC;
    index->digest = header->digest;
    index->diff_id = header->diff_id;
    index->blob_size = header->blob_size;
    index->copy_size = header->copy_size;
    index->codec = (enum sfs_codec)header->codec;
    index->seek = (struct sfs_seek_table){
        .codec = (enum sfs_codec)header->seek_codec,
        .check = (enum sfs_check)header->check,
        .is_framed = header->flags & FLAG_FRAMED,
        .in_size = header->in_size,
        .out_size = header->out_size,
        .count = (uint32_t)header->sections[POINTS].count,
        .points = at[POINTS],
        .tags = header->sections[TAGS].count ? at[TAGS] : NULL,
        .windows_size = header->sections[WINDOWS].count,
        .windows_fd = fd,
        .windows_at = header->sections[WINDOWS].offset,
    };
    memcpy(index->seek.key, header->key, sizeof index->seek.key);
    index->tables = (struct sfs_tables){
        .entries = at[ENTRIES],
        .inodes = at[INODES],
        .extents = at[EXTENTS],
        .xattrs = at[XATTRS],
        .strings = at[STRINGS],
        .entry_count = (uint32_t)header->sections[ENTRIES].count,
        .inode_count = (uint32_t)header->sections[INODES].count,
        .extent_count = (uint32_t)header->sections[EXTENTS].count,
        .xattr_count = (uint32_t)header->sections[XATTRS].count,
        .strings_size = header->sections[STRINGS].count,
    };
}

static int check_map(struct sfs_index *index, int fd, bool is_sent, struct sfs_error *err)
{
    const struct header *header = index->map;
    const char *fault = find_header_fault(header, index->map_size, is_sent);
    if (fault)
        return sfs_fail(err, EBADMSG, "%s", fault);
    uint64_t end = crc_end(header);
    (void)madvise(index->map, end, MADV_POPULATE_READ); /* a hint: older kernels do not know it */
    if (crc64_ecma_refl(0, (const unsigned char *)index->map + CRC_START, end - CRC_START) !=
        header->crc)
        return sfs_fail(err, EBADMSG, "damaged");
    use_sections(index, fd);
    if (is_sent)
        index->places = (const void *)((const char *)index->map + places_at(header));
    int r =
        sfs_seek_check(&index->seek, index->copy_size ? index->copy_size : index->blob_size, err);
    return r < 0 ? r : sfs_tables_check(&index->tables, index->seek.out_size, err);
}

static int open_index(int *fd, bool is_sent, struct sfs_index *ret_index, struct sfs_error *err)
{
    AUTO(sfs_index_close) struct sfs_index index = { .fd = -1 };
    struct stat st;
    if (fstat(*fd, &st) < 0)
        return sfs_fail_errno(err, errno, "layer index");
    if (st.st_size < (off_t)sizeof(struct header))
        return sfs_fail(err, EBADMSG, "layer index: cut off");
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, *fd, 0);
    if (map == MAP_FAILED)
        return sfs_fail_errno(err, errno, "mapping a layer index");
    index.map = map;
    index.map_size = (size_t)st.st_size;
    int r = check_map(&index, *fd, is_sent, err);
    if (r < 0)
        return sfs_fail_while(err, r, "layer index");
    index.fd = TAKE_FD(*fd);
    *ret_index = index;
    index = (struct sfs_index){ .fd = -1 };
    return 0;
}

int sfs_index_open(int *fd, struct sfs_index *ret_index, struct sfs_error *err)
{
    return open_index(fd, false, ret_index, err);
}

int sfs_index_open_sent(int *fd, struct sfs_index *ret_index, struct sfs_error *err)
{
    return open_index(fd, true, ret_index, err);
}

size_t sfs_index_head_size(const void *data, size_t size)
{
    struct header header;
    if (size < sizeof header)
        return 0;
    memcpy(&header, data, sizeof header);
    uint64_t end = header.sections[WINDOWS].offset;
    return memcmp(header.magic, magic, sizeof magic) == 0 && end <= size ? (size_t)end : 0;
}

void sfs_index_close(struct sfs_index *index)
{
    if (index->map)
        munmap(index->map, index->map_size);
    sfs_close_fd(&index->fd);
    *index = (struct sfs_index){ .fd = -1 };
}
