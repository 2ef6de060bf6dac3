/* FlatBuffers, as far as SOCI's tables need them, read in place out of bytes that nobody vouches
 * for. Each step is checked when it is made: what is handed out lies inside the document. Offsets
 * lead forward only, so there are no circles, but one part may be named any number of times: a
 * caller that copies what it reads has to bound that.
 *
 *   document  u32: offset of the root table
 *   table     i32: its address less its vtable's; then fields where the vtable says
 *   vtable    u16: its size; u16: the table's size; u16 for each field: where in the table it is,
 *             0: it has the default
 *   text      u32: bytes; these; a NUL
 *   vector    u32: items; these
 * Texts, vectors and tables are named by a u32, which counts from where it stands. All numbers are
 * little-endian. Immutable, so any thread may read. */
#ifndef STAGEFS_FLATBUFFER_H
#define STAGEFS_FLATBUFFER_H

#include <stagefs/error.h>
#include <stddef.h>
#include <stdint.h>

struct sfs_flatbuffer { /* borrowed bytes */
    const uint8_t *data;
    size_t size;
};

struct sfs_flatbuffer_table {
    const struct sfs_flatbuffer *buffer; /* NULL: an absent table, all of whose fields are absent */
    size_t at, size;                     /* where it is, and its bytes */
    size_t vtable, vtable_size;
};

struct sfs_flatbuffer_vector {
    const struct sfs_flatbuffer *buffer; /* NULL: an absent one, which is empty */
    size_t at;                           /* of the first item */
    uint32_t count;
};

struct sfs_flatbuffer_text {
    const char *data; /* with a NUL behind it; never NULL */
    size_t size;
};

/* Finds the root table. EBADMSG: it is no such document. */
int sfs_flatbuffer_root(const struct sfs_flatbuffer *buffer, struct sfs_flatbuffer_table *ret_table,
                        struct sfs_error *err);
/* A number of `size` bytes (1, 4 or 8), sign-extended if it has 8; `other` if it is not there.
 * EBADMSG: it lies outside. */
int sfs_flatbuffer_number(const struct sfs_flatbuffer_table *table, unsigned field, unsigned size,
                          int64_t other, int64_t *ret_number, struct sfs_error *err);
/* A text, "" if it is not there. It may hold NULs and any bytes. EBADMSG: it lies outside. */
int sfs_flatbuffer_text(const struct sfs_flatbuffer_table *table, unsigned field,
                        struct sfs_flatbuffer_text *ret_text, struct sfs_error *err);
/* A table, absent if it is not there. EBADMSG: it lies outside. */
int sfs_flatbuffer_table(const struct sfs_flatbuffer_table *table, unsigned field,
                         struct sfs_flatbuffer_table *ret_table, struct sfs_error *err);
/* A vector of items of `item_size` bytes, empty if it is not there; those of texts and tables have
 * four. EBADMSG: it lies outside. */
int sfs_flatbuffer_vector(const struct sfs_flatbuffer_table *table, unsigned field,
                          unsigned item_size, struct sfs_flatbuffer_vector *ret_vector,
                          struct sfs_error *err);
/* Item i, below the count, of a vector of tables. EBADMSG: it lies outside. */
int sfs_flatbuffer_table_at(const struct sfs_flatbuffer_vector *vector, uint32_t i,
                            struct sfs_flatbuffer_table *ret_table, struct sfs_error *err);
/* Item i, below the count, of a vector of texts. EBADMSG: it lies outside. */
int sfs_flatbuffer_text_at(const struct sfs_flatbuffer_vector *vector, uint32_t i,
                           struct sfs_flatbuffer_text *ret_text, struct sfs_error *err);

#endif
