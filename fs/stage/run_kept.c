/* How a RUN's layer becomes a file of the store, and when such a file is used again. */
#include "base/hash.h"
#include "stage/run_kept.h"

#include "base/limits.h"
#include "layer/layer.h"
#include "layer/tar_write.h"
#include "layer/verified.h"
#include <errno.h>
#include <stagefs/format.h>

#define MAGIC "SFSKEPT1"
#define PIN   (1u << 20)

struct mark {
    char magic[8];
    uint64_t size;
    struct sfs_digest digest;
    uint8_t zeros[16];
};
_Static_assert(sizeof(struct mark) == 64, "on-disk struct");

/* ---- reading ---- */

/* Reads the 64 bytes behind the tar. 1: done; 0: there are none that are whole. */
static int read_mark(struct sfs_store *store, int fd, struct mark *ret_mark)
{
    struct sfs_file_id id;
    struct sfs_error err;
    return sfs_file_identify(fd, &id) == 0 && id.size > sizeof *ret_mark &&
           sfs_io_read_at(fd, ret_mark, sizeof *ret_mark, id.size - sizeof *ret_mark) ==
               (ssize_t)sizeof *ret_mark &&
           memcmp(ret_mark->magic, MAGIC, sizeof ret_mark->magic) == 0 &&
           ret_mark->size == id.size - sizeof *ret_mark &&
           sfs_verified_check(store, fd, ret_mark->size, &ret_mark->digest, &err) == 0;
}

int sfs_run_kept_open(struct run_job *job, const struct sfs_digest *key, const char *label,
                      struct sfs_layer **ret_layer)
{
    const struct sfs_context *context = &job->eval->stage->context;
    AUTO(sfs_close_fd) int fd = -1;
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    char name[SFS_DIGEST_TEXT], digest[SFS_DIGEST_TEXT];
    struct sfs_error err;
    struct mark mark;
    if (sfs_store_open_file(context->store, SFS_STORE_RESULT, sfs_digest_print(key, name), &fd,
                            &err) < 0 ||
        !read_mark(context->store, fd, &mark) ||
        sfs_blob_open_file(&fd, "kept result of RUN", 0, mark.size, &blob, &err) < 0)
        return 0;
    const struct sfs_layer_source source = { .key = sfs_digest_print(&mark.digest, digest),
                                             .has_digest = true,
                                             .digest = mark.digest,
                                             .size = mark.size,
                                             .has_diff_id = true,
                                             .diff_id = mark.digest,
                                             .label = label };
    return sfs_layer_open_tar(context->store, context->cache, &blob, &source, context->progress,
                              ret_layer, &err) == 0;
}

/* ---- writing ---- */

struct keeping {
    struct sfs_layer *layer;
    struct sfs_error *err;
    struct sfs_io_temp temp;
    struct sfs_hash *hash;
    uint64_t size;          /* bytes of the tar so far */
    struct sfs_buf headers; /* the tar's last bytes, which are not in the file yet */
    sfs_entry *firsts;      /* for each inode the first name that was written; 0: none yet */
    struct sfs_buf path, link;
    int failure; /* negative errno of what failed first, in words in *err; nothing is written then
                  */
};

static void close_keeping(struct keeping *keeping)
{
    sfs_hash_close(&keeping->hash);
    sfs_io_temp_close(&keeping->temp);
    free(keeping->firsts);
    sfs_buf_close(&keeping->headers);
    sfs_buf_close(&keeping->path);
    sfs_buf_close(&keeping->link);
}

static void put_bytes(struct keeping *keeping, const void *data, size_t size)
{
    if (keeping->failure < 0)
        return;
    keeping->size += size;
    int r = keeping->size > SFS_MAX_RUN_RESULT ? -EFBIG
                                               : sfs_io_write_all(keeping->temp.fd, data, size);
    if (r == 0)
        r = sfs_hash_add(keeping->hash, data, size);
    if (r < 0)
        keeping->failure = sfs_fail_errno(keeping->err, -r, "writing a kept result");
}

/* Writes headers, of which there are many small ones, together. */
static void flush_headers(struct keeping *keeping)
{
    put_bytes(keeping, keeping->headers.data, keeping->headers.size);
    keeping->headers.size = 0;
}

