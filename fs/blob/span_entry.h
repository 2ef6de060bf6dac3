/* What two decoders share (of one span: span_decoder.h; of a stretch of them: stretch.h): the check
 * of a span's compressed bytes, and entering deflate data at a point. One thread at a time. */
#ifndef STAGEFS_SPAN_ENTRY_H
#define STAGEFS_SPAN_ENTRY_H

#include "blob/gmac.h"
#include "blob/gunzip.h"
#include "blob/seek.h"
#include <zstd.h>

struct sfs_span_entry {
    ZSTD_DCtx *zstd;
    struct sfs_gmac *gmac;
    struct sfs_gunzip gunzip;
    uint8_t window[SFS_WINDOW_MAX], packed_window[ZSTD_COMPRESSBOUND(SFS_WINDOW_MAX)];
};

int sfs_span_entry_init(struct sfs_span_entry *entry); /* 0 or -ENOMEM; either way to be done */
void sfs_span_entry_done(struct sfs_span_entry *entry);

/* Are these the bytes that were verified? 0 too where the table has no tags for them. EKEYREJECTED:
 * they are not. */
int sfs_span_entry_check(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                         uint32_t span, const uint8_t *in, size_t size, struct sfs_error *err);

/* Makes entry->gunzip stand at the point, where `in` starts. *ret_used: bytes of it that are in the
 * state already, 0 or 1. *ret_window: bytes in entry->window that were decoded before it. Waits for
 * the disk where windows lie in a file. EBADMSG: the table's window is damaged, or there is no
 * input. */
int sfs_span_entry_gunzip(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                          const struct sfs_point *point, const uint8_t *in, size_t in_size,
                          size_t *ret_used, size_t *ret_window, struct sfs_error *err);

#endif
