/* What two decoders share (of one span: span_decoder.h; of a stretch of them: stretch.h): the check
 * of a span's compressed bytes, and a codec's decoder that stands at a point. One thread at a time.
 */
#ifndef STAGEFS_SPAN_ENTRY_H
#define STAGEFS_SPAN_ENTRY_H

#include "blob/codecs.h"
#include "blob/gmac.h"

struct sfs_span_entry {
    struct sfs_gmac *gmac;
    struct sfs_decoder *decoders[SFS_CODECS]; /* each made when the first span asks for it */
};

int sfs_span_entry_init(struct sfs_span_entry *entry); /* 0 or -ENOMEM; either way to be done */
void sfs_span_entry_done(struct sfs_span_entry *entry);
/* Bytes that its decoders hold. */
size_t sfs_span_entry_memory(const struct sfs_span_entry *entry);

/* Are these the bytes that were verified? 0 too where the table has no tags for them. EKEYREJECTED:
 * they are not. */
int sfs_span_entry_check(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                         uint32_t span, const uint8_t *in, size_t size, struct sfs_error *err);

/* Lends the decoder of the table's codec, which stands at the point, where io->in starts; what of
 * `io` it has taken already is passed. As sfs_decoder_enter(). */
int sfs_span_entry_enter(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                         const struct sfs_point *point, struct sfs_decoder_io *io,
                         struct sfs_decoder **ret_decoder, struct sfs_decoder_window *ret_window,
                         struct sfs_error *err);

#endif
