/* The check of a span's input, and the codec's decoder at a point: see span_entry.h. */
#include "blob/span_entry.h"

#include <errno.h>

int sfs_span_entry_init(struct sfs_span_entry *entry)
{
    entry->gmac = sfs_gmac_open();
    return entry->gmac ? 0 : -ENOMEM;
}

void sfs_span_entry_done(struct sfs_span_entry *entry)
{
    sfs_gmac_close(&entry->gmac);
    for (unsigned i = 0; i < SFS_CODECS; i++)
        sfs_decoder_close(&entry->decoders[i]);
}

size_t sfs_span_entry_memory(const struct sfs_span_entry *entry)
{
    size_t memory = 0;
    for (unsigned i = 0; i < SFS_CODECS; i++)
        if (entry->decoders[i])
            memory += entry->decoders[i]->codec->memory(entry->decoders[i]);
    return memory;
}

int sfs_span_entry_check(struct sfs_span_entry *entry, const struct sfs_seek_table *table,
                         uint32_t span, const uint8_t *in, size_t size, struct sfs_error *err)
{
    if (table->check == SFS_CHECK_PUBLIC)
        return sfs_fail(err, ENOTSUP, "an index of another machine is not read");
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
    return sfs_decoder_enter(*decoder, table, point, io, ret_window, err);
}
