/* What two decoders share (of one span: span_decoder.h; of a stretch of them: stretch.h): the check
 * of a span's compressed bytes, and a codec's decoder that stands at a point. One thread at a
 * time. */
#ifndef STAGEFS_SPAN_ENTRY_H
#define STAGEFS_SPAN_ENTRY_H

#include "blob/blob.h"
#include "blob/codecs.h"
#include "blob/gmac.h"

struct sfs_span_entry {
    struct sfs_gmac *gmac;                    /* checks input */
    struct sfs_decoder *decoders[SFS_CODECS]; /* each made when the first span asks for it */
    /* Where the check is PUBLIC: the window that was checked last, of `window_point`, since a blob
     * that is read a second time may give other bytes. Made when it is needed. */
    uint8_t *window;
    const struct sfs_point *window_point; /* NULL: none */
};

/* 0 or -ENOMEM; after a failure too, the caller calls sfs_span_entry_done(). */
int sfs_span_entry_init(struct sfs_span_entry *entry);
/* Frees what is in it. */
void sfs_span_entry_done(struct sfs_span_entry *entry);
/* Bytes that its decoders hold. */
size_t sfs_span_entry_memory(const struct sfs_span_entry *entry);

/* Are these the span's compressed bytes as they were verified? 0: they are, or the table has
 * neither GMAC tags nor digests of input. EKEYREJECTED: they are not. Of a public digest the window
 * is a part: it is read here, which waits for the network, and its failures are handed on. */
int sfs_span_entry_check(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                         uint32_t span, const uint8_t *in, size_t size, struct sfs_error *err);

/* Lends the decoder of the table's codec, which then stands at the point, where io->in starts; `io`
 * is moved behind what it has read already. The decoder is the entry's until the next call. Where
 * the check is PUBLIC, the point is the one whose span was checked last. Else as
 * sfs_decoder_enter(). */
int sfs_span_entry_enter(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                         const struct sfs_point *point, struct sfs_decoder_io *io,
                         struct sfs_decoder **ret_decoder, struct sfs_decoder_window *ret_window,
                         struct sfs_error *err);

#endif
