/* A tar, plain or compressed, as a layer: its index is in the store (tar_index.c); file bytes come
 * from the blob (or its seekable copy) through spans. */
#include "base/hash.h"
#include "layer/header_check.h"
#include "layer/sent_index.h"
#include "layer/tar_index.h"

#define LARGE_FILE (8u << 20) /* whoever reads one to its end hardly goes on with the next */

struct tar_layer {
    struct sfs_layer base;
    struct sfs_index index;
    struct sfs_spans *spans;        /* NULL: names and metadata only */
    struct sfs_blob *windows;       /* of an index that was sent; NULL: none */
    bool is_open_to_doubt;          /* nobody vouches for the index */
    bool is_sent;                   /* somebody else made the index, whoever vouches for it */
    struct sfs_header_check *check; /* what is asked then; NULL: nothing */
};

static int confirm(struct sfs_layer *base, sfs_inode inode, struct sfs_error *err)
{
    struct tar_layer *layer = (struct tar_layer *)base;
    return layer->check ? sfs_header_check_inode(layer->check, inode, err) : 0;
}

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
    int r = confirm(base, inode, err);
    if (r < 0)
        return r;
    uint32_t low = sfs_extent_find(extents, file->count, offset);
    uint64_t next = low < file->count ? extents[low].file_offset : file->size;
    if (offset < next) {
        sfs_layer_lend_hole(next - offset < size ? (size_t)(next - offset) : size, ret_slice);
        return 0;
    }
    uint64_t skip = offset - extents[low].file_offset, room = extents[low].size - skip;
    r = layer->check ? sfs_header_check_span(layer->check, extents[low].data_offset + skip, err)
                     : 0;
    if (r < 0)
        return r;
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

/* Where in the decoded stream a reader of the file will stop. Whoever reads a small file may go on
 * with the next. */
static uint64_t stop_of(const struct sfs_layer *base, const struct sfs_inode_rec *file)
{
    if (file->count == 0 || file->size < LARGE_FILE)
        return UINT64_MAX;
    const struct sfs_extent *last = &base->tables.extents[file->first + file->count - 1];
    return last->data_offset + last->size;
}

static void follow(struct sfs_layer *base, sfs_inode inode, uint64_t offset, uint64_t size)
{
    const struct tar_layer *layer = (const struct tar_layer *)base;
    const struct sfs_inode_rec *file = &base->tables.inodes[inode];
    uint64_t at, part, end = end_of(offset, size);
    while (has_bytes(layer, file) && next_run(layer, file, &offset, end, &at, &part))
        sfs_spans_follow(layer->spans, at, part, stop_of(base, file));
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
    /* What is kept under a name counts for every image that has these bytes: a manifest vouches for
     * its own image alone, though it may name another one's layers. */
    if (!layer->spans || layer->is_sent || !S_ISREG(file->mode))
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
    const struct tar_layer *layer = (const struct tar_layer *)base;
    const struct sfs_index *index = &layer->index;
    const struct sfs_digest digests[2] = { index->diff_id, index->digest };
    if (layer->is_sent)
        return false;
    if (index->from_toc)
        return sfs_digest_of(digests, sizeof digests, ret_digest) == 0;
    *ret_digest = index->diff_id;
    return true;
}

static void close_tar(struct sfs_layer *base)
{
    struct tar_layer *layer = (struct tar_layer *)base;
    sfs_header_check_close(&layer->check);
    sfs_spans_close(&layer->spans);
    sfs_blob_close(&layer->windows);
    sfs_index_close(&layer->index);
}

static const struct sfs_layer_ops tar_ops = { .pin = pin,
                                              .prefetch = prefetch,
                                              .follow = follow,
                                              .content_name = content_name,
                                              .confirm = confirm,
                                              .identify = identify,
                                              .find_spans = find_spans,
                                              .close = close_tar };

