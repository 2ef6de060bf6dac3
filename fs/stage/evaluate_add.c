/* ADD of a tar: its entries go where extracting them in a chroot at the destination would put them.
 * File bytes are unpacked to an unnamed temporary file, since most tars come compressed. */
#include "stage/evaluate.h"

#include "base/limits.h"
#include "copy/copy_draft.h"
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
    AUTO(sfs_draft_done) struct draft draft;
    AUTO(sfs_draft_place_done) struct draft_place place = { 0 };
    sfs_draft_init(&draft, tree, tree);
    int r = sfs_draft_resolve(&draft, path, &place, err);
    if (r < 0)
        return r;
    if (!sfs_draft_is_dir(&draft, place.node))
        return sfs_fail(err, ENOTDIR, "%s: not a directory", path);
    if (sfs_draft_path(place.node, &real) < 0)
        return sfs_fail_memory(err);
    if (place.rest.size > 0)
        sfs_buf_printf(&real, "%s%s", real.size > 1 ? "/" : "", place.rest.data);
    if (sfs_buf_check(&real, err) < 0)
        return -ENOMEM;
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
    uint64_t end = inode->size; /* where what can be read in one piece ends */
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
    char *destination; /* as of sfs_eval_real_path() */
    void *put;         /* tsearch() tree of struct put_name */
    int read_failure;  /* the source could not be read, as err says: it may be a tar or not */
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
    tdestroy(job->put, free);
    sfs_close_fd(&job->fd);
    sfs_buf_close(&job->path);
    sfs_buf_close(&job->extents);
}

static la_ssize_t read_block(struct archive *archive, void *user, const void **ret_data)
{
    struct add_job *job = user;
    ssize_t n = sfs_tree_read(job->unpack->source, job->unpack->node, job->block, READ_BLOCK,
                              job->at, job->err);
    if (n < 0) {
        job->read_failure = (int)n;
        archive_set_error(archive, (int)-n, "%s", job->err->text);
        return ARCHIVE_FATAL;
    }
    job->at += (uint64_t)n;
    *ret_data = job->block;
    return n;
}

/* ---- where entries go: as if the destination were the root ---- */

/* A directory or symlink that the new layer has put somewhere: it hides what the tree has there. */
struct put_name {
    const char *path; /* points into `text` */
    const char *link; /* the target, in `text` too; NULL: a directory */
    char text[];
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct put_name *)a)->path, ((const struct put_name *)b)->path);
}

static const struct put_name *find_put(const struct add_job *job, const char *path)
{
    const struct put_name key = { .path = path };
    void *found = tfind(&key, &job->put, compare_names);
    return found ? *(const struct put_name **)found : NULL;
}

static void forget_put(struct add_job *job, const char *path)
{
    struct put_name *old = (struct put_name *)(uintptr_t)find_put(job, path);
    if (old) {
        tdelete(old, &job->put, compare_names);
        free(old);
    }
}

/* Remembers job->path as a directory (link NULL) or symlink. */
static int note_put(struct add_job *job, const char *link)
{
    size_t path_size = job->path.size + 1, link_size = link ? strlen(link) + 1 : 0;
    forget_put(job, job->path.data);
    struct put_name *name = malloc(sizeof *name + path_size + link_size);
    if (!name)
        return sfs_fail_memory(job->err);
    memcpy(name->text, job->path.data, path_size);
    if (link)
        memcpy(name->text + path_size, link, link_size);
    name->path = name->text;
    name->link = link ? name->text + path_size : NULL;
    if (tsearch(name, &job->put, compare_names))
        return 0;
    free(name);
    return sfs_fail_memory(job->err);
}

/* Finds a path of the tree, none of whose directories may be a symlink. */
static int find_plain(const struct sfs_tree *tree, const char *path, sfs_node *ret_node)
{
    sfs_node node = SFS_ROOT;
    int r = 0;
    while (r == 0 && *(path += strspn(path, "/"))) {
        size_t size = strcspn(path, "/");
        r = sfs_tree_find(tree, node, path, size, &node);
        path += size;
    }
    *ret_node = node;
    return r;
}

static int put_parent(struct add_job *job)
{
    const struct sfs_builder_item item = { .inode = { .mode = S_IFDIR | 0755,
                                                      .mtime_sec = job->unpack->epoch } };
    int r = sfs_builder_add(job->builder, job->path.data, &item, job->err);
    return r < 0 ? r : note_put(job, NULL);
}

/* A path on its way down: what is still to be walked, and how much of that is the entry's own name
 * and not the target of a symlink on the way. */
struct place_walk {
    struct sfs_buf rest;
    const char *at;  /* where in `rest` the walk is */
    size_t own_size; /* so many bytes at the end of `rest` are the entry's own name */
    unsigned hops;
};

static void walk_done(struct place_walk *walk)
{
    sfs_buf_close(&walk->rest);
}

