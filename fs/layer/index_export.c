/* One pass over the blob digests it whole, and span by span. */
#include "layer/index_export.h"

#include "base/hash.h"
#include "base/limits.h"
#include "layer/index_places.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <zstd.h>

#define READ_BLOCK  (1u << 20)
#define DIGEST_SIZE 32u
#define LEVEL       6

struct exporting {
    struct sfs_blob *blob;
    struct sfs_index *index;
    uint8_t *windows;    /* the section, in memory */
    uint8_t *digests;    /* DIGEST_SIZE a span */
    uint64_t *places;    /* of the entries' headers */
    uint32_t span;       /* whose digest is being made */
    uint64_t start, end; /* its compressed bytes in the blob */
    struct sfs_hash *hash, *whole;
    char *buf;
};

static void exporting_done(struct exporting *self)
{
    free(self->windows);
    free(self->digests);
    free(self->places);
    free(self->buf);
    sfs_hash_close(&self->hash);
    sfs_hash_close(&self->whole);
}

void sfs_exported_index_done(struct sfs_exported_index *exported)
{
    free(exported->head);
    free(exported->windows);
    *exported = (struct sfs_exported_index){ 0 };
}

/* ---- digests */

/* Begins the next span; its window comes first. */
static int begin_span(struct exporting *self)
{
    const struct sfs_seek_table *seek = &self->index->seek;
    const struct sfs_point *point = &seek->points[self->span];
    sfs_seek_input(seek, self->span, &self->start, &self->end);
    sfs_hash_close(&self->hash);
    self->hash = sfs_hash_open();
    if (!self->hash)
        return -ENOMEM;
    return point->window_size
               ? sfs_hash_add(self->hash, self->windows + point->window, point->window_size)
               : 0;
}

static int end_span(struct exporting *self)
{
    struct sfs_digest digest;
    if (sfs_hash_finish(self->hash, &digest) < 0)
        return -ENOMEM;
    memcpy(self->digests + (size_t)self->span * DIGEST_SIZE, digest.bytes, DIGEST_SIZE);
    self->span++;
    return self->span < self->index->seek.count ? begin_span(self) : 0;
}

/* Of a span that begins before the present block, since it shares input with the one before it:
 * what lies there is read again. */
static int add_before(struct exporting *self, uint64_t offset, struct sfs_error *err)
{
    char part[4096];
    for (uint64_t at = self->start; at < offset && at < self->end;) {
        uint64_t left = (self->end < offset ? self->end : offset) - at;
        size_t size = left < sizeof part ? (size_t)left : sizeof part;
        ssize_t n = sfs_blob_read_at(self->blob, part, size, at, err);
        if (n <= 0)
            return n < 0 ? (int)n : sfs_fail(err, EIO, "%s became shorter", self->blob->name);
        if (sfs_hash_add(self->hash, part, (size_t)n) < 0)
            return sfs_fail_memory(err);
        at += (uint64_t)n;
    }
    return 0;
}

/* Takes a block of the blob into the spans that it has a part of. */
static int add_block(struct exporting *self, const char *data, size_t size, uint64_t offset,
                     struct sfs_error *err)
{
    uint64_t end = offset + size;
    bool is_new = false; /* the span began in this block, or would have before it */
    while (self->span < self->index->seek.count && self->start < end) {
        uint64_t from = self->start > offset ? self->start : offset;
        uint64_t to = self->end < end ? self->end : end;
        int r = is_new ? add_before(self, offset, err) : 0;
        if (r < 0)
            return r;
        if (from < to && sfs_hash_add(self->hash, data + (from - offset), (size_t)(to - from)) < 0)
            return sfs_fail_memory(err);
        if (self->end > end)
            return 0;
        if (end_span(self) < 0)
            return sfs_fail_memory(err);
        is_new = true;
    }
    return 0;
}

static int digest_blob(struct exporting *self, struct sfs_error *err)
{
    struct sfs_digest found;
    int r = begin_span(self) < 0 ? sfs_fail_memory(err) : 0;
    for (uint64_t offset = 0; r == 0 && offset < self->blob->size;) {
        ssize_t n = sfs_blob_read_at(self->blob, self->buf, READ_BLOCK, offset, err);
        if (n <= 0)
            return n < 0 ? (int)n : sfs_fail(err, EIO, "%s became shorter", self->blob->name);
        if (sfs_hash_add(self->whole, self->buf, (size_t)n) < 0)
            return sfs_fail_memory(err);
        r = add_block(self, self->buf, (size_t)n, offset, err);
        offset += (uint64_t)n;
    }
    if (r < 0)
        return r;
    if (sfs_hash_finish(self->whole, &found) < 0)
        return sfs_fail_memory(err);
    if (!sfs_digest_equal(&found, &self->index->digest))
        return sfs_fail(err, EKEYREJECTED, "%s does not match the digest that it was indexed with",
                        self->blob->name);
    return self->span == self->index->seek.count
               ? 0
               : sfs_fail(err, EBADMSG, "%s: its index reaches beyond it", self->blob->name);
}

/* ---- the file */

