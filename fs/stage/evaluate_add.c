/* ADD of a tar: its entries go where extracting them in a chroot at the destination would put them.
 * The tar is unpacked to an unnamed temporary file, since most tars come compressed. */
#include "stage/evaluate.h"

#include "base/limits.h"
#include "copy/copy_draft.h"
#include "layer/tar_packed.h"
#include "layer/tar_read.h"
#include "layer/tar_stream.h"
#include "tree/tree_inner.h"
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
    int fd; /* the unpacked tar */
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
    struct sfs_tar_packed *packed;
    uint64_t at;        /* in the source file */
    bool source_failed; /* it could not be read: it may be a tar or not */
    char *block;        /* READ_BLOCK bytes of it */
    struct sfs_builder *builder;
    char *destination; /* as of sfs_eval_real_path() */
    void *put;         /* tsearch() tree of struct put_name */
    int fd;            /* the tar, as far as it was read */
    struct sfs_buf path;
};

static void job_done(struct add_job *job)
{
    sfs_tar_packed_close(&job->packed);
    free(job->block);
    sfs_builder_close(&job->builder);
    free(job->destination);
    tdestroy(job->put, free);
    sfs_close_fd(&job->fd);
    sfs_buf_close(&job->path);
}

static int lend_file(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err)
{
    struct add_job *job = user;
    ssize_t n =
        sfs_tree_read(job->unpack->source, job->unpack->node, job->block, READ_BLOCK, job->at, err);
    job->source_failed = n < 0;
    if (n < 0)
        return (int)n;
    job->at += (uint64_t)n;
    *ret_data = job->block;
    *ret_size = (size_t)n;
    return 0;
}

/* Lends the tar, and writes it down. */
static int lend_tar(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err)
{
    const struct add_job *job = user;
    int r = sfs_tar_packed_next(job->packed, ret_data, ret_size, err);
    if (r < 0 || *ret_size == 0)
        return r;
    r = sfs_io_write_all(job->fd, *ret_data, *ret_size);
    return r < 0 ? sfs_fail_errno(err, -r, "writing unpacked bytes") : 0;
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

static int add_file(struct add_job *job, const struct sfs_tar_member *member)
{
    const struct eval_unpack *unpack = job->unpack;
    uint32_t mode = member->inode.mode;
    AUTO(sfs_tar_xattrs_done) struct sfs_tar_xattrs xattrs = { 0 };
    int r = sfs_tar_xattrs_take(member->records, member->record_count, &xattrs, job->err);
    if (r < 0)
        return r;
    struct sfs_builder_item item = { .inode = member->inode,
                                     .target = member->link,
                                     .extents = member->extents,
                                     .extent_count = (uint32_t)member->extent_count,
                                     .xattrs = xattrs.list,
                                     .xattr_count = xattrs.count };
    if (unpack->has_owner) {
        item.inode.uid = unpack->uid;
        item.inode.gid = unpack->gid;
    }
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

static int unpack_member(struct add_job *job, const struct sfs_tar_member *member)
{
    int r = find_place(job, member->name);
    if (r > 0)
        r = member->hard_link ? add_link(job, member->link) : add_file(job, member);
    return r < 0 ? sfs_fail_while(job->err, r, "%s", member->name) : 0;
}

static int open_packed(struct add_job *job)
{
    const struct sfs_tar_source source = { .next = lend_file, .user = job };
    job->at = 0;
    sfs_tar_packed_close(&job->packed);
    return sfs_tar_packed_open(&source, &job->packed, job->err);
}

/* Does the file, or what is compressed in it, begin with a tar's header? 1, or 0: then it is
 * something else. A file that cannot be read is a failure. */
static int is_tar(struct add_job *job)
{
    struct sfs_tar_blocks blocks = { .source = { .next = sfs_tar_packed_next } };
    const void *block;
    job->block = malloc(READ_BLOCK);
    if (!job->block)
        return sfs_fail_memory(job->err);
    int r = open_packed(job);
    blocks.source.user = job->packed;
    if (r == 0)
        r = sfs_tar_blocks_next(&blocks, &block, job->err);
    if (r <= 0)
        return r == -EBADMSG && !job->source_failed ? 0 : r;
    return sfs_tar_is_header(block);
}

static int unpack_members(struct add_job *job)
{
    const struct sfs_tar_source source = { .next = lend_tar, .user = job };
    AUTO(sfs_tar_stream_close) struct sfs_tar_stream *stream = sfs_tar_stream_open(&source);
    struct sfs_tar_member member;
    int r;
    if (!stream)
        return sfs_fail_memory(job->err);
    while ((r = sfs_tar_stream_next(stream, &member, job->err)) > 0) {
        r = unpack_member(job, &member);
        if (r < 0)
            return r;
    }
    const struct eval_unpack *unpack = job->unpack;
    return r < 0 ? r : sfs_tar_warn_behind(stream, unpack->label, unpack->progress, job->err);
}

static int unpack_all(struct add_job *job)
{
    const struct eval_unpack *unpack = job->unpack;
    const struct sfs_inode_rec dir = {
        .mode = S_IFDIR | 0755, .uid = unpack->uid, .gid = unpack->gid, .mtime_sec = unpack->epoch
    };
    bool made;
    job->builder = sfs_builder_open();
    if (!job->builder)
        return sfs_fail_memory(job->err);
    int r = sfs_io_open_unnamed(&job->fd, job->err);
    if (r == 0)
        r = open_packed(job);
    if (r == 0)
        r = sfs_eval_real_path(unpack->tree, unpack->destination, &job->destination, job->err);
    if (r == 0)
        r = sfs_eval_make_dirs(unpack->tree, job->builder, job->destination, &dir, &made, job->err);
    return r == 0 ? unpack_members(job) : r;
}

int sfs_eval_unpack_layer(const struct eval_unpack *unpack, struct sfs_layer **ret_layer,
                          struct sfs_error *err)
{
    AUTO(job_done) struct add_job job = { .unpack = unpack, .err = err, .fd = -1 };
    struct sfs_attr attr;
    sfs_tree_attr(unpack->source, unpack->node, &attr);
    int r = S_ISREG(attr.mode) ? is_tar(&job) : 0;
    if (r <= 0)
        return r;
    r = unpack_all(&job);
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
