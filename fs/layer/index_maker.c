/* Where the blob that is being written gets points, and the index that comes of it. */
#include "layer/index_maker.h"

#include "blob/unpack_points.h"
#include "layer/index.h"
#include <stdatomic.h>

/* Decoded bytes after which a place is worth a point: as a pass has it (blob/unpack_pipe.c). */
#define SPACING (256u << 10)

struct sfs_index_maker {
    enum sfs_codec codec;
    struct sfs_builder *builder;
    struct sfs_points points;
    uint64_t out, in;               /* decoded and stored bytes of the blocks so far */
    uint64_t point_out, point_in;   /* `out` and `in` of the last point */
    uint64_t frames;                /* how many frames have begun */
    uint8_t window[SFS_WINDOW_MAX]; /* the last decoded bytes */
    size_t window_size;
    atomic_bool gave_up;
    bool is_complete;       /* the index is made */
    struct sfs_index index; /* borrows from the points and from `memory` */
    void *memory;
};

struct sfs_index_maker *sfs_index_maker_open(enum sfs_codec codec)
{
    AUTO(sfs_index_maker_close) struct sfs_index_maker *maker = calloc(1, sizeof *maker);
    if (!maker)
        return NULL;
    maker->codec = codec;
    maker->builder = sfs_builder_open();
    if (!maker->builder || sfs_points_init(&maker->points) < 0)
        return NULL;
    return TAKE(maker);
}

void sfs_index_maker_close(struct sfs_index_maker **maker_ptr)
{
    struct sfs_index_maker *maker = *maker_ptr;
    if (!maker)
        return;
    *maker_ptr = NULL;
    sfs_builder_close(&maker->builder);
    sfs_points_done(&maker->points);
    sfs_tables_close(&maker->memory);
    free(maker);
}

struct sfs_builder *sfs_index_maker_names(struct sfs_index_maker *maker)
{
    return maker->builder;
}

void sfs_index_maker_give_up(struct sfs_index_maker *maker)
{
    maker->gave_up = true;
}

/* ---- blocks ---- */

static bool is_far(const struct sfs_index_maker *maker)
{
    return maker->points.count == 0 || maker->out - maker->point_out >= SPACING ||
           maker->in - maker->point_in >= SFS_SPAN_IN_MAX / 8;
}

static int add_point(struct sfs_index_maker *maker, uint64_t in, uint8_t bits, size_t window_size)
{
    const uint8_t *window = maker->window + maker->window_size - window_size;
    maker->point_out = maker->out;
    maker->point_in = in;
    return sfs_points_add(&maker->points, maker->out, in, bits, window, window_size);
}

/* Blocks of nothing do not count as places: where they start, what is behind them starts too. */
static int see_place(struct sfs_index_maker *maker, const struct sfs_made_block *block)
{
    maker->frames += block->entry == SFS_ENTER_FRAME;
    if (block->entry == SFS_ENTER_FRAME && is_far(maker))
        return add_point(maker, maker->in, 0, 0);
    if (block->entry == SFS_ENTER_RAW && is_far(maker))
        return add_point(maker, maker->in + block->raw_skip,
                         (uint8_t)(SFS_POINT_RAW | block->raw_bits), maker->window_size);
    return 0;
}

static void keep_window(struct sfs_index_maker *maker, const void *plain, size_t size)
{
    size_t kept = size < SFS_WINDOW_MAX ? size : SFS_WINDOW_MAX;
    size_t before = SFS_WINDOW_MAX - kept;
    before = before < maker->window_size ? before : maker->window_size;
    memmove(maker->window, maker->window + maker->window_size - before, before);
    memcpy(maker->window + before, (const uint8_t *)plain + size - kept, kept);
    maker->window_size = before + kept;
}

void sfs_index_maker_add(struct sfs_index_maker *maker, const struct sfs_made_block *block)
{
    if (maker->gave_up)
        return;
    if (see_place(maker, block) < 0 || maker->points.count == 0 ||
        sfs_points_tag(&maker->points, block->packed, block->packed_size, maker->in) < 0) {
        maker->gave_up = true;
        return;
    }
    if (maker->codec == SFS_CODEC_GZIP)
        keep_window(maker, block->plain, block->plain_size);
    maker->out += block->plain_size;
    maker->in += block->packed_size;
}

/* ---- the file ---- */

static int get_table(struct sfs_index_maker *maker, struct sfs_seek_table *ret_table)
{
    struct sfs_points *points = &maker->points;
    sfs_points_end(points, maker->in);
    if (sfs_points_tag(points, NULL, 0, maker->in) < 0 || sfs_points_finish(points, ret_table) < 0)
        return -ENOMEM;
    ret_table->codec = maker->codec;
    ret_table->in_size = maker->in;
    ret_table->is_framed = maker->codec != SFS_CODEC_NONE && maker->frames > 1;
    ret_table->out_size = maker->out;
    return 0;
}

/* Makes the index of what was added, once. */
static int complete(struct sfs_index_maker *maker, const struct sfs_made_blob *blob,
                    struct sfs_error *err)
{
    struct sfs_index *index = &maker->index;
    if (maker->gave_up)
        return sfs_fail(err, ENOTSUP, "the index was not made");
    if (maker->is_complete)
        return 0;
    *index = (struct sfs_index){ .fd = -1,
                                 .digest = blob->digest,
                                 .diff_id = blob->diff_id,
                                 .blob_size = blob->size,
                                 .codec = maker->codec };
    maker->gave_up = true; /* what fails here fails for good */
    if (get_table(maker, &index->seek) < 0)
        return sfs_fail_memory(err);
    int r = sfs_seek_check(&index->seek, blob->size, err);
    if (r == 0)
        r = sfs_builder_finish(maker->builder, &index->tables, &maker->memory, err);
    if (r < 0)
        return r;
    maker->gave_up = false;
    maker->is_complete = true;
    return 0;
}

int sfs_index_maker_write(struct sfs_index_maker *maker, const struct sfs_made_blob *blob, int fd,
                          struct sfs_error *err)
{
    int r = complete(maker, blob, err);
    return r < 0 ? r : sfs_index_write(fd, &maker->index, err);
}

static int keep(struct sfs_index_maker *maker, struct sfs_store *store, const char *key,
                const struct sfs_made_blob *blob, struct sfs_error *err)
{
    AUTO(sfs_io_temp_close) struct sfs_io_temp file = { .fd = -1, .dirfd = -1 };
    int r = complete(maker, blob, err);
    if (r == 0)
        r = sfs_store_start_file(store, SFS_STORE_INDEX, &file, err);
    if (r == 0)
        r = sfs_index_write(file.fd, &maker->index, err);
    if (r == 0)
        r = sfs_store_commit_file(store, SFS_STORE_INDEX, key, &file, err);
    return r;
}

int sfs_index_maker_finish(struct sfs_index_maker *maker, struct sfs_store *store,
                           const struct sfs_made_blob *blob, struct sfs_error *err)
{
    char key[SFS_DIGEST_TEXT];
    AUTO(sfs_close_fd) int fd = -1;
    AUTO(sfs_store_unlock) struct sfs_store_lock lock = { .fd = -1 };
    if (maker->gave_up)
        return sfs_fail(err, ENOTSUP, "the index was not made");
    int r = sfs_store_lock(store, sfs_digest_print(&blob->digest, key), &lock, err);
    if (r < 0 || sfs_store_open_file(store, SFS_STORE_INDEX, key, &fd, NULL) == 0)
        return r;
    return keep(maker, store, key, blob, err);
}