static void put_header(struct keeping *keeping, const struct sfs_tar_entry *entry)
{
    if (keeping->failure == 0)
        keeping->failure = sfs_tar_add_header(&keeping->headers, entry, keeping->err);
    if (keeping->headers.size >= PIN)
        flush_headers(keeping);
}

/* Writes the path of an entry into `path`; "" for the root. Returns it. */
static const char *make_path(struct keeping *keeping, sfs_entry entry, struct sfs_buf *path)
{
    const struct sfs_tables *tables = &keeping->layer->tables;
    sfs_entry chain[SFS_MAX_DEPTH];
    size_t depth = 0;
    path->size = 0;
    sfs_buf_add_str(path, "");
    for (; entry != 0 && depth < SFS_MAX_DEPTH; entry = tables->entries[entry].parent)
        chain[depth++] = entry;
    while (depth > 0)
        sfs_buf_printf(path, "%s%s", path->size ? "/" : "",
                       tables->strings + tables->entries[chain[--depth]].name);
    if (keeping->failure == 0 && entry != 0)
        keeping->failure = sfs_fail(keeping->err, E2BIG, "its directories are nested too deep");
    if (keeping->failure == 0)
        keeping->failure = sfs_buf_check(path, keeping->err);
    return path->failed ? "" : path->data;
}

/* Writes a whiteout: an empty file of the name that the format of layers has for it. */
static void write_whiteout(struct keeping *keeping, sfs_entry directory, const char *name)
{
    const char *parent = make_path(keeping, directory, &keeping->link);
    AUTO(sfs_free) char *path = sfs_format("%s%s.wh.%s", parent, *parent ? "/" : "", name);
    const struct sfs_tar_entry entry = { .path = path, .attr = { .mode = S_IFREG | 0600 } };
    if (path)
        put_header(keeping, &entry);
    else
        keeping->failure = sfs_fail_memory(keeping->err);
}

/* Writes the bytes [offset, end) of a file. */
static void write_run(struct keeping *keeping, sfs_inode number, uint64_t offset, uint64_t end)
{
    while (offset < end && keeping->failure == 0) {
        AUTO(sfs_slice_release) struct sfs_slice slice = { 0 };
        size_t wanted = end - offset < PIN ? (size_t)(end - offset) : PIN;
        int r = sfs_layer_pin(keeping->layer, number, offset, wanted, &slice, keeping->err);
        keeping->failure = r < 0 ? r : 0;
        put_bytes(keeping, slice.data, slice.size);
        offset += slice.size;
    }
}

/* Writes what a regular file has between its holes, up to the end of a block. */
static void write_content(struct keeping *keeping, sfs_inode number)
{
    const struct sfs_tables *tables = &keeping->layer->tables;
    const struct sfs_inode_rec *inode = &tables->inodes[number];
    static const char zeros[SFS_TAR_BLOCK];
    uint64_t stored = 0;
    flush_headers(keeping);
    for (uint32_t i = 0; i < inode->count; i++) {
        const struct sfs_extent *extent = &tables->extents[inode->first + i];
        write_run(keeping, number, extent->file_offset, extent->file_offset + extent->size);
        stored += extent->size;
    }
    put_bytes(keeping, zeros, sfs_tar_padding(stored));
}

static bool has_holes(const struct sfs_inode_rec *inode, const struct sfs_extent *extents)
{
    uint64_t data = 0;
    for (uint32_t i = 0; i < inode->count; i++)
        data += extents[i].size;
    return data < inode->size;
}

static void write_file(struct keeping *keeping, sfs_inode number)
{
    const struct sfs_tables *tables = &keeping->layer->tables;
    const struct sfs_inode_rec *inode = &tables->inodes[number];
    AUTO(sfs_free) struct sfs_xattr *xattrs = calloc(inode->xattr_count + 1, sizeof *xattrs);
    if (!xattrs) {
        keeping->failure = sfs_fail_memory(keeping->err);
        return;
    }
    for (uint32_t i = 0; i < inode->xattr_count; i++)
        xattrs[i] = sfs_tables_xattr(tables, inode, i);
    struct sfs_tar_entry entry = { .path = keeping->path.data,
                                   .target = sfs_tables_target(tables, inode),
                                   .has_nanoseconds = true,
                                   .xattrs = xattrs,
                                   .xattr_count = inode->xattr_count };
    sfs_tables_attr(inode, &entry.attr);
    if (S_ISREG(inode->mode)) {
        entry.extents = tables->extents + inode->first;
        entry.extent_count = inode->count;
        entry.is_sparse = has_holes(inode, entry.extents);
    }
    put_header(keeping, &entry);
    if (S_ISREG(inode->mode) && inode->size > 0)
        write_content(keeping, number);
}

