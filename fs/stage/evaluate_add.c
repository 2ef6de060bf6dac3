/* ADD of a tar: its entries go where extracting them in a chroot at the destination would put them.
 * File bytes are unpacked to an unnamed temporary file, since most tars come compressed. */
#include "stage/evaluate.h"

#include "layer/tar_read.h"
#include "tree/tree_inner.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>

#define READ_BLOCK (256u << 10)
#define PIN_MAX    (4u << 20)

/* ---- paths of a tree ---- */

int sfs_eval_real_path(const struct sfs_tree *tree, const char *path, char **ret_path,
                       struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf real = { 0 };
    AUTO(sfs_free) char *head = strdup(path);
    if (!head)
        return sfs_fail_memory(err);
    size_t size = strlen(head);
    sfs_node node = SFS_ROOT;
    int r;
    while ((r = sfs_tree_resolve(tree, head, SFS_WALK_FOLLOW, &node, err)) == -ENOENT && size > 0) {
        while (size > 0 && head[size - 1] != '/')
            size--;
        while (size > 0 && head[size - 1] == '/')
            size--;
        head[size] = 0;
    }
    if (r < 0)
        return r;
    struct sfs_attr attr;
    sfs_tree_attr(tree, node, &attr);
    if (!S_ISDIR(attr.mode))
        return sfs_fail(err, ENOTDIR, "%s: not a directory", head);
    if (sfs_tree_dir_path(tree, node, &real) < 0 || sfs_buf_add_str(&real, path + size) < 0)
        return sfs_fail_memory(err);
    if (real.size > 1 && real.data[real.size - 1] == '/')
        real.data[--real.size] = 0;
    *ret_path = TAKE(real.data);
    return 0;
}

