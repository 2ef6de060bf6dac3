/* Tars byte by byte, for tests: what no writer would make. */
#ifndef TAR_BYTES_H
#define TAR_BYTES_H

#include "base/buf.h"
#include <criterion/criterion.h>
#include <stdint.h>

struct tar_header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type[1];
    char link[100], magic[8], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct tar_header) == 512, "a tar block");

static inline void tar_bytes_octal(char *field, size_t size, uint64_t value)
{
    field[size - 1] = 0;
    for (size_t i = size - 1; i-- > 0; value >>= 3)
        field[i] = (char)('0' + (value & 7));
}

static inline void tar_bytes_text(char *field, size_t size, const char *text)
{
    for (size_t i = 0; i < size && text[i]; i++)
        field[i] = text[i];
}

static inline struct tar_header tar_bytes_header(const char *name, char type, uint64_t size)
{
    struct tar_header header = { 0 };
    tar_bytes_text(header.name, sizeof header.name, name);
    tar_bytes_octal(header.mode, sizeof header.mode, type == '5' ? 0755 : 0644);
    tar_bytes_octal(header.uid, sizeof header.uid, 0);
    tar_bytes_octal(header.gid, sizeof header.gid, 0);
    tar_bytes_octal(header.size, sizeof header.size, size);
    tar_bytes_octal(header.mtime, sizeof header.mtime, 0);
    memcpy(header.magic, "ustar\00000", 8);
    header.type[0] = type;
    return header;
}

static inline void tar_bytes_add(struct sfs_buf *tar, const void *data, size_t size)
{
    static const char zeros[512];
    cr_assert_eq(sfs_buf_add(tar, data, size), 0);
    cr_assert_eq(sfs_buf_add(tar, zeros, (512 - size % 512) % 512), 0);
}

/* Adds the header with its checksum, and the data behind it. */
static inline void tar_bytes_put(struct sfs_buf *tar, struct tar_header header, const void *data,
                                 size_t size)
{
    unsigned sum = 0;
    const unsigned char *bytes = (const void *)&header;
    memset(header.checksum, ' ', sizeof header.checksum);
    for (size_t i = 0; i < sizeof header; i++)
        sum += bytes[i];
    tar_bytes_octal(header.checksum, 7, sum);
    tar_bytes_add(tar, &header, sizeof header);
    tar_bytes_add(tar, data, size);
}

static inline void tar_bytes_file(struct sfs_buf *tar, const char *name, const char *text)
{
    tar_bytes_put(tar, tar_bytes_header(name, '0', strlen(text)), text, strlen(text));
}

static inline void tar_bytes_entry(struct sfs_buf *tar, const char *name, char type,
                                   const char *link)
{
    struct tar_header header = tar_bytes_header(name, type, 0);
    tar_bytes_text(header.link, sizeof header.link, link);
    tar_bytes_put(tar, header, "", 0);
}

/* One record of a pax header: "LENGTH KEY=VALUE\n". */
static inline void tar_bytes_pax_record(struct sfs_buf *records, const char *key, const void *value,
                                        size_t size)
{
    size_t rest = 1 + strlen(key) + 1 + size + 1, length = rest + 1;
    while (length != rest + (size_t)snprintf(NULL, 0, "%zu", length))
        length++;
    cr_assert_eq(sfs_buf_printf(records, "%zu %s=", length, key), 0);
    cr_assert_eq(sfs_buf_add(records, value, size), 0);
    cr_assert_eq(sfs_buf_add_str(records, "\n"), 0);
}

static inline void tar_bytes_pax(struct sfs_buf *tar, char type, const struct sfs_buf *records)
{
    tar_bytes_put(tar, tar_bytes_header("PaxHeaders/x", type, records->size), records->data,
                  records->size);
}

/* A pax header with one text. */
static inline void tar_bytes_pax_text(struct sfs_buf *tar, const char *key, const char *value)
{
    struct sfs_buf records = { 0 };
    tar_bytes_pax_record(&records, key, value, strlen(value));
    tar_bytes_pax(tar, 'x', &records);
    sfs_buf_close(&records);
}

static inline void tar_bytes_end(struct sfs_buf *tar)
{
    static const char zeros[1024];
    cr_assert_eq(sfs_buf_add(tar, zeros, sizeof zeros), 0);
}

#endif
