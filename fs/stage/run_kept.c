/* How a RUN's layer becomes a file of the store, and when such a file is used again. */
#include "base/hash.h"
#include "stage/run_kept.h"

#include "base/limits.h"
#include "layer/layer.h"
#include "layer/verified.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>

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
    struct archive *archive;
    struct archive_entry *entry;
    struct sfs_io_temp temp;
    struct sfs_hash *hash;
    uint64_t size;     /* bytes written */
    sfs_entry *firsts; /* for each inode the first name that was written; 0: none yet */
    struct sfs_buf path, link;
};

static void close_keeping(struct keeping *keeping)
{
    archive_entry_free(keeping->entry);
    archive_write_free(keeping->archive);
    sfs_hash_close(&keeping->hash);
    sfs_io_temp_close(&keeping->temp);
    free(keeping->firsts);
    sfs_buf_close(&keeping->path);
    sfs_buf_close(&keeping->link);
}

static la_ssize_t write_block(struct archive *archive, void *user, const void *data, size_t size)
{
    struct keeping *keeping = user;
    int r = keeping->size + size > SFS_MAX_RUN_RESULT
                ? -EFBIG
                : sfs_io_write_all(keeping->temp.fd, data, size);
    if (r == 0)
        r = sfs_hash_add(keeping->hash, data, size);
    if (r < 0) {
        archive_set_error(archive, -r, "%s", strerrordesc_np(-r));
        return -1;
    }
    keeping->size += size;
    return (la_ssize_t)size;
}

static int fail_archive(const struct keeping *keeping)
{
    int code = archive_errno(keeping->archive);
    return sfs_fail(keeping->err, code > 0 ? code : EIO, "%s",
                    archive_error_string(keeping->archive));
}

/* Writes the path of an entry into `path`; "" for the root. */
static int make_path(const struct keeping *keeping, sfs_entry entry, struct sfs_buf *path)
{
    const struct sfs_tables *tables = &keeping->layer->tables;
    sfs_entry chain[SFS_MAX_DEPTH];
    size_t depth = 0;
    path->size = 0;
    sfs_buf_add_str(path, "");
    for (; entry != 0; entry = tables->entries[entry].parent) {
        if (depth == SFS_MAX_DEPTH)
            return sfs_fail(keeping->err, E2BIG, "its directories are nested too deep");
        chain[depth++] = entry;
    }
    while (depth > 0)
        sfs_buf_printf(path, "%s%s", path->size ? "/" : "",
                       tables->strings + tables->entries[chain[--depth]].name);
    return sfs_buf_check(path, keeping->err);
}

/* libarchive prints seconds and fraction one behind the other, also of times before 1970, where the
 * fraction counts the other way: -5.25 is six seconds before and 0.75 after. In the second before
 * 1970 it cannot be printed so, and is left out. */
static void set_mtime(struct archive_entry *entry, int64_t seconds, long nanoseconds)
{
    if (seconds == -1)
        nanoseconds = 0;
    bool is_before = seconds < 0 && nanoseconds > 0;
    archive_entry_set_mtime(entry, is_before ? seconds + 1 : seconds,
                            is_before ? 1000000000 - nanoseconds : nanoseconds);
}

/* Writes a whiteout: an empty file of the name that the format of layers has for it. */
static int write_whiteout(struct keeping *keeping, sfs_entry directory, const char *name)
{
    AUTO(sfs_buf_close) struct sfs_buf path = { 0 };
    int r = make_path(keeping, directory, &keeping->link);
    if (r < 0)
        return r;
    sfs_buf_printf(&path, "%s%s.wh.%s", keeping->link.data, keeping->link.size ? "/" : "", name);
    if (sfs_buf_check(&path, keeping->err) < 0)
        return -ENOMEM;
    archive_entry_clear(keeping->entry);
    archive_entry_set_pathname(keeping->entry, path.data);
    archive_entry_set_mode(keeping->entry, S_IFREG | 0600);
    archive_entry_set_size(keeping->entry, 0);
    archive_entry_set_mtime(keeping->entry, 0, 0);
    return archive_write_header(keeping->archive, keeping->entry) == ARCHIVE_OK
               ? 0
               : fail_archive(keeping);
}

static void set_attributes(struct keeping *keeping, const struct sfs_inode_rec *inode)
{
    struct archive_entry *entry = keeping->entry;
    const struct sfs_tables *tables = &keeping->layer->tables;
    archive_entry_set_mode(entry, inode->mode);
    archive_entry_set_uid(entry, inode->uid);
    archive_entry_set_gid(entry, inode->gid);
    set_mtime(entry, inode->mtime_sec, (long)inode->mtime_nsec);
    archive_entry_set_size(entry, S_ISREG(inode->mode) ? (int64_t)inode->size : 0);
    if (S_ISLNK(inode->mode))
        archive_entry_set_symlink(entry, tables->strings + inode->string);
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
        archive_entry_set_rdevmajor(entry, inode->rdev_major);
        archive_entry_set_rdevminor(entry, inode->rdev_minor);
    }
    for (uint32_t i = 0; i < inode->xattr_count; i++) {
        const struct sfs_xattr_rec *xattr = &tables->xattrs[inode->xattrs + i];
        archive_entry_xattr_add_entry(entry, tables->strings + xattr->name,
                                      tables->strings + xattr->value, xattr->value_size);
    }
}