/* The path that a name's file has already, so that it is a hard link; NULL: the file has none
 * yet. */
static const char *find_first(struct keeping *keeping, const struct sfs_entry_rec *record)
{
    const struct sfs_tables *tables = &keeping->layer->tables;
    const struct sfs_inode_rec *inode = &tables->inodes[record->inode];
    if (record->flags & SFS_ENTRY_LINK)
        return tables->strings + inode->string;
    if (S_ISDIR(inode->mode) || !keeping->firsts[record->inode])
        return NULL;
    return make_path(keeping, keeping->firsts[record->inode], &keeping->link);
}

static void write_inode(struct keeping *keeping, sfs_entry entry)
{
    const struct sfs_entry_rec *record = &keeping->layer->tables.entries[entry];
    const struct sfs_tar_entry link = { .path = keeping->path.data,
                                        .attr = { .mode = S_IFREG | 0644 },
                                        .hard_link = true,
                                        .target = find_first(keeping, record) };
    if (link.target) {
        put_header(keeping, &link);
    } else {
        keeping->firsts[record->inode] = entry;
        write_file(keeping, record->inode);
    }
}

static void write_entry(struct keeping *keeping, sfs_entry entry)
{
    const struct sfs_tables *tables = &keeping->layer->tables;
    const struct sfs_entry_rec *record = &tables->entries[entry];
    const char *name = tables->strings + record->name;
    const char *path = make_path(keeping, entry, &keeping->path);
    if (keeping->failure == 0 && entry != 0 && strncmp(name, ".wh.", 4) == 0)
        keeping->failure =
            sfs_fail(keeping->err, ENOTSUP, "%s would be taken for a whiteout", path);
    if (record->flags & SFS_ENTRY_WHITEOUT)
        write_whiteout(keeping, record->parent, name);
    if (record->inode != SFS_NO_INODE && !(record->flags & SFS_ENTRY_IMPLIED))
        write_inode(keeping, entry);
    if (record->flags & SFS_ENTRY_OPAQUE)
        write_whiteout(keeping, entry, ".wh..opq");
}

static int write_tar(struct keeping *keeping)
{
    const struct sfs_tables *tables = &keeping->layer->tables;
    static const char zeros[SFS_TAR_END];
    keeping->hash = sfs_hash_open();
    keeping->firsts = calloc(tables->inode_count + 1, sizeof *keeping->firsts);
    if (!keeping->hash || !keeping->firsts)
        return sfs_fail_memory(keeping->err);
    for (sfs_entry i = 0; i < tables->entry_count && keeping->failure == 0; i++)
        write_entry(keeping, i);
    flush_headers(keeping);
    put_bytes(keeping, zeros, sizeof zeros);
    return keeping->failure;
}

static int write_mark(struct keeping *keeping)
{
    struct mark mark = { .magic = MAGIC, .size = keeping->size };
    if (sfs_hash_finish(keeping->hash, &mark.digest) < 0)
        return sfs_fail_memory(keeping->err);
    int r = sfs_io_write_all(keeping->temp.fd, &mark, sizeof mark);
    return r < 0 ? sfs_fail_errno(keeping->err, -r, "writing a kept result") : 0;
}

int sfs_run_kept_write(struct sfs_store *store, const struct sfs_digest *key,
                       struct sfs_layer *layer, struct sfs_error *err)
{
    AUTO(close_keeping)
    struct keeping keeping = { .layer = layer, .err = err, .temp = { .fd = -1, .dirfd = -1 } };
    char name[SFS_DIGEST_TEXT];
    int r = sfs_store_start_file(store, SFS_STORE_RESULT, &keeping.temp, err);
    if (r == 0)
        r = write_tar(&keeping);
    if (r == 0)
        r = write_mark(&keeping);
    if (r == 0)
        r = sfs_store_make_room(store, SFS_STORE_RESULT, SFS_MAX_RUN_RESULTS, keeping.size, err);
    if (r == 0)
        r = sfs_store_commit_file(store, SFS_STORE_RESULT, sfs_digest_print(key, name),
                                  &keeping.temp, err);
    return r;
}
