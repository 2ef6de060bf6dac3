/* FlatBuffers: every offset is compared with the document's size before it is followed. */
#include "layer/flatbuffer.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

static int fail_outside(const char *what, struct sfs_error *err)
{
    return sfs_fail(err, EBADMSG, "the FlatBuffer is damaged: a %s lies outside of it", what);
}

static bool holds(const struct sfs_flatbuffer *buffer, size_t at, size_t size)
{
    return at <= buffer->size && size <= buffer->size - at;
}

/* The loads are of bytes that are known to be inside. */
static uint16_t load16(const struct sfs_flatbuffer *buffer, size_t at)
{
    uint16_t value;
    memcpy(&value, buffer->data + at, sizeof value);
    return le16toh(value);
}

static uint32_t load32(const struct sfs_flatbuffer *buffer, size_t at)
{
    uint32_t value;
    memcpy(&value, buffer->data + at, sizeof value);
    return le32toh(value);
}

static int64_t load64(const struct sfs_flatbuffer *buffer, size_t at)
{
    uint64_t value;
    memcpy(&value, buffer->data + at, sizeof value);
    return (int64_t)le64toh(value);
}

/* Follows the offset that stands at `at` to something of at least `size` bytes. */
static int follow(const struct sfs_flatbuffer *buffer, size_t at, size_t size, const char *what,
                  size_t *ret_at, struct sfs_error *err)
{
    if (!holds(buffer, at, sizeof(uint32_t)))
        return fail_outside(what, err);
    size_t to = at + load32(buffer, at);
    if (to <= at || !holds(buffer, to, size))
        return fail_outside(what, err);
    *ret_at = to;
    return 0;
}

static int open_table(const struct sfs_flatbuffer *buffer, size_t at,
                      struct sfs_flatbuffer_table *ret_table, struct sfs_error *err)
{
    struct sfs_flatbuffer_table table = { .buffer = buffer };
    int r = follow(buffer, at, sizeof(int32_t), "table", &table.at, err);
    if (r < 0)
        return r;
    int64_t vtable = (int64_t)table.at - (int32_t)load32(buffer, table.at);
    if (vtable < 0 || !holds(buffer, (size_t)vtable, 2 * sizeof(uint16_t)))
        return fail_outside("vtable", err);
    table.vtable = (size_t)vtable;
    table.vtable_size = load16(buffer, table.vtable);
    table.size = load16(buffer, table.vtable + sizeof(uint16_t));
    if (table.vtable_size < 2 * sizeof(uint16_t) ||
        !holds(buffer, table.vtable, table.vtable_size) || !holds(buffer, table.at, table.size))
        return fail_outside("vtable", err);
    *ret_table = table;
    return 0;
}

/* Where a field of that size is. 1: it is there; 0: it is not. */
static int find_field(const struct sfs_flatbuffer_table *table, unsigned field, size_t size,
                      size_t *ret_at, struct sfs_error *err)
{
    size_t slot = (2 + (size_t)field) * sizeof(uint16_t);
    if (!table->buffer || slot + sizeof(uint16_t) > table->vtable_size)
        return 0;
    size_t offset = load16(table->buffer, table->vtable + slot);
    if (offset == 0)
        return 0;
    if (offset < sizeof(int32_t) || offset + size > table->size)
        return fail_outside("field", err);
    *ret_at = table->at + offset;
    return 1;
}

int sfs_flatbuffer_root(const struct sfs_flatbuffer *buffer, struct sfs_flatbuffer_table *ret_table,
                        struct sfs_error *err)
{
    return open_table(buffer, 0, ret_table, err);
}

int sfs_flatbuffer_number(const struct sfs_flatbuffer_table *table, unsigned field, unsigned size,
                          int64_t other, int64_t *ret_number, struct sfs_error *err)
{
    size_t at = 0;
    int r = find_field(table, field, size, &at, err);
    if (r < 0)
        return r;
    *ret_number = r == 0      ? other
                  : size == 8 ? load64(table->buffer, at)
                  : size == 4 ? load32(table->buffer, at)
                              : table->buffer->data[at];
    return 0;
}

/* Follows the offset at `at` to a vector. */
static int open_vector(const struct sfs_flatbuffer *buffer, size_t at, unsigned item_size,
                       struct sfs_flatbuffer_vector *ret_vector, struct sfs_error *err)
{
    size_t to = 0;
    int r = follow(buffer, at, sizeof(uint32_t), "vector", &to, err);
    if (r < 0)
        return r;
    struct sfs_flatbuffer_vector vector = { buffer, to + sizeof(uint32_t), load32(buffer, to) };
    if (!holds(buffer, vector.at, (size_t)vector.count * item_size))
        return fail_outside("vector", err);
    *ret_vector = vector;
    return 0;
}

static int open_text(const struct sfs_flatbuffer *buffer, size_t at,
                     struct sfs_flatbuffer_text *ret_text, struct sfs_error *err)
{
    struct sfs_flatbuffer_vector bytes;
    int r = open_vector(buffer, at, 1, &bytes, err);
    if (r < 0)
        return r;
    if (!holds(buffer, bytes.at, (size_t)bytes.count + 1) || buffer->data[bytes.at + bytes.count])
        return sfs_fail(err, EBADMSG, "the FlatBuffer is damaged: a text has no end");
    *ret_text = (struct sfs_flatbuffer_text){ (const char *)buffer->data + bytes.at, bytes.count };
    return 0;
}

int sfs_flatbuffer_text(const struct sfs_flatbuffer_table *table, unsigned field,
                        struct sfs_flatbuffer_text *ret_text, struct sfs_error *err)
{
    size_t at = 0;
    *ret_text = (struct sfs_flatbuffer_text){ "", 0 };
    int r = find_field(table, field, sizeof(uint32_t), &at, err);
    return r > 0 ? open_text(table->buffer, at, ret_text, err) : r;
}

int sfs_flatbuffer_table(const struct sfs_flatbuffer_table *table, unsigned field,
                         struct sfs_flatbuffer_table *ret_table, struct sfs_error *err)
{
    size_t at = 0;
    *ret_table = (struct sfs_flatbuffer_table){ 0 };
    int r = find_field(table, field, sizeof(uint32_t), &at, err);
    return r > 0 ? open_table(table->buffer, at, ret_table, err) : r;
}

int sfs_flatbuffer_vector(const struct sfs_flatbuffer_table *table, unsigned field,
                          unsigned item_size, struct sfs_flatbuffer_vector *ret_vector,
                          struct sfs_error *err)
{
    size_t at = 0;
    *ret_vector = (struct sfs_flatbuffer_vector){ 0 };
    int r = find_field(table, field, sizeof(uint32_t), &at, err);
    return r > 0 ? open_vector(table->buffer, at, item_size, ret_vector, err) : r;
}

int sfs_flatbuffer_table_at(const struct sfs_flatbuffer_vector *vector, uint32_t i,
                            struct sfs_flatbuffer_table *ret_table, struct sfs_error *err)
{
    return open_table(vector->buffer, vector->at + (size_t)i * sizeof(uint32_t), ret_table, err);
}

int sfs_flatbuffer_text_at(const struct sfs_flatbuffer_vector *vector, uint32_t i,
                           struct sfs_flatbuffer_text *ret_text, struct sfs_error *err)
{
    return open_text(vector->buffer, vector->at + (size_t)i * sizeof(uint32_t), ret_text, err);
}
