/* Reading the bytes of a layer out of a tree. A file's bytes are read by their offset in the tree's
 * file, so that is the data_offset of its extents. */
#include "tree/tree_layer.h"

#include "base/banned.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <sys/stat.h>

struct tree_layer {
    struct sfs_layer base;
    const struct sfs_tree *source;
};

static const struct sfs_tree *tree_of(struct sfs_layer *layer)
{
    return ((const struct tree_layer *)layer)->source;
}

static sfs_node node_of(struct sfs_layer *layer, sfs_inode inode)
{
    return (sfs_node)layer->tables.inodes[inode].source;
}

/* How far the bytes go on from `offset`, which is below the file's size: to the end of the extent
 * that holds it, or of the hole. */
static uint64_t run_at(const struct sfs_layer *layer, sfs_inode inode, uint64_t offset,
                       bool *ret_hole)
{
    const struct sfs_inode_rec *file = &layer->tables.inodes[inode];
    const struct sfs_extent *extents = layer->tables.extents + file->first;
    uint32_t low = sfs_extent_find(extents, file->count, offset);
    *ret_hole = low == file->count || extents[low].file_offset > offset;
    if (low == file->count)
        return file->size - offset;
    return extents[low].file_offset + (*ret_hole ? 0 : extents[low].size) - offset;
}

static int pin(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, size_t size,
               struct sfs_slice *ret_slice, struct sfs_error *err)
{
    bool hole;
    uint64_t run = run_at(layer, inode, offset, &hole);
    size = size < run ? size : (size_t)run;
    if (!hole)
        return sfs_tree_pin(tree_of(layer), node_of(layer, inode), offset, size, ret_slice, err);
    sfs_layer_lend_hole(size, ret_slice);
    return 0;
}

static bool prefetch(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, uint64_t size,
                     enum sfs_pool_priority priority)
{
    bool done = true, hole;
    while (size > 0) {
        uint64_t run = run_at(layer, inode, offset, &hole);
        run = run < size ? run : size;
        if (!hole)
            done &= sfs_tree_prefetch(tree_of(layer), node_of(layer, inode), offset, run, priority);
        offset += run;
        size -= run;
    }
    return done;
}

static void follow(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, uint64_t size)
{
    sfs_tree_follow(tree_of(layer), node_of(layer, inode), offset, size);
}

static void locate(struct sfs_layer *layer, sfs_inode inode, uint64_t offset,
                   const struct sfs_layer **ret_layer, uint64_t *ret_position)
{
    const void *blob;
    sfs_tree_locate(tree_of(layer), node_of(layer, inode), offset, &blob, ret_position);
    *ret_layer = blob;
}

/* Are the bytes those of the source, none of them left out? */
static bool is_whole(const struct sfs_layer *layer, sfs_inode inode)
{
    bool hole;
    uint64_t size = layer->tables.inodes[inode].size;
    return size == 0 || (run_at(layer, inode, 0, &hole) == size && !hole);
}

static int content_name(struct sfs_layer *layer, sfs_inode inode, char ret_name[SFS_CONTENT_NAME])
{
    if (!is_whole(layer, inode))
        return -ENOENT;
    return sfs_tree_content_name(tree_of(layer), node_of(layer, inode), ret_name);
}

static struct sfs_spans *find_spans(struct sfs_layer *layer, sfs_inode inode, uint64_t offset,
                                    uint64_t *ret_position, uint64_t *ret_size)
{
    bool hole;
    uint64_t run = run_at(layer, inode, offset, &hole);
    if (hole)
        return NULL;
    struct sfs_spans *spans =
        sfs_tree_find_spans(tree_of(layer), node_of(layer, inode), offset, ret_position, ret_size);
    if (spans && *ret_size > run)
        *ret_size = run;
    return spans;
}

static uint64_t source_holes(const struct sfs_layer *layer, sfs_inode inode)
{
    const struct tree_layer *made = (const struct tree_layer *)layer;
    return sfs_tree_source_holes(made->source, (sfs_node)layer->tables.inodes[inode].source);
}

static const struct sfs_layer_ops tree_layer_ops = { .pin = pin,
                                                     .prefetch = prefetch,
                                                     .follow = follow,
                                                     .locate = locate,
                                                     .content_name = content_name,
                                                     .find_spans = find_spans,
                                                     .source_holes = source_holes };

int sfs_tree_layer_open(struct sfs_builder *builder, const struct sfs_tree *source,
                        const char *label, struct sfs_layer **ret_layer, struct sfs_error *err)
{
    struct tree_layer *made = calloc(1, sizeof *made);
    AUTO(sfs_layer_close) struct sfs_layer *layer = made ? &made->base : NULL;
    if (layer)
        layer->label = strdup(label);
    if (!layer || !layer->label)
        return sfs_fail_memory(err);
    layer->ops = &tree_layer_ops;
    made->source = source;
    int r = sfs_builder_finish(builder, &layer->tables, &layer->memory, err);
    if (r < 0)
        return r;
    *ret_layer = TAKE(layer);
    return 0;
}

/* Adds the bytes [at, end), but what `zeros` has of them; ranges that end before `at` are passed
 * for good. */
static void add_between(uint64_t at, uint64_t end, const struct sfs_ranges *zeros, size_t *next,
                        struct sfs_buf *extents)
{
    while (at < end) {
        const struct sfs_range *zero = *next < zeros->count ? &zeros->items[*next] : NULL;
        if (zero && zero->offset + zero->size <= at) {
            (*next)++;
            continue;
        }
        uint64_t stop = zero && zero->offset < end ? zero->offset : end;
        if (stop > at) {
            struct sfs_extent extent = { at, at, stop - at };
            sfs_buf_add(extents, &extent, sizeof extent);
        }
        at = stop < end ? zero->offset + zero->size : end;
    }
}

int sfs_tree_layer_extents(const struct sfs_tree *source, sfs_node node,
                           const struct sfs_ranges *zeros, struct sfs_buf *extents)
{
    static const struct sfs_ranges none;
    struct sfs_attr attr;
    sfs_tree_attr(source, node, &attr);
    size_t next = 0;
    for (uint64_t at = 0; at < attr.size;) {
        uint64_t data, hole;
        if (sfs_tree_seek(source, node, at, false, &data) < 0)
            break;
        if (sfs_tree_seek(source, node, data, true, &hole) < 0 || hole <= data)
            break;
        add_between(data, hole, zeros ? zeros : &none, &next, extents);
        at = hole;
    }
    return extents->failed ? -ENOMEM : 0;
}

int sfs_tree_layer_xattrs(const struct sfs_tree *tree, sfs_node node, struct sfs_buf *xattrs)
{
    uint32_t count = sfs_tree_xattr_count(tree, node);
    for (uint32_t i = 0; i < count; i++) {
        struct sfs_xattr xattr = sfs_tree_xattr(tree, node, i);
        struct sfs_builder_xattr item = { xattr.name, xattr.value, xattr.size };
        sfs_buf_add(xattrs, &item, sizeof item);
    }
    return xattrs->failed ? -ENOMEM : 0;
}

struct sfs_inode_rec sfs_tree_layer_record(const struct sfs_attr *attr, sfs_node source)
{
    return (struct sfs_inode_rec){
        .size = S_ISDIR(attr->mode) ? 0 : attr->size,
        .mtime_sec = attr->mtime_sec,
        .mtime_nsec = attr->mtime_nsec,
        .mode = attr->mode,
        .uid = attr->uid,
        .gid = attr->gid,
        .rdev_major = attr->rdev_major,
        .rdev_minor = attr->rdev_minor,
        .source = source,
    };
}
