/* Look-ups in a seek table, and the checks of one that comes from outside. */
#include "blob/codecs.h"

#include <errno.h>

/* The first span whose input starts behind `in`; count if there is none. */
static uint32_t find_input_behind(const struct sfs_seek_table *table, uint32_t low, uint64_t in)
{
    uint32_t high = table->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table->points[middle].in <= in)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void sfs_seek_input(const struct sfs_seek_table *table, uint32_t span, uint64_t *ret_start,
                    uint64_t *ret_end)
{
    const struct sfs_point *point = &table->points[span];
    *ret_start = point->in - ((point->bits & 7) ? 1 : 0);
    uint32_t next = span + 1;
    /* Spans that skip share the frame that starts at their input: it ends where the next one
     * starts. */
    if (next < table->count && table->points[next].skip > 0 && table->points[next].in == point->in)
        next = find_input_behind(table, next, point->in);
    *ret_end = next < table->count ? table->points[next].in : table->in_size;
}

uint64_t sfs_seek_size(const struct sfs_seek_table *table, uint32_t span)
{
    uint64_t end = span + 1 < table->count ? table->points[span + 1].out : table->out_size;
    return end - table->points[span].out;
}

/* The last point at or before the offset, so that spans of no bytes are never found. */
uint32_t sfs_seek_find(const struct sfs_seek_table *table, uint64_t offset)
{
    uint32_t low = 0, high = table->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (table->points[middle].out <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static int check_span(const struct sfs_seek_table *table, uint32_t span, struct sfs_error *err)
{
    const struct sfs_point *point = &table->points[span];
    const struct sfs_point *next = span + 1 < table->count ? point + 1 : NULL;
    uint64_t end_out = next ? next->out : table->out_size;
    uint64_t end_in = next ? next->in : table->in_size;
    const struct sfs_codec_row *codec = sfs_codec_get(table->codec);
    if (point->out > end_out || point->in > end_in || ((point->bits & 7) && point->in == 0))
        return sfs_fail(err, EBADMSG, "seek table: span %u is not in order", span);
    if (end_out - point->out > SFS_SPAN_MAX || point->skip > SFS_SPAN_MAX)
        return sfs_fail(err, EBADMSG, "seek table: span %u is too large", span);
    uint64_t start, end;
    sfs_seek_input(table, span, &start, &end);
    if (end_out > point->out && end > point->in && end - point->in > SFS_SPAN_IN_MAX)
        return sfs_fail(err, EBADMSG, "seek table: the input of span %u is too large", span);
    if (codec->is_plain && end_in - point->in != end_out - point->out)
        return sfs_fail(err, EBADMSG, "seek table: span %u of plain bytes changes its size", span);
    if (!codec->enters_bits && point->bits != 0)
        return sfs_fail(err, EBADMSG, "seek table: span %u starts inside a byte", span);
    if ((point->bits & 0x78) || ((point->bits & 7) && !(point->bits & SFS_POINT_RAW)))
        return sfs_fail(err, EBADMSG, "seek table: span %u starts nowhere", span);
    if (point->window_size > 0 && (point->window > table->windows_size ||
                                   point->window_size > table->windows_size - point->window))
        return sfs_fail(err, EBADMSG, "seek table: the window of span %u is outside", span);
    if (table->check == SFS_CHECK_PUBLIC && point->window_size > SFS_WINDOW_STORED_MAX)
        return sfs_fail(err, EBADMSG, "seek table: the window of span %u is too large", span);
    return 0;
}

int sfs_seek_check(const struct sfs_seek_table *table, uint64_t blob_size, struct sfs_error *err)
{
    if (!sfs_codec_get(table->codec) || table->check > SFS_CHECK_LAST)
        return sfs_fail(err, EBADMSG, "seek table: unknown codec or check");
    if (table->in_size > blob_size)
        return sfs_fail(err, EBADMSG, "seek table: it is of a larger blob");
    if (table->check != SFS_CHECK_NONE && table->count > 0 && !table->tags)
        return sfs_fail(err, EBADMSG, "seek table: no tags");
    if (table->windows_size > 0 && !table->windows && !table->windows_blob &&
        table->windows_fd <= 0)
        return sfs_fail(err, EBADMSG, "seek table: no windows");
    if (table->count == 0)
        return table->out_size == 0 ? 0 : sfs_fail(err, EBADMSG, "seek table: no spans");
    if (table->points[0].out != 0)
        return sfs_fail(err, EBADMSG, "seek table: it does not start at the start");
    for (uint32_t i = 0; i < table->count; i++) {
        int r = check_span(table, i, err);
        if (r < 0)
            return r;
    }
    return 0;
}
