/* A tar, plain or compressed, as a layer: its index is looked up in the store or made there by one
 * pass over the blob; file bytes come from the blob (or its seekable copy) through spans. */
#include "blob/codecs.h"
#include "base/hash.h"
#include "layer/index.h"
#include "layer/layer.h"
#include "layer/store.h"
#include "layer/tar_read.h"
#include "layer/toc.h"
#include "layer/verified.h"

#include <isa-l/crc64.h>
#include <stagefs/format.h>

struct tar_layer {
    struct sfs_layer base;
    struct sfs_index index;
    struct sfs_spans *spans; /* NULL: names and metadata only */
};

static int pin(struct sfs_layer *base, sfs_inode inode, uint64_t offset, size_t size,
               struct sfs_slice *ret_slice, struct sfs_error *err)
{
    struct tar_layer *layer = (struct tar_layer *)base;
    if (!layer->spans)
        return sfs_fail(err, EIO, "%s: opened without its bytes", base->label);
    const struct sfs_inode_rec *file = &base->tables.inodes[inode];
    const struct sfs_extent *extents = base->tables.extents + file->first;
    if (!S_ISREG(file->mode) || offset >= file->size || size == 0)
        return sfs_fail(err, EINVAL, "%s: no such bytes", base->label);
    uint32_t low = sfs_extent_find(extents, file->count, offset);
    uint64_t next = low < file->count ? extents[low].file_offset : file->size;
    if (offset < next) {
        sfs_layer_lend_hole(next - offset < size ? (size_t)(next - offset) : size, ret_slice);
        return 0;
    }
    uint64_t skip = offset - extents[low].file_offset, room = extents[low].size - skip;
    return sfs_spans_pin(layer->spans, extents[low].data_offset + skip,
                         size < room ? size : (size_t)room, ret_slice, err);
}

/* Finds the next run of stored bytes in [*offset, end) of a file, as [*ret_at, +*ret_size) of the
 * tar; *offset is then behind it. False: there is none. */
static bool next_run(const struct tar_layer *layer, const struct sfs_inode_rec *file,
                     uint64_t *offset, uint64_t end, uint64_t *ret_at, uint64_t *ret_size)
{
    const struct sfs_extent *extents = layer->base.tables.extents + file->first;
    uint32_t i = sfs_extent_find(extents, file->count, *offset);
    if (i == file->count)
        return false;
    uint64_t from = extents[i].file_offset > *offset ? extents[i].file_offset : *offset;
    uint64_t to = extents[i].file_offset + extents[i].size;
    to = to < end ? to : end;
    if (from >= to)
        return false;
    *ret_at = extents[i].data_offset + (from - extents[i].file_offset);
    *ret_size = to - from;
    *offset = to;
    return true;
}

static bool has_bytes(const struct tar_layer *layer, const struct sfs_inode_rec *file)
{
    return layer->spans && S_ISREG(file->mode);
}

static uint64_t end_of(uint64_t offset, uint64_t size)
{
    uint64_t end;
    return __builtin_add_overflow(offset, size, &end) ? UINT64_MAX : end;
}

static bool prefetch(struct sfs_layer *base, sfs_inode inode, uint64_t offset, uint64_t size,
                     enum sfs_pool_priority priority)
{
    const struct tar_layer *layer = (const struct tar_layer *)base;
    const struct sfs_inode_rec *file = &base->tables.inodes[inode];
    uint64_t at, part, end = end_of(offset, size);
    while (has_bytes(layer, file) && next_run(layer, file, &offset, end, &at, &part))
        if (!sfs_spans_prefetch(layer->spans, at, part, priority))
            return false;
    return true;
}

static void follow(struct sfs_layer *base, sfs_inode inode, uint64_t offset, uint64_t size)
{
    const struct tar_layer *layer = (const struct tar_layer *)base;
    const struct sfs_inode_rec *file = &base->tables.inodes[inode];
    uint64_t at, part, end = end_of(offset, size);
    while (has_bytes(layer, file) && next_run(layer, file, &offset, end, &at, &part))
        sfs_spans_follow(layer->spans, at, part);
}

