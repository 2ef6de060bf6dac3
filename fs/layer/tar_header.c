/* What a header block says, and which headers are refused because readers disagree on them. */
#include "layer/tar_header.h"

#include <errno.h>
#include <string.h>

#define STAR_PREFIX 131 /* bytes of the prefix in a header that ends with "tar\0" */
#define GNU_TIMES   12  /* bytes of atime and of ctime, which stand where ustar has the prefix */

bool sfs_tar_is_zero_block(const void *block)
{
    const unsigned char *bytes = block;
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, SFS_TAR_BLOCK - 1) == 0;
}

/* Reads a number in two's complement, big-endian; the highest bit only says that it is of this
 * form. */
static int read_base_256(const unsigned char *bytes, size_t size, int64_t *ret_number)
{
    bool negative = bytes[0] & 0x40;
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = i == 0 ? bytes[0] & 0x7f : bytes[i];
        if (negative)
            byte = (unsigned char)~byte & (i == 0 ? 0x7f : 0xff);
        if (value >> 55)
            return -EBADMSG;
        value = value << 8 | byte;
    }
    *ret_number = negative ? (int64_t)~value : (int64_t)value;
    return 0;
}

static bool is_blank(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != ' ' && bytes[i] != 0)
            return false;
    return true;
}

/* Reads spaces, then octal digits, then a NUL (behind which nobody reads on) or blanks to the end.
 * A NUL in front of digits is refused: it ends the number for some readers, and others skip it. */
static int read_octal(const unsigned char *bytes, size_t size, int64_t *ret_number)
{
    size_t i = 0;
    uint64_t value = 0;
    while (i < size && bytes[i] == ' ')
        i++;
    size_t first = i;
    for (; i < size && bytes[i] >= '0' && bytes[i] <= '7'; i++)
        value = value << 3 | (uint64_t)(bytes[i] - '0');
    bool ends = i > first && i < size && bytes[i] == 0;
    if (!ends && !is_blank(bytes + i, size - i))
        return -EBADMSG;
    *ret_number = (int64_t)value;
    return 0;
}

int sfs_tar_number(const void *field, size_t size, int64_t *ret_number)
{
    const unsigned char *bytes = field;
    return bytes[0] & 0x80 ? read_base_256(bytes, size, ret_number)
                           : read_octal(bytes, size, ret_number);
}

/* Is the checksum the sum of all bytes, with spaces in place of the sum itself? Old writers took
 * bytes as signed. */
bool sfs_tar_is_header(const void *block)
{
    const struct sfs_tar_raw *raw = block;
    const unsigned char *bytes = block;
    unsigned sum = 0, high = 0;
    int64_t told;
    for (size_t i = 0; i < sizeof *raw; i++) {
        sum += bytes[i];
        high += bytes[i] >> 7;
    }
    for (size_t i = 0; i < sizeof raw->checksum; i++) {
        unsigned char byte = (unsigned char)raw->checksum[i];
        sum += ' ' - (unsigned)byte;
        high -= byte >> 7;
    }
    if (read_octal((const unsigned char *)raw->checksum, sizeof raw->checksum, &told) < 0)
        return false;
    return told == (int64_t)sum || told == (int64_t)sum - 256 * (int64_t)high;
}

static bool has_text(const char *field, size_t size)
{
    return size > 0 && field[0] != 0;
}

/* Checks what stands where GNU headers have times: GNU tar before 2004 wrote none there, and Go
 * before 1.8 wrote a prefix. */
static int check_gnu(const struct sfs_tar_raw *raw, struct sfs_error *err)
{
    int64_t time;
    const char *field = raw->prefix;
    for (int i = 0; i < 2; i++, field += GNU_TIMES)
        if (field[0] && sfs_tar_number(field, GNU_TIMES, &time) < 0)
            return sfs_fail(err, EBADMSG, "a GNU header has a time that is no number");
    return 0;
}

static int find_format(const struct sfs_tar_raw *raw, enum sfs_tar_format *ret_format,
                       struct sfs_error *err)
{
    bool has_prefix = has_text(raw->prefix, sizeof raw->prefix);
    *ret_format = SFS_TAR_V7;
    if (memcmp(raw->magic, "ustar  ", 8) == 0) {
        *ret_format = SFS_TAR_GNU;
        return check_gnu(raw, err);
    }
    if (memcmp(raw->magic, "ustar", 6) == 0) {
        *ret_format = SFS_TAR_USTAR;
        if (memcmp(raw->pad + 8, "tar", 4) == 0 && strnlen(raw->prefix, STAR_PREFIX) == STAR_PREFIX)
            return sfs_fail(err, EBADMSG, "a star header has a name that does not end");
        return 0;
    }
    if (memcmp(raw->magic, "ustar", 5) == 0 && has_prefix)
        return sfs_fail(err, EBADMSG, "a header is of an unknown kind of ustar");
    return 0;
}

static void join_name(const struct sfs_tar_raw *raw, struct sfs_tar_header *header)
{
    size_t used = 0;
    if (header->format == SFS_TAR_USTAR && has_text(raw->prefix, sizeof raw->prefix)) {
        used = strnlen(raw->prefix, sizeof raw->prefix);
        memcpy(header->name, raw->prefix, used);
        header->name[used++] = '/';
    }
    size_t size = strnlen(raw->name, sizeof raw->name);
    memcpy(header->name + used, raw->name, size);
    header->name[used + size] = 0;
    size = strnlen(raw->link, sizeof raw->link);
    memcpy(header->link, raw->link, size);
    header->link[size] = 0;
}

static int read_numbers(const struct sfs_tar_raw *raw, struct sfs_tar_header *header,
                        struct sfs_error *err)
{
    const struct {
        const char *field, *name;
        size_t size;
        int64_t *number;
        bool always;
    } fields[] = {
        { raw->size, "size", sizeof raw->size, &header->size, true },
        { raw->mtime, "mtime", sizeof raw->mtime, &header->mtime, true },
        { raw->mode, "mode", sizeof raw->mode, &header->mode, true },
        { raw->uid, "uid", sizeof raw->uid, &header->uid, true },
        { raw->gid, "gid", sizeof raw->gid, &header->gid, true },
        { raw->major, "device number", sizeof raw->major, &header->major, false },
        { raw->minor, "device number", sizeof raw->minor, &header->minor, false },
    };
    header->major = header->minor = 0;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!fields[i].always && header->format == SFS_TAR_V7)
            continue;
        if (sfs_tar_number(fields[i].field, fields[i].size, fields[i].number) < 0)
            return sfs_fail(err, EBADMSG, "the %s in a header is no number", fields[i].name);
    }
    return header->size < 0 ? sfs_fail(err, EBADMSG, "the size in a header is negative") : 0;
}

int sfs_tar_header_parse(const void *block, struct sfs_tar_header *ret_header,
                         struct sfs_error *err)
{
    const struct sfs_tar_raw *raw = block;
    if (!sfs_tar_is_header(block))
        return sfs_fail(err, EBADMSG, "a header's checksum does not hold");
    int r = find_format(raw, &ret_header->format, err);
    if (r == 0)
        r = read_numbers(raw, ret_header, err);
    if (r < 0)
        return r;
    ret_header->type = raw->type;
    join_name(raw, ret_header);
    return 0;
}
