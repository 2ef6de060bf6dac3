/* The table of an eStargz layer: the last entry of its tar, in gzip members of its own. The blob
 * ends with an empty gzip member whose extra field says where they start:
 *
 *    0  1f 8b 08 04, MTIME (4), XFL, OS     10  XLEN u16
 *   12  'S' 'G', u16 size of what follows (not in stargz, which came before)
 *   ..  offset of the table: 16 hex digits, "STARGZ"
 *   ..  01 00 00 ff ff, CRC-32 0, ISIZE 0
 *
 * An extra field "STARGZEXTERNALTOC" says that another image has the table. */
#include "layer/toc.h"

#include "base/limits.h"
#include "layer/tar_packed.h"
#include "layer/tar_stream.h"

#define FOOTER_MAX     51
#define FOOTER_LEGACY  47
#define FOOTER_OUTSIDE 46
#define FIELD          22 /* hex digits and "STARGZ" */
#define HEAD           12
#define TAIL           13
#define TAR_MAX        (SFS_MAX_TOC + 2 * SFS_MAX_TAR_TEXT) /* bytes of a table with its headers */

/* The extra field of a footer that takes up the last `size` bytes; NULL: it is none. */
static const char *find_field(const uint8_t *end, size_t size)
{
    static const uint8_t magic[4] = { 0x1f, 0x8b, 8, 4 };
    static const uint8_t tail[TAIL] = { 1, 0, 0, 0xff, 0xff };
    const uint8_t *footer = end - size;
    size_t extra = footer[10] | (size_t)footer[11] << 8;
    if (memcmp(footer, magic, sizeof magic) != 0 || extra != size - HEAD - TAIL ||
        memcmp(end - TAIL, tail, TAIL) != 0)
        return NULL;
    const uint8_t *field = footer + HEAD;
    if (size == FOOTER_LEGACY)
        return (const char *)field;
    size_t inner = field[2] | (size_t)field[3] << 8;
    return field[0] == 'S' && field[1] == 'G' && inner == extra - 4 ? (const char *)field + 4
                                                                    : NULL;
}

static int parse_field(const char *field, uint64_t *ret_offset, struct sfs_error *err)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t offset = 0;
    for (int i = 0; i < 16; i++) {
        const char *digit = memchr(digits, field[i], 16);
        if (!digit)
            return sfs_fail(err, EBADMSG, "its footer is malformed");
        offset = offset << 4 | (uint64_t)(digit - digits);
    }
    if (memcmp(field + 16, "STARGZ", FIELD - 16) != 0)
        return sfs_fail(err, EBADMSG, "its footer is malformed");
    *ret_offset = offset;
    return 0;
}

/* Where the table's members start and the footer does. */
static int find_table(struct sfs_blob *blob, uint64_t *ret_start, uint64_t *ret_end,
                      struct sfs_error *err)
{
    uint8_t bytes[FOOTER_MAX];
    if (blob->size < sizeof bytes)
        return sfs_fail(err, EBADMSG, "the blob is too small for one");
    int r = sfs_toc_read_range(blob, bytes, sizeof bytes, blob->size - sizeof bytes, err);
    if (r < 0)
        return r;
    const uint8_t *end = bytes + sizeof bytes;
    size_t size = FOOTER_MAX;
    const char *field = find_field(end, size);
    if (!field && find_field(end, FOOTER_OUTSIDE))
        return sfs_fail(err, ENOTSUP, "another image has it");
    if (!field)
        field = find_field(end, size = FOOTER_LEGACY);
    if (!field)
        return sfs_fail(err, EBADMSG, "the blob has no footer of one");
    *ret_end = blob->size - size;
    r = parse_field(field, ret_start, err);
    if (r == 0 && *ret_start >= *ret_end)
        r = sfs_fail(err, EBADMSG, "its footer points outside of the blob");
    return r;
}

bool sfs_toc_ends_estargz(struct sfs_blob *blob)
{
    uint64_t start, end;
    return find_table(blob, &start, &end, NULL) == 0;
}

/* The table's members: lent whole to the decoder, whose output is kept. */
struct packed_table {
    const void *packed; /* NULL: it was lent already */
    size_t size;
    struct sfs_tar_packed *decoder;
    struct sfs_buf plain;
};