/* Digests what decides a file's bytes: the blob, how it is decoded, and where in that they lie. */
static int digest_place(const struct sfs_index *index, const struct sfs_inode_rec *file,
                        struct sfs_digest *ret_digest)
{
    const struct sfs_extent *extents = index->tables.extents + file->first;
    const uint32_t form[2] = { SFS_INDEX_VERSION, index->from_toc };
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    if (!hash || sfs_hash_add(hash, form, sizeof form) < 0 ||
        sfs_hash_add(hash, &index->diff_id, sizeof index->diff_id) < 0 ||
        sfs_hash_add(hash, &file->size, sizeof file->size) < 0 ||
        sfs_hash_add(hash, extents, sizeof *extents * file->count) < 0 ||
        sfs_hash_finish(hash, ret_digest) < 0)
        return -ENOMEM;
    return 0;
}

static int content_name(struct sfs_layer *base, sfs_inode inode, char ret_name[SFS_CONTENT_NAME])
{
    const struct tar_layer *layer = (struct tar_layer *)base;
    const struct sfs_inode_rec *file = &base->tables.inodes[inode];
    if (!layer->spans || !S_ISREG(file->mode))
        return -ENOENT;
    uint64_t data = 0;
    for (uint32_t i = 0; i < file->count; i++)
        data += base->tables.extents[file->first + i].size;
    if (data != file->size)
        return -ENOENT;
    struct sfs_digest place;
    int r = digest_place(&layer->index, file, &place);
    if (r < 0)
        return r;
    char blob_text[SFS_DIGEST_TEXT], place_text[SFS_DIGEST_TEXT];
    snprintf(ret_name, SFS_CONTENT_NAME, "%s.%.32s",
             sfs_digest_print(&layer->index.digest, blob_text),
             sfs_digest_print(&place, place_text) + strlen("sha256:"));
    return 0;
}

static struct sfs_spans *find_spans(struct sfs_layer *base, sfs_inode inode, uint64_t offset,
                                    uint64_t *ret_position, uint64_t *ret_size)
{
    const struct tar_layer *layer = (const struct tar_layer *)base;
    const struct sfs_inode_rec *file = &base->tables.inodes[inode];
    uint64_t start = offset;
    bool is_there = has_bytes(layer, file) &&
                    next_run(layer, file, &offset, file->size, ret_position, ret_size);
    return is_there && offset - *ret_size == start ? layer->spans : NULL;
}

/* Gives the tar's digest; of a layer indexed by a table of contents, a digest of the table's digest
 * and the blob's. */
static bool identify(const struct sfs_layer *base, struct sfs_digest *ret_digest)
{
    const struct sfs_index *index = &((const struct tar_layer *)base)->index;
    const struct sfs_digest digests[2] = { index->diff_id, index->digest };
    if (index->from_toc)
        return sfs_digest_of(digests, sizeof digests, ret_digest) == 0;
    *ret_digest = index->diff_id;
    return true;
}

static void close_tar(struct sfs_layer *base)
{
    struct tar_layer *layer = (struct tar_layer *)base;
    sfs_spans_close(&layer->spans);
    sfs_index_close(&layer->index);
}

static const struct sfs_layer_ops tar_ops = { .pin = pin,
                                              .prefetch = prefetch,
                                              .follow = follow,
                                              .content_name = content_name,
                                              .identify = identify,
                                              .find_spans = find_spans,
                                              .close = close_tar };

/* Index and copy are two files, and only together are they right: the copy ends with a zstd
 * skippable frame that holds a number from its index. */
struct copy_mark {
    uint32_t magic, size;
    uint64_t id;
};
#define COPY_MARK_MAGIC 0x184d2a5eu

static struct copy_mark make_mark(const struct sfs_index *index)
{
    const struct sfs_seek_table *seek = &index->seek;
    uint64_t id = crc64_ecma_refl(0, seek->key, sizeof seek->key);
    if (seek->tags && seek->check == SFS_CHECK_GMAC)
        id = crc64_ecma_refl(id, seek->tags, 16ull * seek->count);
    id = crc64_ecma_refl(id, (const unsigned char *)seek->points,
                         sizeof *seek->points * seek->count);
    return (struct copy_mark){ COPY_MARK_MAGIC, sizeof(uint64_t), id };
}

/* Opens the seekable copy. ENOENT: the store has none that belongs to the index. */
static int open_copy(struct sfs_store *store, const char *key, const struct sfs_index *index,
                     struct sfs_blob **ret_blob, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = -1;
    int r = sfs_store_open_file(store, SFS_STORE_COPY, key, &fd, err);
    if (r < 0)
        return r;
    struct copy_mark mark, expected = make_mark(index);
    ssize_t size = sfs_io_read_at(fd, &mark, sizeof mark, index->copy_size);
    if (size != sizeof mark || memcmp(&mark, &expected, sizeof mark) != 0)
        return sfs_fail(err, ENOENT, "the seekable copy does not belong to the index");
    return sfs_blob_open_file(&fd, "seekable copy in the cache", 0, index->copy_size, ret_blob,
                              err);
}

