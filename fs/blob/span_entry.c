#include "blob/span_entry.h"

#include <errno.h>

int sfs_span_entry_init(struct sfs_span_entry *entry)
{
    entry->zstd = ZSTD_createDCtx();
    entry->gmac = sfs_gmac_open();
    return entry->zstd && entry->gmac ? 0 : -ENOMEM;
}

void sfs_span_entry_done(struct sfs_span_entry *entry)
{
    ZSTD_freeDCtx(entry->zstd);
    sfs_gmac_close(&entry->gmac);
}

int sfs_span_entry_check(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                         uint32_t span, const uint8_t *in, size_t size, struct sfs_error *err)
{
    if (table->check != SFS_CHECK_GMAC)
        return 0;
    int r = sfs_gmac_check(entry->gmac, table->key, span, in, size,
                           table->tags + (size_t)span * SFS_GMAC_SIZE);
    if (r < 0)
        return sfs_fail(err, ENOMEM, "out of memory");
    return r > 0 ? 0
                 : sfs_fail(err, EKEYREJECTED,
                            "does not match what was verified: the blob was changed");
}

int sfs_span_entry_gunzip(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                          const struct sfs_point *point, const uint8_t *in, size_t in_size,
                          size_t *ret_used, struct sfs_error *err)
{
    *ret_used = 0;
    if (!(point->bits & SFS_POINT_RAW)) {
        sfs_gunzip_start(&entry->gunzip, false);
        return 0;
    }
    unsigned bits = point->bits & 7;
    if (bits > 0 && in_size == 0)
        return sfs_fail(err, EBADMSG, "it has no input");
    size_t window = 0;
    if (point->window_size > 0)
        window = ZSTD_decompressDCtx(entry->zstd, entry->window, sizeof entry->window,
                                     table->windows + point->window, point->window_size);
    if (ZSTD_isError(window))
        return sfs_fail(err, EBADMSG, "its window is damaged");
    *ret_used = bits > 0 ? 1 : 0;
    if (sfs_gunzip_resume(&entry->gunzip, bits > 0 ? in[0] : 0, bits, entry->window, window) < 0)
        return sfs_fail(err, EBADMSG, "its window cannot be used");
    return 0;
}