static int lend_packed(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err)
{
    struct packed_table *table = user;
    (void)err;
    *ret_data = table->packed;
    *ret_size = table->packed ? table->size : 0;
    table->packed = NULL;
    return 0;
}

static int lend_plain(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err)
{
    struct packed_table *table = user;
    int r = sfs_tar_packed_next(table->decoder, ret_data, ret_size, err);
    if (r < 0)
        return r;
    if (*ret_size > TAR_MAX - table->plain.size)
        return sfs_fail(err, E2BIG, "it is larger than %u bytes", SFS_MAX_TOC);
    sfs_buf_add(&table->plain, *ret_data, *ret_size);
    return sfs_buf_check(&table->plain, err);
}

static void table_done(struct packed_table *table)
{
    sfs_tar_packed_close(&table->decoder);
    sfs_buf_close(&table->plain);
}

/* Finds the table among the tar's members: it is the only one. */
static int find_text(struct sfs_tar_stream *stream, uint64_t *ret_start, uint64_t *ret_size,
                     struct sfs_error *err)
{
    struct sfs_tar_member member;
    int r = sfs_tar_stream_next(stream, &member, err);
    if (r == 0)
        return sfs_fail(err, EBADMSG, "it is not in a tar");
    if (r < 0)
        return r;
    if (strcmp(member.name, "stargz.index.json") != 0 || !S_ISREG(member.inode.mode) ||
        member.hard_link || member.extent_count > 1)
        return sfs_fail(err, EBADMSG, "the tar has something else in its place");
    if (member.inode.size > SFS_MAX_TOC)
        return sfs_fail(err, E2BIG, "it is larger than %u bytes", SFS_MAX_TOC);
    *ret_start = member.data_offset;
    *ret_size = member.inode.size;
    r = sfs_tar_stream_next(stream, &member, err); /* passes over its bytes */
    return r > 0 ? sfs_fail(err, EBADMSG, "the tar has something behind it") : r;
}

static int read_text(struct packed_table *table, struct sfs_toc_text *text, struct sfs_error *err)
{
    const struct sfs_tar_source source = { .next = lend_plain, .user = table };
    AUTO(sfs_tar_stream_close) struct sfs_tar_stream *stream = sfs_tar_stream_open(&source);
    uint64_t start = 0, size = 0;
    if (!stream)
        return sfs_fail_memory(err);
    int r = find_text(stream, &start, &size, err);
    if (r < 0)
        return r;
    memmove(table->plain.data, table->plain.data + start, size);
    text->data = table->plain.data;
    text->size = size;
    table->plain = (struct sfs_buf){ 0 };
    return 0;
}

static int unpack_table(const void *packed, size_t size, struct sfs_toc_text *text,
                        struct sfs_error *err)
{
    AUTO(table_done) struct packed_table table = { .packed = packed, .size = size };
    const struct sfs_tar_source source = { .next = lend_packed, .user = &table };
    int r = sfs_tar_packed_open(&source, &table.decoder, err);
    return r == 0 ? read_text(&table, text, err) : r;
}

int sfs_toc_read_estargz(struct sfs_blob *blob, const struct sfs_toc_claim *claim,
                         struct sfs_toc_text *ret_text, struct sfs_error *err)
{
    AUTO(sfs_toc_text_done) struct sfs_toc_text text = { 0 };
    uint64_t end = 0;
    int r = find_table(blob, &text.data_end, &end, err);
    if (r < 0)
        return r;
    uint64_t size = end - text.data_end;
    if (size > SFS_MAX_TOC)
        return sfs_fail(err, E2BIG, "it is larger than %u bytes", SFS_MAX_TOC);
    AUTO(sfs_free) char *packed = malloc(size);
    if (!packed)
        return sfs_fail_memory(err);
    r = sfs_toc_read_range(blob, packed, size, text.data_end, err);
    if (r == 0)
        r = unpack_table(packed, size, &text, err);
    if (r == 0)
        r = sfs_toc_check_digest(text.data, text.size, &claim->plain, "it", err);
    if (r < 0)
        return r;
    *ret_text = text;
    text = (struct sfs_toc_text){ 0 };
    return 0;
}