/* Opens the index. ENOENT: the store has none that is whole and fits the source. */
static int open_index(struct sfs_store *store, const struct sfs_layer_source *source,
                      uint64_t blob_size, struct sfs_index *ret_index, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = -1;
    AUTO(sfs_index_close) struct sfs_index index = { .fd = -1 };
    int r = sfs_store_open_file(store, SFS_STORE_INDEX, source->key, &fd, err);
    if (r < 0)
        return r;
    r = sfs_index_open(&fd, &index, err);
    if (r == -EBADMSG)
        return -ENOENT;
    if (r < 0)
        return r;
    if (index.codec != source->codec || index.blob_size != blob_size ||
        (source->has_digest && !sfs_digest_equal(&index.digest, &source->digest)))
        return sfs_fail(err, ENOENT, "the index is of another blob");
    /* Whoever wrote another manifest may have made up the table, and the blob of that name. */
    if (index.from_toc && !sfs_toc_vouches(source, &index))
        return sfs_fail(err, ENOENT, "the index is of another table of contents");
    if (!index.from_toc && source->has_diff_id &&
        !sfs_digest_equal(&index.diff_id, &source->diff_id))
        return sfs_fail(err, EKEYREJECTED, "%s: the tar inside does not match its diff_id",
                        source->label);
    *ret_index = index;
    index = (struct sfs_index){ .fd = -1 };
    return 0;
}

/* What making an index needs besides the blob. */
struct making {
    struct sfs_store *store;
    const struct sfs_layer_source *source;
    struct sfs_blob *blob;
    const struct sfs_progress *progress;
    struct sfs_io_temp index_file, copy_file;
    struct sfs_unpack *unpack;
    struct sfs_unpacked unpacked;
    struct sfs_builder *builder;
};

static void close_making(struct making *making)
{
    sfs_unpack_close(&making->unpack);
    sfs_unpacked_close(&making->unpacked);
    sfs_builder_close(&making->builder);
    sfs_io_temp_close(&making->index_file);
    sfs_io_temp_close(&making->copy_file);
}

static int check_digest(const struct making *making, const struct sfs_digest *actual,
                        struct sfs_error *err)
{
    const struct sfs_layer_source *source = making->source;
    char text[SFS_DIGEST_TEXT];
    if (!source->has_digest || sfs_digest_equal(actual, &source->digest))
        return 0;
    sfs_digest_print(&source->digest, text);
    if (making->blob->size < source->size)
        return sfs_fail(err, EKEYREJECTED,
                        "layer %s does not match its digest (it is truncated: %llu of %llu byte%s)",
                        text, (unsigned long long)making->blob->size,
                        (unsigned long long)source->size, sfs_plural(source->size));
    return sfs_fail(err, EKEYREJECTED, "layer %s does not match its digest", text);
}

/* Reads the tar out of the blob. If that fails, and the blob is not what its digest says, only the
 * latter is told: it explains the former. */
static int read_blob(struct making *making, struct sfs_error *err)
{
    const struct sfs_layer_source *source = making->source;
    struct sfs_error read_err = { 0 }, finish_err = { 0 };
    const struct sfs_tar_read_options options = {
        .is_estargz = sfs_toc_is_estargz(source, making->blob),
        .progress = making->progress,
        .label = source->label,
    };
    int read_r = sfs_tar_read(making->unpack, making->builder, &options, &read_err);
    int finish_r = sfs_unpack_finish(making->unpack, &making->unpacked, &finish_err);
    if (finish_r == 0 || finish_r == -EBADMSG) {
        int r = check_digest(making, &making->unpacked.in_digest, err);
        if (r < 0)
            return r;
    }
    if (finish_r == -ENOSPC || finish_r == -EDQUOT || finish_r == -EFBIG)
        return sfs_fail(err, -finish_r, "cache directory %s: %s", sfs_store_dir(making->store),
                        finish_err.text);
    if (finish_r < 0)
        return sfs_fail(err, -finish_r, "%s: %s", source->label, finish_err.text);
    if (read_r < 0)
        return sfs_fail(err, -read_r, "%s: %s", source->label, read_err.text);
    if (source->has_diff_id && !sfs_digest_equal(&making->unpacked.out_digest, &source->diff_id)) {
        char text[SFS_DIGEST_TEXT];
        return sfs_fail(err, EKEYREJECTED, "%s: the tar inside does not match its diff_id %s",
                        source->label, sfs_digest_print(&source->diff_id, text));
    }
    return 0;
}

