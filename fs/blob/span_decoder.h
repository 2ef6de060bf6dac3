/* Decodes one span at a time, in as many steps as one likes. Reused from span to span, because its
 * states and buffers are large. One thread at a time. */
#ifndef STAGEFS_SPAN_DECODER_H
#define STAGEFS_SPAN_DECODER_H

#include "blob/blob.h"
#include "blob/seek.h"

struct sfs_span_decoder;

/* A new one, which the caller closes. NULL: out of memory. */
struct sfs_span_decoder *sfs_span_decoder_open(void);
/* Frees, and sets NULL; NULL is fine. */
void sfs_span_decoder_close(struct sfs_span_decoder **decoder);
/* Bytes of memory that it holds. */
size_t sfs_span_decoder_memory(const struct sfs_span_decoder *decoder);

/* Reads a span's compressed bytes, whole, and if they have GMAC tags checks them. Waits for the
 * disk. EIO: not readable. EKEYREJECTED: they are not what the table was made from. EBADMSG: the
 * table's window is damaged. */
int sfs_span_decoder_start(struct sfs_span_decoder *decoder, struct sfs_blob *blob,
                           const struct sfs_seek_table *table, uint32_t span,
                           struct sfs_error *err);
/* Decodes the next `size` bytes; no more than the span has. EBADMSG: it has fewer, or is
 * damaged. */
int sfs_span_decoder_run(struct sfs_span_decoder *decoder, uint8_t *out, size_t size,
                         struct sfs_error *err);

#endif
