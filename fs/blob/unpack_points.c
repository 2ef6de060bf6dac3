/* How the seek table grows during a pass: points in order, tags behind them, windows made small. */
#include "blob/unpack_points.h"

#include "base/thread.h"
#include <errno.h>
#include <stagefs/auto.h>

#define MAX_POINTS   (64u << 20)
#define WINDOW_LEVEL 3

struct sfs_points_window {
    struct sfs_points_window *next;
    uint32_t number; /* of its point */
    uint64_t in;     /* as in its struct sfs_point */
    uint8_t bits;    /* as in its struct sfs_point */
    size_t size;
    uint8_t bytes[];
};

int sfs_points_init(struct sfs_points *points)
{
    *points = (struct sfs_points){ .in_end = UINT64_MAX };
    pthread_mutex_init(&points->lock, NULL);
    points->end = &points->first;
    points->gmac = sfs_gmac_open();
    points->compressor = ZSTD_createCCtx();
    points->pruner = sfs_window_pruner_open();
    if (!points->gmac || !points->compressor || !points->pruner)
        return -ENOMEM;
    /* With a checksum, so that whoever reads an index need not check those that it does not use. */
    ZSTD_CCtx_setParameter(points->compressor, ZSTD_c_compressionLevel, WINDOW_LEVEL);
    ZSTD_CCtx_setParameter(points->compressor, ZSTD_c_checksumFlag, 1);
    return sfs_gmac_make_key(points->key);
}

void sfs_points_done(struct sfs_points *points)
{
    if (!points->end)
        return;
    while (points->first) {
        struct sfs_points_window *window = points->first;
        points->first = window->next;
        free(window);
    }
    sfs_free(&points->points);
    sfs_buf_close(&points->tags);
    sfs_buf_close(&points->windows);
    sfs_gmac_close(&points->gmac);
    ZSTD_freeCCtx(points->compressor);
    sfs_window_pruner_close(&points->pruner);
    pthread_mutex_destroy(&points->lock);
    points->end = NULL;
}

static int append(struct sfs_points *points, const struct sfs_point *point)
{
    if (points->count == points->capacity) {
        uint32_t capacity = points->capacity ? 2 * points->capacity : 64;
        if (capacity > MAX_POINTS)
            return -E2BIG;
        struct sfs_point *more = reallocarray(points->points, capacity, sizeof *more);
        if (!more)
            return -ENOMEM;
        points->points = more;
        points->capacity = capacity;
    }
    points->points[points->count++] = *point;
    return 0;
}

int sfs_points_add(struct sfs_points *points, uint64_t out, uint64_t in, uint8_t bits,
                   const void *window, size_t window_size)
{
    AUTO(sfs_free) struct sfs_points_window *waiting = NULL;
    if (window_size > 0) {
        waiting = malloc(sizeof *waiting + window_size);
        if (!waiting)
            return -ENOMEM;
        *waiting = (struct sfs_points_window){ .in = in, .bits = bits & 7, .size = window_size };
        memcpy(waiting->bytes, window, window_size);
    }
    LOCK(&points->lock);
    int r = append(points, &(struct sfs_point){ .out = out, .in = in, .bits = bits });
    if (r < 0 || !waiting)
        return r;
    waiting->number = points->count - 1;
    *points->end = waiting;
    points->end = &waiting->next;
    waiting = NULL;
    return 0;
}

void sfs_points_end(struct sfs_points *points, uint64_t in_end)
{
    LOCK(&points->lock);
    points->in_end = in_end;
}

static int compress_window(struct sfs_points *points, const struct sfs_points_window *window)
{
    size_t bound = ZSTD_compressBound(window->size), start = points->windows.size;
    void *place = sfs_buf_grow(&points->windows, bound);
    if (!place)
        return -ENOMEM;
    size_t size = ZSTD_compress2(points->compressor, place, bound, window->bytes, window->size);
    if (ZSTD_isError(size))
        return -ENOMEM;
    points->windows.size = start + size;
    LOCK(&points->lock);
    points->points[window->number].window = start;
    points->points[window->number].window_size = (uint32_t)size & 0xffffff;
    return 0;
}

/* The next window whose point lies before `end`, or NULL. */
static struct sfs_points_window *take_window(struct sfs_points *points, uint64_t end)
{
    LOCK(&points->lock);
    struct sfs_points_window *window = points->first;
    if (!window || window->in >= end)
        return NULL;
    points->first = window->next;
    if (!points->first)
        points->end = &points->first;
    return window;
}

