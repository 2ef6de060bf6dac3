/* Where SOCI's table says that a layer can be entered. Of gzip: "zinfo", all little-endian:
 *
 *    0  number of points i32     4  bytes of a span i64
 *   12  points of 32,785 bytes each: offset in the blob of the first whole byte i64; decoded offset
 *       i64; bits of the byte before that belong to it u8; the 32 KiB that were decoded before
 *
 * Blobs of the first version leave out the first point: it stands behind a header of ten bytes. The
 * size alone tells them apart. Of plain tars: a FlatBuffer with the size of all spans. */
#include "layer/ztoc.h"

#include "base/limits.h"
#include <endian.h>
#include <errno.h>
#include <zstd.h>

enum { POINTS_ALGORITHM, POINTS_LAST, POINTS_DIGESTS, POINTS_DATA };
enum { GZIP = 1, PLAIN = 2 }; /* the algorithms */
enum { TAR_VERSION, TAR_SPAN_SIZE, TAR_SIZE };

#define HEAD_SIZE    12u
#define POINT_SIZE   (17u + SFS_WINDOW_MAX)
#define FIRST_HEADER 10u /* bytes of gzip's header without optional fields */
#define LEVEL        1   /* windows are packed once for each host, and opening waits for it */

/* What is made of the table's points. */
struct making_points {
    const struct sfs_ztoc *ztoc;
    struct sfs_ztoc_points *made;
    ZSTD_CCtx *zstd;
    uint8_t packed[SFS_WINDOW_STORED_MAX];
};

static void close_zstd(ZSTD_CCtx **zstd)
{
    ZSTD_freeCCtx(*zstd);
}

void sfs_ztoc_points_done(struct sfs_ztoc_points *points)
{
    sfs_buf_close(&points->points);
    sfs_buf_close(&points->tags);
    sfs_buf_close(&points->windows);
}

static uint64_t load64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return le64toh(value);
}

static int fail_size(struct sfs_error *err)
{
    return sfs_fail(err, EBADMSG, "its points are not of the size that it says");
}

/* ---- digests */

static int add_digest(struct sfs_ztoc_points *made, const struct sfs_flatbuffer_vector *texts,
                      uint32_t i, struct sfs_error *err)
{
    struct sfs_flatbuffer_text text;
    struct sfs_digest digest;
    int r = sfs_flatbuffer_text_at(texts, i, &text, err);
    if (r < 0)
        return r;
    if (sfs_digest_parse(text.data, &digest, NULL) < 0)
        return sfs_fail(err, EBADMSG, "the digest of span %u is no SHA-256", i);
    return sfs_buf_add(&made->tags, digest.bytes, sizeof digest.bytes) < 0 ? sfs_fail_memory(err)
                                                                           : 0;
}

static int read_digests(const struct sfs_ztoc *ztoc, uint32_t count, struct sfs_ztoc_points *made,
                        struct sfs_error *err)
{
    struct sfs_flatbuffer_vector texts;
    int64_t last;
    int r = sfs_flatbuffer_vector(&ztoc->points, POINTS_DIGESTS, sizeof(uint32_t), &texts, err);
    if (r == 0)
        r = sfs_flatbuffer_number(&ztoc->points, POINTS_LAST, 4, 0, &last, err);
    if (r < 0)
        return r;
    if (texts.count < count || last + 1 != texts.count)
        return sfs_fail(err, EBADMSG, "it has not one digest for each span");
    for (uint32_t i = 0; i < count && r == 0; i++)
        r = add_digest(made, &texts, i, err);
    return r;
}

/* ---- gzip */

/* Packs the window as our own indexes have theirs: a zstd frame with a checksum. */
static int add_window(struct making_points *making, const uint8_t *window, struct sfs_point *point,
                      struct sfs_error *err)
{
    struct sfs_buf *windows = &making->made->windows;
    size_t size =
        ZSTD_compress2(making->zstd, making->packed, sizeof making->packed, window, SFS_WINDOW_MAX);
    if (ZSTD_isError(size))
        return sfs_fail_memory(err);
    point->window = windows->size;
    point->window_size = (uint32_t)size & 0xffffffu;
    return sfs_buf_add(windows, making->packed, size) < 0 ? sfs_fail_memory(err) : 0;
}

static int add_point(struct making_points *making, const uint8_t *record, struct sfs_error *err)
{
    struct sfs_point point = { .in = load64(record), .out = load64(record + 8) };
    unsigned bits = record[16];
    if (bits > 7)
        return sfs_fail(err, EBADMSG, "a point starts nowhere");
    point.bits = SFS_POINT_RAW | bits;
    int r = point.out > 0 ? add_window(making, record + 17, &point, err) : 0;
    if (r < 0)
        return r;
    return sfs_buf_add(&making->made->points, &point, sizeof point) < 0 ? sfs_fail_memory(err) : 0;
}

static int add_first_point(struct making_points *making, struct sfs_error *err)
{
    const struct sfs_point point = { .in = FIRST_HEADER, .bits = SFS_POINT_RAW };
    return sfs_buf_add(&making->made->points, &point, sizeof point) < 0 ? sfs_fail_memory(err) : 0;
}