static void set_holes(struct keeping *keeping, const struct sfs_inode_rec *inode)
{
    const struct sfs_extent *extents = keeping->layer->tables.extents + inode->first;
    uint64_t data = 0;
    for (uint32_t i = 0; i < inode->count; i++)
        data += extents[i].size;
    for (uint32_t i = 0; i < inode->count && data < inode->size; i++)
        archive_entry_sparse_add_entry(keeping->entry, (int64_t)extents[i].file_offset,
                                       (int64_t)extents[i].size);
    if (inode->count == 0 && inode->size > 0)
        archive_entry_sparse_add_entry(keeping->entry, (int64_t)inode->size, 0);
}

static int write_content(struct keeping *keeping, sfs_inode number, uint64_t size)
{
    for (uint64_t offset = 0; offset < size;) {
        AUTO(sfs_slice_release) struct sfs_slice slice = { 0 };
        int r = sfs_layer_pin(keeping->layer, number, offset, PIN, &slice, keeping->err);
        if (r < 0)
            return r;
        for (size_t done = 0; done < slice.size;) {
            la_ssize_t n = archive_write_data(keeping->archive, (const char *)slice.data + done,
                                              slice.size - done);
            if (n <= 0)
                return fail_archive(keeping);
            done += (size_t)n;
        }
        offset += slice.size;
    }
    return 0;
}

/* Sets the header for a name of an inode that has one already: a hard link to that. */
static int set_link(struct keeping *keeping, const struct sfs_entry_rec *record)
{
    const struct sfs_tables *tables = &keeping->layer->tables;
    const struct sfs_inode_rec *inode = &tables->inodes[record->inode];
    if (record->flags & SFS_ENTRY_LINK) {
        archive_entry_set_hardlink(keeping->entry, tables->strings + inode->string);
        return 1;
    }
    if (S_ISDIR(inode->mode) || !keeping->firsts[record->inode])
        return 0;
    int r = make_path(keeping, keeping->firsts[record->inode], &keeping->link);
    if (r == 0)
        archive_entry_set_hardlink(keeping->entry, keeping->link.data);
    return r < 0 ? r : 1;
}

static int write_inode(struct keeping *keeping, sfs_entry entry)
{
    const struct sfs_entry_rec *record = &keeping->layer->tables.entries[entry];
    const struct sfs_inode_rec *inode = &keeping->layer->tables.inodes[record->inode];
    archive_entry_clear(keeping->entry);
    int is_link = set_link(keeping, record);
    if (is_link < 0)
        return is_link;
    archive_entry_set_pathname(keeping->entry, entry ? keeping->path.data : "./");
    if (is_link) {
        archive_entry_set_mode(keeping->entry, S_IFREG | 0644);
        archive_entry_set_size(keeping->entry, 0);
    } else {
        set_attributes(keeping, inode);
        if (S_ISREG(inode->mode))
            set_holes(keeping, inode);
        keeping->firsts[record->inode] = entry;
    }
    if (archive_write_header(keeping->archive, keeping->entry) != ARCHIVE_OK)
        return fail_archive(keeping);
    return !is_link && S_ISREG(inode->mode) ? write_content(keeping, record->inode, inode->size)
                                            : 0;
}

static int write_entry(struct keeping *keeping, sfs_entry entry)
{
    const struct sfs_tables *tables = &keeping->layer->tables;
    const struct sfs_entry_rec *record = &tables->entries[entry];
    const char *name = tables->strings + record->name;
    int r = make_path(keeping, entry, &keeping->path);
    if (r == 0 && entry != 0 && strncmp(name, ".wh.", 4) == 0)
        r = sfs_fail(keeping->err, ENOTSUP, "%s would be taken for a whiteout", keeping->path.data);
    if (r == 0 && (record->flags & SFS_ENTRY_WHITEOUT))
        r = write_whiteout(keeping, record->parent, name);
    if (r == 0 && record->inode != SFS_NO_INODE && !(record->flags & SFS_ENTRY_IMPLIED))
        r = write_inode(keeping, entry);
    if (r == 0 && (record->flags & SFS_ENTRY_OPAQUE))
        r = write_whiteout(keeping, entry, ".wh..opq");
    return r;
}

static int write_tar(struct keeping *keeping)
{
    const struct sfs_tables *tables = &keeping->layer->tables;
    keeping->archive = archive_write_new();
    keeping->entry = archive_entry_new();
    keeping->hash = sfs_hash_open();
    keeping->firsts = calloc(tables->inode_count + 1, sizeof *keeping->firsts);
    if (!keeping->archive || !keeping->entry || !keeping->hash || !keeping->firsts)
        return sfs_fail_memory(keeping->err);
    if (archive_write_set_format_pax(keeping->archive) != ARCHIVE_OK ||
        archive_write_set_options(keeping->archive, "hdrcharset=BINARY,xattrheader=SCHILY") !=
            ARCHIVE_OK ||
        archive_write_set_bytes_per_block(keeping->archive, PIN) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(keeping->archive, 1) != ARCHIVE_OK ||
        archive_write_open(keeping->archive, keeping, NULL, write_block, NULL) != ARCHIVE_OK)
        return fail_archive(keeping);
    int r = 0;
    for (sfs_entry i = 0; i < tables->entry_count && r == 0; i++)
        r = write_entry(keeping, i);
    if (r == 0 && archive_write_close(keeping->archive) != ARCHIVE_OK)
        r = fail_archive(keeping);
    return r;
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