static int read_windows(struct exporting *self, struct sfs_error *err)
{
    const struct sfs_seek_table *seek = &self->index->seek;
    self->windows = malloc(seek->windows_size + 1);
    if (!self->windows)
        return sfs_fail_memory(err);
    ssize_t n =
        sfs_io_read_at(seek->windows_fd, self->windows, seek->windows_size, seek->windows_at);
    if (n < 0 || (uint64_t)n != seek->windows_size)
        return sfs_fail_errno(err, n < 0 ? (int)-n : EIO, "reading a layer index");
    return 0;
}

/* Nobody would take what is larger. */
static int check_size(const struct exporting *self, uint64_t size, uint64_t most,
                      struct sfs_error *err)
{
    if (size <= most)
        return 0;
    return sfs_fail(err, EFBIG,
                    "a part of the index of %s takes %llu bytes, more than other machines take "
                    "(%llu)",
                    self->blob->name, (unsigned long long)size, (unsigned long long)most);
}

/* Packs all before the windows, and the places behind it. */
static int pack_head(const struct exporting *self, const char *data, size_t head_size,
                     struct sfs_exported_index *ret, struct sfs_error *err)
{
    size_t places = self->index->tables.entry_count * sizeof *self->places;
    size_t size = head_size + places;
    int r = check_size(self, size, SFS_MAX_SENT_INDEX, err);
    if (r < 0)
        return r;
    AUTO(sfs_free) char *both = malloc(size);
    if (!both)
        return sfs_fail_memory(err);
    memcpy(both, data, head_size);
    memcpy(both + head_size, self->places, places);
    size_t room = ZSTD_compressBound(size);
    ret->head = malloc(room);
    if (!ret->head)
        return sfs_fail_memory(err);
    ret->head_size = ZSTD_compress(ret->head, room, both, size, LEVEL);
    return ZSTD_isError(ret->head_size) ? sfs_fail_memory(err)
                                        : check_size(self, ret->head_size, SFS_MAX_SENT_HEAD, err);
}

/* Writes the index with the public digests into memory, and cuts that in two. */
static int write_parts(struct exporting *self, struct sfs_exported_index *ret,
                       struct sfs_error *err)
{
    struct sfs_index public = *self->index;
    AUTO(sfs_close_fd) int fd = memfd_create("stagefs index", MFD_CLOEXEC);
    AUTO(sfs_free) char *data = NULL;
    size_t size;
    char path[32];
    if (fd < 0)
        return sfs_fail_errno(err, errno, "holding an index");
    public.seek.check = SFS_CHECK_PUBLIC;
    public.seek.tags = self->digests;
    public.seek.windows = self->windows;
    memset(public.seek.key, 0, sizeof public.seek.key);
    int r = sfs_index_write(fd, &public, err);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (r == 0)
        r = sfs_io_read_file(AT_FDCWD, path, SIZE_MAX / 2, &data, &size, err);
    if (r < 0)
        return r;
    /* The windows are the last section; what fills it up to the next eight bytes goes with it. */
    ret->windows_size = (size_t)((public.seek.windows_size + 7) & ~7ull);
    r = check_size(self, ret->windows_size, SFS_MAX_SENT_WINDOWS, err);
    if (r == 0)
        r = pack_head(self, data, size - ret->windows_size, ret, err);
    if (r == 0 && ret->windows_size > 0) {
        ret->windows = malloc(ret->windows_size);
        if (!ret->windows)
            return sfs_fail_memory(err);
        memcpy(ret->windows, data + size - ret->windows_size, ret->windows_size);
    }
    return r;
}

static int export_open(struct sfs_index *index, struct sfs_blob *blob,
                       struct sfs_exported_index *ret, struct sfs_error *err)
{
    AUTO(exporting_done)
    struct exporting self = { .blob = blob,
                              .index = index,
                              .digests = calloc((size_t)index->seek.count + 1, DIGEST_SIZE),
                              .whole = sfs_hash_open(),
                              .buf = malloc(READ_BLOCK) };
    if (!self.digests || !self.whole || !self.buf)
        return sfs_fail_memory(err);
    int r = read_windows(&self, err);
    if (r == 0)
        r = digest_blob(&self, err);
    if (r == 0)
        r = sfs_index_find_places(index, blob, &self.places, err);
    return r < 0 ? r : write_parts(&self, ret, err);
}

int sfs_index_export_file(int *fd, struct sfs_blob *blob, struct sfs_exported_index *ret_exported,
                          struct sfs_error *err)
{
    AUTO(sfs_index_close) struct sfs_index index = { .fd = -1 };
    AUTO(sfs_exported_index_done) struct sfs_exported_index exported = { 0 };
    int r = sfs_index_open(fd, &index, err);
    if (r < 0)
        return r;
    if (index.from_toc || index.copy_size > 0 || index.seek.check != SFS_CHECK_GMAC ||
        index.seek.count == 0)
        return sfs_fail(err, ENOTSUP, "the index of %s is of no use elsewhere", blob->name);
    r = export_open(&index, blob, &exported, err);
    if (r < 0)
        return r;
    *ret_exported = exported;
    exported = (struct sfs_exported_index){ 0 };
    return 0;
}

int sfs_index_export(struct sfs_store *store, const char *key, struct sfs_blob *blob,
                     struct sfs_exported_index *ret_exported, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = -1;
    int r = sfs_store_open_file(store, SFS_STORE_INDEX, key, &fd, err);
    return r < 0 ? r : sfs_index_export_file(&fd, blob, ret_exported, err);
}