/* How many points stand in the data, of how many in all. */
static int count_points(const uint8_t *data, size_t size, uint32_t *ret_all, uint32_t *ret_there,
                        struct sfs_error *err)
{
    uint32_t all;
    if (size < HEAD_SIZE)
        return fail_size(err);
    memcpy(&all, data, sizeof all);
    all = le32toh(all);
    uint64_t there = (size - HEAD_SIZE) / POINT_SIZE;
    if ((size - HEAD_SIZE) % POINT_SIZE != 0 || all == 0 || (there != all && there + 1 != all))
        return fail_size(err);
    *ret_all = all;
    *ret_there = (uint32_t)there;
    return 0;
}

static int read_gzip(struct making_points *making, const uint8_t *data, size_t size,
                     struct sfs_error *err)
{
    AUTO(close_zstd) ZSTD_CCtx *zstd = making->zstd = ZSTD_createCCtx();
    uint32_t all = 0, there = 0;
    int r = count_points(data, size, &all, &there, err);
    if (r < 0)
        return r;
    if (!zstd || ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, LEVEL)))
        return sfs_fail_memory(err);
    if (there < all)
        r = add_first_point(making, err);
    for (uint32_t i = 0; i < there && r == 0; i++)
        r = add_point(making, data + HEAD_SIZE + (size_t)i * POINT_SIZE, err);
    making->made->seek.out_size = making->ztoc->out_size;
    return r;
}

/* ---- plain tars */

static int read_plain(struct making_points *making, const uint8_t *data, size_t size,
                      struct sfs_error *err)
{
    const struct sfs_flatbuffer buffer = { data, size };
    struct sfs_flatbuffer_table table;
    int64_t span_size, all;
    int r = sfs_flatbuffer_root(&buffer, &table, err);
    if (r == 0)
        r = sfs_flatbuffer_number(&table, TAR_SPAN_SIZE, 8, 0, &span_size, err);
    if (r == 0)
        r = sfs_flatbuffer_number(&table, TAR_SIZE, 8, 0, &all, err);
    if (r < 0)
        return r;
    if (all <= 0 || (uint64_t)all != making->ztoc->in_size || span_size <= 0 ||
        all / span_size > (int64_t)(making->ztoc->buffer.size / sizeof(uint32_t)))
        return fail_size(err);
    for (int64_t at = 0; at < all; at += span_size) {
        const struct sfs_point point = { .in = (uint64_t)at, .out = (uint64_t)at };
        if (sfs_buf_add(&making->made->points, &point, sizeof point) < 0)
            return sfs_fail_memory(err);
    }
    making->made->seek.out_size = (uint64_t)all;
    return 0;
}

/* ---- both */

static int read_points(struct making_points *making, enum sfs_codec codec, struct sfs_error *err)
{
    const struct sfs_ztoc *ztoc = making->ztoc;
    struct sfs_flatbuffer_vector data;
    int64_t algorithm;
    int r = sfs_flatbuffer_number(&ztoc->points, POINTS_ALGORITHM, 1, GZIP, &algorithm, err);
    if (r == 0)
        r = sfs_flatbuffer_vector(&ztoc->points, POINTS_DATA, 1, &data, err);
    if (r < 0)
        return r;
    const uint8_t *bytes = ztoc->buffer.data + data.at;
    if (algorithm == GZIP && codec == SFS_CODEC_GZIP)
        return read_gzip(making, bytes, data.count, err);
    if (algorithm == PLAIN && codec == SFS_CODEC_NONE)
        return read_plain(making, bytes, data.count, err);
    return sfs_fail(err, ENOTSUP, "its points are not of a %s layer", sfs_codec_name(codec));
}

/* Go's reader stops at the tar's end, and points may come behind that: nothing of theirs is needed,
 * and the last span that is needed ends where they begin. */
static void cut_end(struct sfs_seek_table *seek)
{
    while (seek->count > 1 && seek->points[seek->count - 1].out >= seek->out_size) {
        seek->count--;
        seek->in_size = seek->points[seek->count].in;
    }
}

int sfs_ztoc_points_read(const struct sfs_ztoc *ztoc, enum sfs_codec codec, uint64_t blob_size,
                         struct sfs_ztoc_points *ret_points, struct sfs_error *err)
{
    *ret_points = (struct sfs_ztoc_points){ 0 };
    struct sfs_seek_table *seek = &ret_points->seek;
    AUTO(sfs_free) struct making_points *making = calloc(1, sizeof *making);
    if (!making)
        return sfs_fail_memory(err);
    *making = (struct making_points){ .ztoc = ztoc, .made = ret_points };
    if (ztoc->in_size != blob_size)
        return sfs_fail(err, EBADMSG, "it is of another layer, which has %llu bytes",
                        (unsigned long long)ztoc->in_size);
    int r = read_points(making, codec, err);
    if (r < 0)
        return r;
    seek->codec = codec;
    seek->check = SFS_CHECK_INPUT;
    seek->in_size = blob_size;
    seek->count = (uint32_t)(ret_points->points.size / sizeof(struct sfs_point));
    seek->points = (const void *)ret_points->points.data;
    seek->windows = (const void *)ret_points->windows.data;
    seek->windows_size = ret_points->windows.size;
    r = read_digests(ztoc, seek->count, ret_points, err);
    if (r < 0)
        return r;
    seek->tags = (const void *)ret_points->tags.data;
    cut_end(seek);
    return sfs_seek_check(seek, blob_size, err);
}
