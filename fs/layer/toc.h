/* Tables of contents that layers bring: eStargz and zstd:chunked. Such a layer gets its index
 * without a pass over the blob.
 *
 * What is trusted: the manifest, so the annotations of the layer's descriptor, so the table whose
 * SHA-256 they name, so the chunks whose SHA-256 the table names; each is checked when it is read.
 *
 *   toc.c           which annotations count, and the index that comes out
 *   toc_estargz.c   where the table of a gzip layer is
 *   toc_chunked.c   where the table of a zstd layer is
 *   toc_json.c      its entries one by one
 *   toc_entry.c     one entry's fields
 *   toc_index.c     names and seek table of all of them
 *
 * The kinds differ in where the table is and in what is digested; their entries are alike. A table
 * that is malformed, or says what cannot be shown lazily, is not used: the pass over the blob is
 * always possible, and tells what is right. */
#ifndef STAGEFS_TOC_H
#define STAGEFS_TOC_H

#include "layer/index.h"
#include "layer/layer.h"
#include <jansson.h>

/* Do the source's annotations vouch for a table that its blob brings? Whether that is there and
 * right is not looked at. */
bool sfs_toc_is_claimed(const struct sfs_layer_source *source);
/* Did the source's annotations vouch for the table that this index was made from? */
bool sfs_toc_vouches(const struct sfs_layer_source *source, const struct sfs_index *index);

/* Writes the index of a layer that brings a table of contents at fd's position. 1: written; 0:
 * there is no table to use (one that is there all the same was told of by progress->warn), nothing
 * was written. Negative: out of memory, or the index could not be written. */
int sfs_toc_write(struct sfs_blob *blob, const struct sfs_layer_source *source,
                  const struct sfs_progress *progress, int fd, struct sfs_error *err);

/* Are files in this layer marks of the format (sfs_estargz_is_mark())? What annotations say does
 * not matter. Reads the blob's end. */
bool sfs_toc_is_estargz(const struct sfs_layer_source *source, struct sfs_blob *blob);

/* ---- between the files named above ---- */

/* What the annotations say of the table. */
struct sfs_toc_claim {
    bool has_plain, has_packed, has_place; /* which of the fields below are set */
    struct sfs_digest plain;               /* of the table's JSON */
    struct sfs_digest packed;              /* of the JSON as it is compressed in the blob */
    uint64_t offset, size, plain_size;     /* place: bytes in the blob, and of the JSON */
};

/* A table's JSON. */
struct sfs_toc_text {
    char *data; /* owned */
    size_t size;
    uint64_t data_end; /* offset in the blob of the end of the layer's data */
};
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_toc_text_done(struct sfs_toc_text *text);

/* A kind of table. */
struct sfs_toc_kind {
    enum sfs_codec codec; /* of the layers that bring it */
    /* Finds, checks and decodes the table. Waits for the disk. EBADMSG, EKEYREJECTED, E2BIG,
     * ENOTSUP: it cannot be used. */
    int (*read)(struct sfs_blob *blob, const struct sfs_toc_claim *claim,
                struct sfs_toc_text *ret_text, struct sfs_error *err);
    bool is_packed;    /* the manifest vouches for its compressed bytes, too */
    bool has_marks;    /* of the layer's files some are the format's: sfs_estargz_is_mark() */
    bool lends_digest; /* a chunk that is a whole file may leave the digest to the file */
};
/* The kind that layers of this codec bring; NULL: there is none. */
const struct sfs_toc_kind *sfs_toc_find_kind(enum sfs_codec codec);

/* The `read` of eStargz. */
int sfs_toc_read_estargz(struct sfs_blob *blob, const struct sfs_toc_claim *claim,
                         struct sfs_toc_text *ret_text, struct sfs_error *err);
/* The `read` of zstd:chunked. */
int sfs_toc_read_chunked(struct sfs_blob *blob, const struct sfs_toc_claim *vouched,
                         struct sfs_toc_text *ret_text, struct sfs_error *err);
/* Does the blob end as an eStargz layer does? */
bool sfs_toc_ends_estargz(struct sfs_blob *blob);
/* Reads all of a range. EBADMSG: it is not inside the blob. */
int sfs_toc_read_range(struct sfs_blob *blob, void *data, uint64_t size, uint64_t offset,
                       struct sfs_error *err);
/* Does the data have that digest? `what` names the data in messages. EKEYREJECTED: it does not. */
int sfs_toc_check_digest(const void *data, size_t size, const struct sfs_digest *expected,
                         const char *what, struct sfs_error *err);

/* Calls `entry` for each entry of a table's JSON, in order, until it fails. Only one entry at a
 * time is in memory as values. EBADMSG: not such a table. E2BIG: an entry is too large. */
int sfs_toc_json_each(const char *data, size_t size,
                      int (*entry)(void *user, const json_t *json, struct sfs_error *err),
                      void *user, struct sfs_error *err);

/* One entry, as the table has it. */
struct sfs_toc_entry {
    const char *type, *name, *link; /* never NULL; borrowed from the JSON */
    struct sfs_inode_rec inode;     /* its mode has no file type */
    /* Where the chunk is: the frame's offset in the blob, the chunk's offset in the decoded frame,
     * and the frame's end in the blob (0: not said). */
    uint64_t offset, inner_offset, end_offset;
    uint64_t chunk_offset, chunk_size; /* which bytes of the file it is */
    bool is_zeros, has_digest, has_chunk_digest;
    struct sfs_digest digest, chunk_digest; /* of the whole file, and of the chunk */
    struct sfs_builder_xattr *xattrs;       /* names are borrowed from the JSON */
    uint32_t xattr_count;
    void *values; /* the values of xattrs; owned */
};
/* Reads one entry, which borrows from `json`; it is freed with sfs_toc_entry_done(). EBADMSG: a
 * field is missing, of a wrong type or out of range. */
int sfs_toc_entry_parse(const json_t *json, struct sfs_toc_entry *ret_entry, struct sfs_error *err);
/* Reads a time as Go prints it ("2026-01-02T03:04:05.6+01:00", RFC 3339) into the inode. EBADMSG,
 * without words: it is none. */
int sfs_toc_time_parse(const char *text, struct sfs_inode_rec *inode);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_toc_entry_done(struct sfs_toc_entry *entry);

/* Names, and where their bytes are, while they are collected. */
struct sfs_toc_index;
/* A new one, for a layer whose data end at `data_end` of the blob; the caller closes it. NULL: out
 * of memory. */
struct sfs_toc_index *sfs_toc_index_open(uint64_t data_end, const struct sfs_toc_kind *kind);
/* Frees, and sets NULL; NULL is fine. */
void sfs_toc_index_close(struct sfs_toc_index **index);
/* Adds the next entry. EBADMSG: it does not fit to those before. ENOTSUP: it cannot be shown
 * lazily. */
int sfs_toc_index_add(struct sfs_toc_index *index, const struct sfs_toc_entry *entry,
                      struct sfs_error *err);
/* Checks the whole, and gives its tables. The caller frees *ret_memory with sfs_tables_close(); the
 * seek table lives as long as `index`. */
int sfs_toc_index_finish(struct sfs_toc_index *index, struct sfs_seek_table *ret_seek,
                         struct sfs_tables *ret_tables, void **ret_memory, struct sfs_error *err);

#endif