/* Gives the layer its index and its bytes. ENOENT: they have to be made first. */
static int open_kept(struct tar_layer *layer, struct sfs_store *store, struct sfs_cache *cache,
                     struct sfs_blob **blob, const struct sfs_layer_source *source,
                     struct sfs_error *err)
{
    AUTO(sfs_blob_close) struct sfs_blob *copy = NULL;
    sfs_index_close(&layer->index);
    int r = sfs_tar_index_open(store, source, (*blob)->size, &layer->index, err);
    if (r == 0 && cache && layer->index.copy_size)
        r = sfs_tar_index_open_copy(store, source->key, &layer->index, &copy, err);
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
    r = sfs_tar_index_make(store, *blob, source, progress, err);
    if (r == -EAGAIN) /* what was kept of it was damaged, and is dropped */
        r = sfs_tar_index_make(store, *blob, source, progress, err);
    if (r < 0)
        return r;
    r = open_kept(layer, store, cache, blob, source, err);
    if (r == -ENOENT)
        return sfs_fail(err, EIO, "cache directory %s: the index of %s vanished",
                        sfs_store_dir(store), source->label);
    return r;
}

static int start_layer(const struct sfs_layer_source *source, struct sfs_layer **ret_layer,
                       struct sfs_error *err)
{
    struct tar_layer *layer = calloc(1, sizeof *layer);
    if (!layer)
        return sfs_fail_memory(err);
    layer->base.ops = &tar_ops;
    layer->index.fd = -1;
    layer->base.label = strdup(source->label);
    *ret_layer = &layer->base;
    return layer->base.label ? 0 : sfs_fail_memory(err);
}

int sfs_layer_open_tar(struct sfs_store *store, struct sfs_cache *cache, struct sfs_blob **blob,
                       const struct sfs_layer_source *source, const struct sfs_progress *progress,
                       struct sfs_layer **ret_layer, struct sfs_error *err)
{
    AUTO(sfs_layer_close) struct sfs_layer *base = NULL;
    int r = start_layer(source, &base, err);
    if (r == 0)
        r = open_or_make((struct tar_layer *)base, store, cache, blob, source, progress, err);
    if (r == 0)
        *ret_layer = TAKE(base);
    return r;
}

int sfs_layer_open_indexed(struct sfs_store *store, struct sfs_cache *cache, struct sfs_blob **blob,
                           const struct sfs_layer_source *source, struct sfs_layer **ret_layer,
                           struct sfs_error *err)
{
    AUTO(sfs_layer_close) struct sfs_layer *base = NULL;
    int r = start_layer(source, &base, err);
    if (r == 0)
        r = open_kept((struct tar_layer *)base, store, cache, blob, source, err);
    if (r == 0)
        *ret_layer = TAKE(base);
    return r;
}

static int use_sent(struct tar_layer *layer, struct sfs_cache *cache, struct sfs_blob **blob,
                    const struct sfs_layer_source *source, struct sfs_layer_sent *sent,
                    struct sfs_error *err)
{
    struct sfs_index *index = &layer->index;
    bool is_foreign = index->seek.check == SFS_CHECK_INPUT;
    if (index->seek.windows_size > 0 && !sent->windows && !is_foreign)
        return sfs_fail(err, EBADMSG, "its windows are missing");
    index->seek.windows_blob = sent->windows;
    layer->is_sent = true;
    layer->is_open_to_doubt = !sent->is_vouched;
    /* A program of others may read a tar otherwise than we do, whoever vouches for it. */
    int r = cache && (layer->is_open_to_doubt || is_foreign)
                ? sfs_header_check_open(index, layer->base.label, &layer->check, err)
                : 0;
    if (r == 0 && cache)
        r = sfs_spans_open(cache, blob, &index->seek, source->label, &layer->spans, err);
    if (r < 0)
        return r;
    layer->base.unconfirmed = layer->check && layer->is_open_to_doubt;
    if (layer->check)
        sfs_header_check_use(layer->check, layer->spans);
    layer->windows = TAKE(sent->windows);
    layer->base.tables = index->tables;
    sfs_blob_close(blob);
    return 0;
}

int sfs_layer_open_sent(struct sfs_store *store, struct sfs_cache *cache, struct sfs_blob **blob,
                        const struct sfs_layer_source *source, struct sfs_layer_sent *sent,
                        struct sfs_layer **ret_layer, struct sfs_error *err)
{
    AUTO(sfs_layer_close) struct sfs_layer *base = NULL;
    int r = start_layer(source, &base, err);
    struct tar_layer *layer = (struct tar_layer *)base;
    if (r == 0)
        r = sfs_sent_index_open(store, sent->key, source, &layer->index, err);
    if (r == 0)
        r = use_sent(layer, cache, blob, source, sent, err);
    if (r == 0)
        *ret_layer = TAKE(base);
    return r;
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
