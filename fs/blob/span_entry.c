#include "blob/span_entry.h"

#include "base/io.h"
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
        return sfs_fail_memory(err);
    return r > 0 ? 0
                 : sfs_fail(err, EKEYREJECTED,
                            "does not match what was verified: the blob was changed");
}

/* NULL: it cannot be had. */
static const uint8_t *load_window(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                                  const struct sfs_point *point)
{
    if (table->windows)
        return table->windows + point->window;
    size_t size = point->window_size;
    if (size > sizeof entry->packed_window)
        return NULL;
    ssize_t n = sfs_io_read_at(table->windows_fd, entry->packed_window, size,
                               table->windows_at + point->window);
    return n == (ssize_t)size ? entry->packed_window : NULL;
}

/* *ret_size: bytes that are in entry->window; 0 where the point needs none. */
static int open_window(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                       const struct sfs_point *point, size_t *ret_size)
{
    *ret_size = 0;
    if (point->window_size == 0)
        return 0;
    const uint8_t *packed = load_window(entry, table, point);
    if (!packed)
        return -EBADMSG;
    *ret_size = ZSTD_decompressDCtx(entry->zstd, entry->window, sizeof entry->window, packed,
                                    point->window_size);
    return ZSTD_isError(*ret_size) ? -EBADMSG : 0;
}

int sfs_span_entry_gunzip(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                          const struct sfs_point *point, const uint8_t *in, size_t in_size,
                          size_t *ret_used, size_t *ret_window, struct sfs_error *err)
{
    *ret_used = *ret_window = 0;
    if (!(point->bits & SFS_POINT_RAW)) {
        sfs_gunzip_start(&entry->gunzip, false);
        return 0;
    }
    unsigned bits = point->bits & 7;
    if (bits > 0 && in_size == 0)
        return sfs_fail(err, EBADMSG, "it has no input");
    if (open_window(entry, table, point, ret_window) < 0)
        return sfs_fail(err, EBADMSG, "its window is damaged, or cannot be read");
    *ret_used = bits > 0 ? 1 : 0;
    if (sfs_gunzip_resume(&entry->gunzip, bits > 0 ? in[0] : 0, bits, entry->window, *ret_window) <
        0)
        return sfs_fail(err, EBADMSG, "its window cannot be used");
    return 0;
}
