/* The table of contents of a layer that is being written: which chunk of which file starts where,
 * and its digests. eStargz and zstd:chunked (of containers/storage) have one.
 *
 *   contents.c           collects while the tar is written, ends the blob
 *   contents_json.c      the table itself
 *   contents_split.c     zstd:chunked: what the tar has beside its files' bytes (tar-split)
 *
 * A chunk is a gzip member, or a zstd frame, of its own. One thread. */
#ifndef STAGEFS_CONTENTS_H
#define STAGEFS_CONTENTS_H

#include "commit/layer_options.h"
#include "layer/tar_write.h"
#include <jansson.h>

struct sfs_chunk {
    size_t item;                           /* the item whose file it is part of */
    uint64_t in, end;                      /* where in the tar it starts, and its file ends */
    uint64_t offset, size;                 /* where it is in the file, and its plain bytes */
    struct sfs_digest digest, file_digest; /* of it, and of the whole file */
};

struct sfs_contents;
/* Makes an empty table; borrows both until close. */
int sfs_contents_open(const struct sfs_layer_write *write, struct sfs_pipe *pipe,
                      struct sfs_contents **ret_contents, struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. Before the pipe is closed. */
void sfs_contents_close(struct sfs_contents **contents);

/* Tells that the header of the next item was written; `tar` is what it says. ENOTSUP: a table,
 * which is JSON, cannot hold its name. */
int sfs_contents_add_header(struct sfs_contents *contents, const struct sfs_tar_entry *tar,
                            const struct sfs_buf *header, struct sfs_error *err);
/* Writes bytes of the item's file, zeros where data is NULL, in chunks. */
int sfs_contents_write(struct sfs_contents *contents, const void *data, uint64_t size,
                       struct sfs_error *err);
/* Puts a block that is compressed already, as a chunk of its own. Else as sfs_pipe_put(). */
int sfs_contents_put(struct sfs_contents *contents, const struct sfs_packed *block,
                     const struct sfs_digest *digest, struct sfs_error *err);
/* Ends the item's file; the caller then writes its padding. */
int sfs_contents_end_file(struct sfs_contents *contents, struct sfs_error *err);

/* Ends the tar and the blob with all that the format wants; the pipe can then be finished.
 * *ret_annotations: for the layer's descriptor; the caller frees. */
int sfs_contents_finish(struct sfs_contents *contents, json_t **ret_annotations,
                        struct sfs_error *err);

/* ---- between the files named above ---- */

struct sfs_contents_table {
    const struct sfs_layer_write *write;
    const struct sfs_chunk *chunks; /* by item and offset */
    size_t chunk_count;
    const struct sfs_segment *segments; /* of the pipe */
    size_t segment_count;
    const char *split_digest; /* of the tar-split; NULL: there is none */
};
/* Prints the table into `json`. E2BIG: it is larger than readers take. */
int sfs_contents_print(const struct sfs_contents_table *table, struct sfs_buf *json,
                       struct sfs_error *err);

struct sfs_split;
/* A new one, which the caller closes. NULL: out of memory. */
struct sfs_split *sfs_split_open(void);
/* Frees, and sets NULL; NULL is fine. */
void sfs_split_close(struct sfs_split **split);
/* Adds bytes of the tar that are no file's. What fails here and in the next is told at the end. */
void sfs_split_add_bytes(struct sfs_split *split, const void *data, size_t size);
/* Adds a file, by its size and the CRC-64 of its bytes; any other entry has size 0. */
void sfs_split_add_file(struct sfs_split *split, const char *name, uint64_t size, uint64_t crc);
/* Adds the whole, compressed, to `packed`; says its plain bytes. 0, -ENOMEM or -EIO. */
int sfs_split_finish(struct sfs_split *split, struct sfs_buf *packed, uint64_t *ret_plain_size);

/* Adds a JSON string with its quotes; the text is UTF-8. Failures are the buffer's
 * (sfs_buf_check()).
 */
void sfs_json_add_string(struct sfs_buf *buf, const char *text);
/* Adds base64, without quotes. Failures as above. */
void sfs_json_add_base64(struct sfs_buf *buf, const void *data, size_t size);

#endif
