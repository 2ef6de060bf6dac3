/* The check of a span's input, and the codec's decoder at a point: see span_entry.h. */
#include "blob/span_entry.h"

#include "base/hash.h"
#include <errno.h>

int sfs_span_entry_init(struct sfs_span_entry *entry)
{
    entry->gmac = sfs_gmac_open();
    return entry->gmac ? 0 : -ENOMEM;
}

void sfs_span_entry_done(struct sfs_span_entry *entry)
{
    sfs_gmac_close(&entry->gmac);
    free(entry->window);
    for (unsigned i = 0; i < SFS_CODECS; i++)
        sfs_decoder_close(&entry->decoders[i]);
}

size_t sfs_span_entry_memory(const struct sfs_span_entry *entry)
{
    size_t memory = entry->window ? SFS_WINDOW_STORED_MAX : 0;
    for (unsigned i = 0; i < SFS_CODECS; i++)
        if (entry->decoders[i])
            memory += entry->decoders[i]->codec->memory(entry->decoders[i]);
    return memory;
}

static int fail_changed(struct sfs_error *err)
{
    return sfs_fail(err, EKEYREJECTED, "does not match what was verified: the blob was changed");
}

/* Reads the point's window into the entry. */
static int read_window(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                       const struct sfs_point *point, struct sfs_error *err)
{
    size_t size = point->window_size;
    entry->window_point = NULL;
    if (!entry->window && !(entry->window = malloc(SFS_WINDOW_STORED_MAX)))
        return sfs_fail_memory(err);
    if (size > SFS_WINDOW_STORED_MAX)
        return sfs_fail(err, EBADMSG, "its window is too large");
    if (table->windows) {
        memcpy(entry->window, table->windows + point->window, size);
    } else if (size > 0) {
        ssize_t n = table->windows_blob ? sfs_blob_pick_at(table->windows_blob, entry->window, size,
                                                           point->window, err)
                                        : sfs_fail(err, EBADMSG, "its window is missing");
        if (n < 0 || (size_t)n != size)
            return n < 0 ? (int)n : sfs_fail(err, EIO, "its window is cut off");
    }
    entry->window_point = point;
    return 0;
}

static int digest_span(const struct sfs_span_entry *entry, size_t window_size, const uint8_t *in,
                       size_t size, struct sfs_digest *ret_digest)
{
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    if (!hash || (window_size > 0 && sfs_hash_add(hash, entry->window, window_size) < 0) ||
        sfs_hash_add(hash, in, size) < 0)
        return -ENOMEM;
    return sfs_hash_finish(hash, ret_digest);
}

static int check_public(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                        uint32_t span, const uint8_t *in, size_t size, struct sfs_error *err)
{
    const struct sfs_point *point = &table->points[span];
    struct sfs_digest digest;
    for (;;) {
        int r = read_window(entry, table, point, err);
        if (r < 0)
            return r;
        if (digest_span(entry, point->window_size, in, size, &digest) < 0)
            return sfs_fail_memory(err);
        if (memcmp(digest.bytes, table->tags + (size_t)span * sizeof digest.bytes,
                   sizeof digest.bytes) == 0)
            return 0;
        /* Either may be what was damaged on its way; the caller has the input fetched again. */
        if (!table->windows_blob || point->window_size == 0 ||
            !sfs_blob_distrust(table->windows_blob, point->window, point->window_size))
            return fail_changed(err);
    }
}

static int check_input(const struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                       uint32_t span, const uint8_t *in, size_t size, struct sfs_error *err)
{
    struct sfs_digest digest;
    if (digest_span(entry, 0, in, size, &digest) < 0)
        return sfs_fail_memory(err);
    return memcmp(digest.bytes, table->tags + (size_t)span * sizeof digest.bytes,
                  sizeof digest.bytes) == 0
               ? 0
               : fail_changed(err);
}

int sfs_span_entry_check(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                         uint32_t span, const uint8_t *in, size_t size, struct sfs_error *err)
{
    if (table->check == SFS_CHECK_PUBLIC)
        return check_public(entry, table, span, in, size, err);
    if (table->check == SFS_CHECK_INPUT)
        return check_input(entry, table, span, in, size, err);
    if (table->check != SFS_CHECK_GMAC)
        return 0;
    int r = sfs_gmac_check(entry->gmac, table->key, span, in, size,
                           table->tags + (size_t)span * SFS_GMAC_SIZE);
    if (r < 0)
        return sfs_fail_memory(err);
    return r > 0 ? 0 : fail_changed(err);
}

int sfs_span_entry_enter(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                         const struct sfs_point *point, struct sfs_decoder_io *io,
                         struct sfs_decoder **ret_decoder, struct sfs_decoder_window *ret_window,
                         struct sfs_error *err)
{
    struct sfs_decoder **decoder = &entry->decoders[table->codec];
    if (!*decoder)
        *decoder = sfs_codec_get(table->codec)->open();
    if (!*decoder)
        return sfs_fail_memory(err);
    *ret_decoder = *decoder;
    if (table->check != SFS_CHECK_PUBLIC)
        return sfs_decoder_enter(*decoder, table, point, io, ret_window, err);
    if (entry->window_point != point)
        return sfs_fail(err, EBADMSG, "its window was not checked");
    struct sfs_seek_table checked = *table;
    struct sfs_point here = *point;
    checked.windows = entry->window;
    here.window = 0;
    return sfs_decoder_enter(*decoder, &checked, &here, io, ret_window, err);
}