/* Compresses the windows of the points in one block of input, which shows what of them is
 * needed. */
static int compress_windows(struct sfs_points *points, const uint8_t *data, size_t size,
                            uint64_t offset)
{
    for (;;) {
        AUTO(sfs_free) struct sfs_points_window *window = take_window(points, offset + size);
        if (!window)
            return 0;
        if (window->in >= offset) {
            size_t at = (size_t)(window->in - offset);
            uint8_t byte = at > 0 ? data[at - 1] : points->last_byte;
            sfs_window_prune(points->pruner, byte, window->bits, data + at, size - at,
                             window->bytes, window->size);
        }
        int r = compress_window(points, window);
        if (r < 0)
            return r;
    }
}

/* Where span `span` begins and ends, as far as that is known. false: it does not begin yet. */
static bool find_edges(struct sfs_points *points, uint32_t span, uint64_t *ret_start,
                       uint64_t *ret_end)
{
    LOCK(&points->lock);
    if (span >= points->count)
        return false;
    const struct sfs_point *point = &points->points[span];
    *ret_start = point->in - ((point->bits & 7) ? 1 : 0);
    *ret_end = span + 1 < points->count ? point[1].in : points->in_end;
    return true;
}

static int close_tag(struct sfs_points *points)
{
    uint8_t tag[SFS_GMAC_SIZE];
    if (sfs_gmac_finish(points->gmac, tag) < 0 || sfs_buf_add(&points->tags, tag, sizeof tag) < 0)
        return -ENOMEM;
    points->tagging++;
    points->tag_is_open = false;
    return 0;
}

static int open_tag(struct sfs_points *points, uint64_t start)
{
    points->tag_is_open = true;
    points->tagged = start;
    return sfs_gmac_start(points->gmac, points->key, points->tagging);
}

/* One span's part of a block. Returns 1 if the span ends in it, 0 if the block is used up. */
static int tag_part(struct sfs_points *points, const uint8_t *data, uint64_t offset, uint64_t end)
{
    uint64_t span_start, span_end;
    if (!find_edges(points, points->tagging, &span_start, &span_end) || span_start > end)
        return 0;
    if (!points->tag_is_open && open_tag(points, span_start) < 0)
        return -ENOMEM;
    /* A byte shared with the span before may be the last one of the block before. */
    if (points->tagged + 1 == offset) {
        if (sfs_gmac_add(points->gmac, &points->last_byte, 1) < 0)
            return -ENOMEM;
        points->tagged++;
    }
    uint64_t part_end = span_end < end ? span_end : end;
    if (part_end > points->tagged) {
        if (sfs_gmac_add(points->gmac, data + (points->tagged - offset),
                         part_end - points->tagged) < 0)
            return -ENOMEM;
        points->tagged = part_end;
    }
    if (span_end > end)
        return 0;
    return close_tag(points) < 0 ? -ENOMEM : 1;
}

int sfs_points_tag(struct sfs_points *points, const uint8_t *data, size_t size, uint64_t offset)
{
    int r = compress_windows(points, data, size, offset);
    if (r < 0)
        return r;
    do
        r = tag_part(points, data, offset, offset + size);
    while (r == 1);
    if (size > 0)
        points->last_byte = data[size - 1];
    return r;
}

static int make_last_tags(struct sfs_points *points)
{
    int r = compress_windows(points, NULL, 0, UINT64_MAX);
    while (r == 0 && points->tagging < points->count) {
        if (!points->tag_is_open)
            r = open_tag(points, 0);
        if (r == 0)
            r = close_tag(points);
    }
    return r;
}

int sfs_points_finish(struct sfs_points *points, struct sfs_seek_table *ret_table)
{
    int r = make_last_tags(points);
    if (r < 0)
        return r;
    *ret_table = (struct sfs_seek_table){
        .check = SFS_CHECK_GMAC,
        .count = points->count,
        .points = points->points,
        .tags = (const uint8_t *)points->tags.data,
        .windows = (const uint8_t *)points->windows.data,
        .windows_size = points->windows.size,
    };
    memcpy(ret_table->key, points->key, sizeof ret_table->key);
    return 0;
}