static int write_mark(int fd, const struct sfs_index *index)
{
    struct copy_mark mark = make_mark(index);
    if (lseek(fd, (off_t)index->copy_size, SEEK_SET) < 0)
        return -errno;
    return sfs_io_write_all(fd, &mark, sizeof mark);
}

static int write_files(struct making *making, struct sfs_error *err)
{
    AUTO(sfs_tables_close) void *memory = NULL;
    const struct sfs_layer_source *source = making->source;
    struct sfs_index index = {
        .fd = -1,
        .digest = making->unpacked.in_digest,
        .diff_id = making->unpacked.out_digest,
        .blob_size = making->blob->size,
        .copy_size = making->unpacked.uses_copy ? making->unpacked.copy_size : 0,
        .codec = source->codec,
        .seek = making->unpacked.table,
    };
    int r = sfs_builder_finish(making->builder, &index.tables, &memory, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", source->label);
    sfs_builder_close(&making->builder);
    r = sfs_index_write(making->index_file.fd, &index, err);
    if (r < 0)
        return sfs_fail_while(err, r, "cache directory %s", sfs_store_dir(making->store));
    if (making->unpacked.uses_copy) {
        r = write_mark(making->copy_file.fd, &index);
        if (r < 0)
            return sfs_fail_errno(err, -r, "cache directory %s: writing a seekable copy",
                                  sfs_store_dir(making->store));
        r = sfs_store_commit_file(making->store, SFS_STORE_COPY, source->key, &making->copy_file,
                                  err);
        if (r < 0)
            return r;
    }
    return sfs_store_commit_file(making->store, SFS_STORE_INDEX, source->key, &making->index_file,
                                 err);
}

/* 1: the layer brings a table of contents, and has its index; 0: the blob has to be read. */
static int write_toc_index(struct making *making, struct sfs_error *err)
{
    int fd = making->index_file.fd;
    int r = sfs_toc_write(making->blob, making->source, making->progress, fd, err);
    if (r < 0)
        return sfs_fail_while(err, r, "cache directory %s", sfs_store_dir(making->store));
    if (r == 0)
        return 0;
    r = sfs_store_commit_file(making->store, SFS_STORE_INDEX, making->source->key,
                              &making->index_file, err);
    return r < 0 ? r : 1;
}

/* EAGAIN: what is kept here of a blob on another machine was wrong: another pass may do better. */
static int make_index(struct sfs_store *store, struct sfs_blob *blob,
                      const struct sfs_layer_source *source, const struct sfs_progress *progress,
                      struct sfs_error *err)
{
    AUTO(close_making)
    struct making making = { .store = store,
                             .source = source,
                             .blob = blob,
                             .progress = progress,
                             .index_file = { .fd = -1, .dirfd = -1 },
                             .copy_file = { .fd = -1, .dirfd = -1 } };
    char what[96];
    snprintf(what, sizeof what, "indexing %.19s", source->key);
    /* This comes first, so that a cache that cannot be written to costs no time. */
    int r = sfs_store_start_file(store, SFS_STORE_INDEX, &making.index_file, err);
    if (r == 0)
        r = write_toc_index(&making, err);
    if (r > 0)
        return 0;
    if (r == 0 && sfs_codec_get(source->codec)->may_be_copied)
        r = sfs_store_start_file(store, SFS_STORE_COPY, &making.copy_file, err);
    if (r < 0)
        return r;
    struct sfs_unpack_options options = {
        .codec = source->codec, .copy_fd = making.copy_file.fd, .progress = progress, .what = what
    };
    making.builder = sfs_builder_open();
    if (!making.builder)
        return sfs_fail_memory(err);
    int file = sfs_blob_file(blob);
    struct sfs_file_id id;
    bool is_file = file >= 0 && sfs_file_identify(file, &id) == 0;
    r = sfs_unpack_open(blob, &options, &making.unpack, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", source->label);
    sfs_blob_judge(blob, SFS_VERDICT_BEGINS);
    r = read_blob(&making, err);
    bool again = sfs_blob_judge(blob, r == 0               ? SFS_VERDICT_HOLDS
                                      : r == -EKEYREJECTED ? SFS_VERDICT_WRONG
                                                           : SFS_VERDICT_NONE);
    if (again)
        return -EAGAIN;
    if (r == 0)
        r = write_files(&making, err);
    if (r == 0 && is_file && source->has_digest)
        sfs_verified_note(store, file, &id, &source->digest);
    return r;
}

/* Gives the layer its index and its bytes. ENOENT: they have to be made first. */
static int open_kept(struct tar_layer *layer, struct sfs_store *store, struct sfs_cache *cache,
                     struct sfs_blob **blob, const struct sfs_layer_source *source,
                     struct sfs_error *err)
{
    AUTO(sfs_blob_close) struct sfs_blob *copy = NULL;
    sfs_index_close(&layer->index);
    int r = open_index(store, source, (*blob)->size, &layer->index, err);
    if (r == 0 && cache && layer->index.copy_size)
        r = open_copy(store, source->key, &layer->index, &copy, err);
    if (r == 0 && cache)
        r = sfs_spans_open(cache, copy ? &copy : blob, &layer->index.seek, source->label,
                           &layer->spans, err);
    if (r < 0)
        return r;
    layer->base.tables = layer->index.tables;
    sfs_blob_close(blob);
    return 0;
}

static int open_or_make(struct tar_layer *layer, struct sfs_store *store, struct sfs_cache *cache,
                        struct sfs_blob **blob, const struct sfs_layer_source *source,
                        const struct sfs_progress *progress, struct sfs_error *err)
{
    int r = open_kept(layer, store, cache, blob, source, err);
    if (r != -ENOENT)
        return r;
    AUTO(sfs_store_unlock) struct sfs_store_lock lock = { .fd = -1 };
    r = sfs_store_lock(store, source->key, &lock, err);
    if (r < 0)
        return r;
    /* Whoever held the lock before may have made it. */
    r = open_kept(layer, store, cache, blob, source, err);
    if (r != -ENOENT)
        return r;
    r = make_index(store, *blob, source, progress, err);
    if (r == -EAGAIN) /* what was kept of it was damaged, and is dropped */
        r = make_index(store, *blob, source, progress, err);
    if (r < 0)
        return r;
    r = open_kept(layer, store, cache, blob, source, err);
    if (r == -ENOENT)
        return sfs_fail(err, EIO, "cache directory %s: the index of %s vanished",
                        sfs_store_dir(store), source->label);
    return r;
}

int sfs_layer_open_tar(struct sfs_store *store, struct sfs_cache *cache, struct sfs_blob **blob,
                       const struct sfs_layer_source *source, const struct sfs_progress *progress,
                       struct sfs_layer **ret_layer, struct sfs_error *err)
{
    AUTO(sfs_layer_close) struct sfs_layer *base = NULL;
    struct tar_layer *layer = calloc(1, sizeof *layer);
    if (!layer)
        return sfs_fail_memory(err);
    base = &layer->base;
    base->ops = &tar_ops;
    layer->index.fd = -1;
    base->label = strdup(source->label);
    if (!base->label)
        return sfs_fail_memory(err);
    int r = open_or_make(layer, store, cache, blob, source, progress, err);
    if (r < 0)
        return r;
    *ret_layer = TAKE(base);
    return 0;
}

static uint64_t size_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) < 0 ? 0 : (uint64_t)st.st_size;
}

int sfs_layer_get_state(struct sfs_store *store, const char *key, struct sfs_layer_state *ret_state,
                        struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = -1;
    AUTO(sfs_close_fd) int copy_fd = -1;
    AUTO(sfs_index_close) struct sfs_index index = { .fd = -1 };
    *ret_state = (struct sfs_layer_state){ 0 };
    int r = sfs_store_open_file(store, SFS_STORE_INDEX, key, &fd, err);
    if (r == 0)
        r = sfs_index_open(&fd, &index, err);
    if (r == -ENOENT || r == -EBADMSG)
        return 0;
    if (r < 0)
        return r;
    *ret_state = (struct sfs_layer_state){ .indexed = true,
                                           .from_toc = index.from_toc,
                                           .index_size = index.map_size,
                                           .out_size = index.seek.out_size,
                                           .entries = index.tables.entry_count,
                                           .spans = index.seek.count,
                                           .digest = index.digest };
    if (index.copy_size && sfs_store_open_file(store, SFS_STORE_COPY, key, &copy_fd, NULL) == 0)
        ret_state->copy_size = size_of(copy_fd);
    return 0;
}