int sfs_eval_make_dirs(const struct sfs_tree *tree, struct sfs_builder *builder, const char *path,
                       const struct sfs_inode_rec *inode, bool *ret_made, struct sfs_error *err)
{
    const struct sfs_builder_item item = { .inode = *inode };
    *ret_made = false;
    for (const char *at = path; *at;) {
        at += 1 + strcspn(at + 1, "/");
        AUTO(sfs_free) char *head = strndup(path, (size_t)(at - path));
        sfs_node node;
        if (!head)
            return sfs_fail_memory(err);
        if (!head[1] || (!*ret_made && sfs_tree_resolve(tree, head, 0, &node, NULL) == 0))
            continue;
        *ret_made = true;
        int r = sfs_builder_add(builder, head, &item, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- the layer ---- */

struct unpacked_layer {
    struct sfs_layer base;
    int fd; /* the unpacked bytes */
};

static int pin(struct sfs_layer *base, sfs_inode number, uint64_t offset, size_t size,
               struct sfs_slice *ret_slice, struct sfs_error *err)
{
    static const char zeros[65536];
    const struct unpacked_layer *layer = (const struct unpacked_layer *)base;
    const struct sfs_inode_rec *inode = &base->tables.inodes[number];
    uint64_t end = inode->size; /* of what can be had in one piece */
    if (offset >= inode->size || size == 0)
        return sfs_fail(err, EINVAL, "%s: no such bytes", base->label);
    const struct sfs_extent *found = NULL;
    for (uint32_t i = 0; i < inode->count && !found; i++) {
        const struct sfs_extent *extent = &base->tables.extents[inode->first + i];
        if (extent->file_offset > offset) {
            end = extent->file_offset;
            break;
        }
        if (offset - extent->file_offset < extent->size)
            found = extent;
    }
    if (found)
        end = found->file_offset + found->size;
    uint64_t room = end - offset, most = found ? PIN_MAX : sizeof zeros;
    room = room < most ? room : most;
    size = size < room ? size : (size_t)room;
    if (!found) {
        *ret_slice = (struct sfs_slice){ .data = zeros, .size = size };
        return 0;
    }
    AUTO(sfs_free) void *data = malloc(size);
    if (!data)
        return sfs_fail_memory(err);
    ssize_t n =
        sfs_io_read_at(layer->fd, data, size, found->data_offset + (offset - found->file_offset));
    if (n <= 0)
        return sfs_fail(err, EIO, "%s: reading unpacked bytes", base->label);
    *ret_slice = (struct sfs_slice){ .data = data, .size = (size_t)n, .release = free };
    ret_slice->owner = TAKE(data);
    return 0;
}

static void close_unpacked(struct sfs_layer *base)
{
    sfs_close_fd(&((struct unpacked_layer *)base)->fd);
}

static const struct sfs_layer_ops unpacked_ops = { .pin = pin, .close = close_unpacked };

/* ---- unpacking ---- */

struct add_job {
    const struct eval_unpack *unpack;
    struct sfs_error *err;
    struct archive *archive;
    uint64_t at; /* in the source file */
    char *block; /* READ_BLOCK bytes lent to libarchive */
    struct sfs_builder *builder;
    char *destination; /* real */
    void *known; /* paths (tsearch) of directories and symlinks that the layer has put there */
    int fd;
    uint64_t written;
    struct sfs_buf path, extents;
};

static void job_done(struct add_job *job)
{
    archive_read_free(job->archive);
    free(job->block);
    sfs_builder_close(&job->builder);
    free(job->destination);
    tdestroy(job->known, free);
    sfs_close_fd(&job->fd);
    sfs_buf_close(&job->path);
    sfs_buf_close(&job->extents);
}

static la_ssize_t read_block(struct archive *archive, void *user, const void **ret_data)
{
    struct add_job *job = user;
    struct sfs_error err;
    ssize_t n = sfs_tree_read(job->unpack->source, job->unpack->node, job->block, READ_BLOCK,
                              job->at, &err);
    if (n < 0) {
        archive_set_error(archive, (int)-n, "%s", err.text);
        return ARCHIVE_FATAL;
    }
    job->at += (uint64_t)n;
    *ret_data = job->block;
    return n;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool is_known(const struct add_job *job, const char *path)
{
    return tfind(path, &job->known, compare_paths);
}

static int know(struct add_job *job, const char *path)
{
    if (is_known(job, path))
        return 0;
    char *copy = strdup(path);
    if (copy && tsearch(copy, &job->known, compare_paths))
        return 0;
    free(copy);
    return sfs_fail_memory(job->err);
}

static int add_parent(struct add_job *job)
{
    const struct eval_unpack *unpack = job->unpack;
    const struct sfs_builder_item item = { .inode = { .mode = S_IFDIR | 0755,
                                                      .mtime_sec = unpack->epoch } };
    int r = sfs_builder_add(job->builder, job->path.data, &item, job->err);
    return r < 0 ? r : know(job, job->path.data);
}

/* job->path is a directory above an entry: makes it real, and there. */
static int enter(struct add_job *job)
{
    const struct sfs_tree *tree = job->unpack->tree;
    sfs_node node;
    struct sfs_attr attr = { 0 };
    if (is_known(job, job->path.data))
        return 0;
    if (sfs_tree_resolve(tree, job->path.data, 0, &node, NULL) == 0)
        sfs_tree_attr(tree, node, &attr);
    if (S_ISDIR(attr.mode))
        return 0;
    if (S_ISLNK(attr.mode)) {
        AUTO(sfs_free) char *real = NULL;
        int r = sfs_eval_real_path(tree, job->path.data, &real, job->err);
        if (r < 0)
            return r;
        if (sfs_tree_resolve(tree, real, 0, &node, NULL) == 0) {
            job->path.size = 0;
            return sfs_buf_add_str(&job->path, real) < 0 ? sfs_fail_memory(job->err) : 0;
        }
    }
    return add_parent(job);
}

/* Fills job->path with where the entry `name` goes. 0: it is the destination itself. */
static int find_place(struct add_job *job, const char *name)
{
    job->path.size = 0;
    int r = sfs_buf_add_str(&job->path, job->destination);
    bool any = false;
    while (r == 0) {
        name += strspn(name, "/");
        size_t size = strcspn(name, "/");
        if (size == 0)
            return any;
        if (size == 2 && name[0] == '.' && name[1] == '.')
            return sfs_fail(job->err, EBADMSG, "an entry leads out of the destination by \"..\"");
        if (!(size == 1 && *name == '.')) {
            r = any ? enter(job) : 0;
            if (r == 0 && sfs_buf_printf(&job->path, "/%.*s", (int)size, name) < 0)
                r = sfs_fail_memory(job->err);
            any = true;
        }
        name += size;
    }
    return r;
}

static int write_data(struct add_job *job)
{
    const void *data;
    size_t size;
    la_int64_t offset;
    int r;
    job->extents.size = 0;
    while ((r = archive_read_data_block(job->archive, &data, &size, &offset)) == ARCHIVE_OK) {
        struct sfs_extent *last =
            job->extents.size ? (void *)(job->extents.data + job->extents.size - sizeof *last)
                              : NULL;
        if (size == 0)
            continue;
        int w = sfs_io_write_all(job->fd, data, size);
        if (w < 0)
            return sfs_fail_errno(job->err, -w, "writing unpacked bytes");
        if (last && last->file_offset + last->size == (uint64_t)offset) {
            last->size += size;
        } else {
            const struct sfs_extent extent = { (uint64_t)offset, job->written, size };
            if (sfs_buf_add(&job->extents, &extent, sizeof extent) < 0)
                return sfs_fail_memory(job->err);
        }
        job->written += size;
    }
    return r == ARCHIVE_EOF ? 0
                            : sfs_fail(job->err, EBADMSG, "%s", archive_error_string(job->archive));
}

static int add_entry(struct add_job *job, struct archive_entry *entry)
{
    const struct eval_unpack *unpack = job->unpack;
    uint32_t mode = archive_entry_mode(entry);
    struct sfs_builder_item
        item = { .inode = {
                     .size = S_ISREG(mode) ? (uint64_t)archive_entry_size(entry) : 0,
                     .mtime_sec = archive_entry_mtime(entry),
                     .mtime_nsec = (uint32_t)archive_entry_mtime_nsec(entry),
                     .mode = mode & (S_IFMT | 07777),
                     .uid = unpack->has_owner ? unpack->uid : (uint32_t)archive_entry_uid(entry),
                     .gid = unpack->has_owner ? unpack->gid : (uint32_t)archive_entry_gid(entry),
                     .rdev_major = (uint32_t)archive_entry_rdevmajor(entry),
                     .rdev_minor = (uint32_t)archive_entry_rdevminor(entry),
                 } };
    int r = S_ISREG(mode) ? write_data(job) : 0;
    if (r < 0)
        return r;
    item.target = S_ISLNK(mode) ? archive_entry_symlink(entry) : NULL;
    if (S_ISREG(mode)) {
        item.extents = (const void *)job->extents.data;
        item.extent_count = (uint32_t)(job->extents.size / sizeof(struct sfs_extent));
    }
    AUTO(sfs_tar_xattrs_done) struct sfs_tar_xattrs xattrs = { 0 };
    r = sfs_tar_xattrs_read(entry, &xattrs, job->err);
    item.xattrs = xattrs.list;
    item.xattr_count = xattrs.count;
    if (r == 0)
        r = sfs_builder_add(job->builder, job->path.data, &item, job->err);
    if (r == 0 && (S_ISDIR(mode) || S_ISLNK(mode)))
        r = know(job, job->path.data);
    return r;
}

static int add_link(struct add_job *job, const char *target)
{
    AUTO(sfs_free) char *path = strdup(job->path.data);
    if (!path)
        return sfs_fail_memory(job->err);
    int r = find_place(job, target);
    if (r == 0)
        return sfs_fail(job->err, EBADMSG, "a hard link to the destination");
    return r < 0 ? r : sfs_builder_link(job->builder, path, job->path.data, job->err);
}

static int unpack_entry(struct add_job *job, struct archive_entry *entry)
{
    const char *name = archive_entry_pathname(entry), *link = archive_entry_hardlink(entry);
    if (!name)
        return sfs_fail(job->err, EBADMSG, "an entry has no name");
    int r = find_place(job, name);
    if (r > 0)
        r = link ? add_link(job, link) : add_entry(job, entry);
    return r < 0 ? sfs_fail_while(job->err, r, "%s", name) : 0;
}

/* 1: a tar; 0: something else. */
static int open_archive(struct add_job *job, struct archive_entry **ret_entry)
{
    job->archive = archive_read_new();
    job->block = malloc(READ_BLOCK);
    if (!job->archive || !job->block)
        return sfs_fail_memory(job->err);
    archive_read_support_filter_gzip(job->archive);
    archive_read_support_filter_bzip2(job->archive);
    archive_read_support_filter_xz(job->archive);
    archive_read_support_filter_zstd(job->archive);
    archive_read_support_format_tar(job->archive);
    archive_read_set_options(job->archive, "hdrcharset=BINARY");
    if (archive_read_open(job->archive, job, NULL, read_block, NULL) != ARCHIVE_OK)
        return 0;
    int r = archive_read_next_header(job->archive, ret_entry);
    return r == ARCHIVE_OK || r == ARCHIVE_WARN;
}

static int open_temp(struct add_job *job)
{
    const char *dir = getenv("TMPDIR");
    AUTO(sfs_buf_close) struct sfs_buf name = { 0 };
    dir = dir && *dir ? dir : "/tmp";
    job->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (job->fd >= 0)
        return 0;
    if (sfs_buf_printf(&name, "%s/stagefs-XXXXXX", dir) < 0)
        return sfs_fail_memory(job->err);
    job->fd = mkostemp(name.data, O_CLOEXEC);
    if (job->fd < 0)
        return sfs_fail_errno(job->err, errno, "%s", name.data);
    unlink(name.data);
    return 0;
}

static int unpack_all(struct add_job *job, struct archive_entry *entry)
{
    const struct eval_unpack *unpack = job->unpack;
    const struct sfs_inode_rec dir = {
        .mode = S_IFDIR | 0755, .uid = unpack->uid, .gid = unpack->gid, .mtime_sec = unpack->epoch
    };
    bool made;
    job->builder = sfs_builder_open();
    if (!job->builder)
        return sfs_fail_memory(job->err);
    int r = open_temp(job);
    if (r == 0)
        r = sfs_eval_real_path(unpack->tree, unpack->destination, &job->destination, job->err);
    if (r == 0)
        r = sfs_eval_make_dirs(unpack->tree, job->builder, job->destination, &dir, &made, job->err);
    int next = ARCHIVE_OK;
    while (r == 0 && (next == ARCHIVE_OK || next == ARCHIVE_WARN)) {
        r = unpack_entry(job, entry);
        if (r == 0)
            next = archive_read_next_header(job->archive, &entry);
    }
    if (r == 0 && next != ARCHIVE_EOF)
        r = sfs_fail(job->err, EBADMSG, "%s", archive_error_string(job->archive));
    return r;
}

int sfs_eval_unpack_layer(const struct eval_unpack *unpack, struct sfs_layer **ret_layer,
                          struct sfs_error *err)
{
    AUTO(job_done) struct add_job job = { .unpack = unpack, .err = err, .fd = -1 };
    struct archive_entry *entry = NULL;
    struct sfs_attr attr;
    sfs_tree_attr(unpack->source, unpack->node, &attr);
    int r = S_ISREG(attr.mode) ? open_archive(&job, &entry) : 0;
    if (r <= 0)
        return r;
    r = unpack_all(&job, entry);
    if (r < 0)
        return r;
    AUTO(sfs_layer_close) struct sfs_layer *base = NULL;
    struct unpacked_layer *layer = calloc(1, sizeof *layer);
    if (!layer)
        return sfs_fail_memory(job.err);
    base = &layer->base;
    base->ops = &unpacked_ops;
    base->label = strdup(unpack->label);
    layer->fd = TAKE_FD(job.fd);
    r = base->label ? sfs_builder_finish(job.builder, &base->tables, &base->memory, err)
                    : sfs_fail_memory(job.err);
    if (r < 0)
        return r;
    *ret_layer = TAKE(base);
    return 1;
}