/* Puts the target in front of what is still to be walked; job->path is where the link is. */
static int follow_link(struct add_job *job, struct place_walk *walk, const char *target)
{
    AUTO(sfs_buf_close) struct sfs_buf rest = { 0 };
    if (++walk->hops > SFS_MAX_LINK_HOPS)
        return sfs_fail(job->err, EBADMSG, "too many symbolic links");
    sfs_buf_printf(&rest, "%s/%s", target, walk->at);
    if (sfs_buf_check(&rest, job->err) < 0)
        return -ENOMEM;
    if (rest.size > SFS_MAX_PATH)
        return sfs_fail(job->err, E2BIG, "the path is longer than %u bytes", SFS_MAX_PATH);
    if (*target == '/')
        job->path.size = strlen(job->destination);
    else
        job->path.size = (size_t)(strrchr(job->path.data, '/') - job->path.data);
    job->path.data[job->path.size] = 0;
    struct sfs_buf old = walk->rest;
    walk->rest = rest;
    rest = old;
    walk->at = walk->rest.data + strspn(walk->rest.data, "/");
    return 0;
}

/* job->path is a directory above an entry: makes it one that is there, or goes where it leads. */
static int enter(struct add_job *job, struct place_walk *walk, bool is_own)
{
    const struct sfs_tree *tree = job->unpack->tree;
    const struct put_name *put = find_put(job, job->path.data);
    sfs_node node;
    struct sfs_attr attr = { 0 };
    if (put)
        return put->link ? follow_link(job, walk, put->link) : 0;
    if (find_plain(tree, job->path.data, &node) == 0)
        sfs_tree_attr(tree, node, &attr);
    if (S_ISDIR(attr.mode))
        return 0;
    if (S_ISLNK(attr.mode))
        return follow_link(job, walk, sfs_tree_target(tree, node));
    if (!is_own)
        return sfs_fail(job->err, EBADMSG, "it lies behind a symbolic link that leads nowhere");
    return put_parent(job);
}

/* Walks one component, down or up; ".." of a link's target ends at the destination. */
static int walk_component(struct add_job *job, struct place_walk *walk, size_t size)
{
    const char *name = walk->at;
    bool is_own = strlen(name) <= walk->own_size;
    walk->at += size;
    walk->at += strspn(walk->at, "/");
    if (is_own)
        walk->own_size = strlen(walk->at);
    if (size == 1 && *name == '.')
        return 0;
    if (size == 2 && name[0] == '.' && name[1] == '.') {
        if (is_own)
            return sfs_fail(job->err, EBADMSG, "an entry leads out of the destination by \"..\"");
        if (job->path.size > strlen(job->destination))
            job->path.size = (size_t)(strrchr(job->path.data, '/') - job->path.data);
        job->path.data[job->path.size] = 0;
        return 0;
    }
    if (sfs_buf_printf(&job->path, "/%.*s", (int)size, name) < 0)
        return sfs_fail_memory(job->err);
    /* "." and "/" behind it lead no further: then it is the entry itself, and not followed. */
    bool is_above = walk->at[strspn(walk->at, "./")] || strstr(walk->at, "..");
    return is_above ? enter(job, walk, is_own) : 0;
}

/* Fills job->path with where the entry `name` goes: no directory in it is a symlink. 0: it is the
 * destination itself. */
static int find_place(struct add_job *job, const char *name)
{
    AUTO(walk_done) struct place_walk walk = { 0 };
    job->path.size = 0;
    sfs_buf_add_str(&job->path, job->destination);
    sfs_buf_add_str(&walk.rest, name + strspn(name, "/"));
    if (job->path.failed || sfs_buf_check(&walk.rest, job->err) < 0)
        return sfs_fail_memory(job->err);
    walk.at = walk.rest.data;
    walk.own_size = walk.rest.size;
    int r = 0;
    while (r == 0 && *walk.at)
        r = walk_component(job, &walk, strcspn(walk.at, "/"));
    return r < 0 ? r : job->path.size > strlen(job->destination);
}

/* Tells of a failure of libarchive; of one to read the source as what it is. */
static int fail_archive(struct add_job *job)
{
    if (job->read_failure < 0)
        return job->read_failure;
    return sfs_fail(job->err, EBADMSG, "%s", archive_error_string(job->archive));
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
    return r == ARCHIVE_EOF ? 0 : fail_archive(job);
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
        return note_put(job, item.target);
    forget_put(job, job->path.data);
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
    forget_put(job, path);
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

/* Opens the file as a tar, and reads the first entry. 1: it is one; 0: it is something else. A file
 * that cannot be read is a failure. */
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
    int r = archive_read_open(job->archive, job, NULL, read_block, NULL);
    if (r == ARCHIVE_OK)
        r = archive_read_next_header(job->archive, ret_entry);
    if (job->read_failure < 0)
        return job->read_failure;
    if (archive_errno(job->archive) == ENOMEM)
        return sfs_fail_memory(job->err);
    return r == ARCHIVE_OK || r == ARCHIVE_WARN;
}

/* Opens a temporary file without a name, so that nothing is left behind; where that cannot be, it
 * loses its name at once. */
static int open_temp(struct add_job *job)
{
    const char *dir = getenv("TMPDIR");
    dir = dir && *dir ? dir : "/tmp";
    job->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (job->fd >= 0)
        return 0;
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp;
    int r = sfs_io_temp_open(&temp, dir, 0600, job->err);
    if (r < 0)
        return r;
    job->fd = fcntl(temp.fd, F_DUPFD_CLOEXEC, 3);
    return job->fd < 0 ? sfs_fail_errno(job->err, errno, "a temporary file in %s", dir) : 0;
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
        r = fail_archive(job);
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
