/* File bytes: found by (layer, inode), lent by the layer. */
#include "tree/nodes.h"
#include "tree/tree_inner.h"

#include <limits.h>

static int check_regular(const struct sfs_tree *tree, sfs_node node, struct sfs_error *err)
{
    uint32_t mode = sfs_node_inode(tree, node)->mode;
    if (S_ISDIR(mode))
        return sfs_fail(err, EISDIR, "a directory has no bytes to read");
    if (!S_ISREG(mode))
        return sfs_fail(err, EINVAL, "not a regular file");
    return 0;
}

int sfs_tree_pin(const struct sfs_tree *tree, sfs_node node, uint64_t offset, size_t size,
                 struct sfs_slice *ret_slice, struct sfs_error *err)
{
    int r = check_regular(tree, node, err);
    if (r < 0)
        return r;
    uint64_t end = sfs_node_inode(tree, node)->size;
    if (offset >= end || size == 0)
        return sfs_fail(err, EINVAL, "nothing to read at offset %llu of %llu bytes",
                        (unsigned long long)offset, (unsigned long long)end);
    if (size > end - offset)
        size = (size_t)(end - offset);
    const struct sfs_tree_node *at = &tree->nodes[node];
    return sfs_layer_pin(tree->layers[at->layer], at->inode, offset, size, ret_slice, err);
}

ssize_t sfs_tree_read(const struct sfs_tree *tree, sfs_node node, void *buf, size_t size,
                      uint64_t offset, struct sfs_error *err)
{
    int r = check_regular(tree, node, err);
    if (r < 0)
        return r;
    uint64_t end = sfs_node_inode(tree, node)->size;
    if (offset >= end)
        return 0;
    if (size > end - offset)
        size = (size_t)(end - offset);
    if (size > SSIZE_MAX)
        size = SSIZE_MAX;
    char *at = buf;
    for (size_t done = 0; done < size;) {
        AUTO(sfs_slice_release) struct sfs_slice slice = { 0 };
        r = sfs_tree_pin(tree, node, offset + done, size - done, &slice, err);
        if (r < 0)
            return r;
        memcpy(at + done, slice.data, slice.size);
        done += slice.size;
    }
    sfs_tree_follow(tree, node, offset, size);
    return (ssize_t)size;
}

int sfs_tree_read_text(const struct sfs_tree *tree, const char *path, size_t max, char **ret_text,
                       struct sfs_error *err)
{
    sfs_node node;
    struct sfs_attr attr;
    *ret_text = NULL;
    if (sfs_tree_resolve(tree, path, SFS_RESOLVE_FOLLOW, &node, NULL) < 0)
        return 0;
    sfs_tree_attr(tree, node, &attr);
    if (!S_ISREG(attr.mode) || attr.size > max)
        return 0;
    AUTO(sfs_free) char *text = calloc(1, attr.size + 1);
    if (!text)
        return sfs_fail_memory(err);
    ssize_t size = sfs_tree_read(tree, node, text, attr.size, 0, err);
    if (size < 0)
        return sfs_fail_while(err, (int)size, "reading %s", path);
    *ret_text = TAKE(text);
    return 0;
}

int sfs_tree_seek(const struct sfs_tree *tree, sfs_node node, uint64_t offset, bool hole,
                  uint64_t *ret_offset)
{
    const struct sfs_inode_rec *inode = sfs_node_inode(tree, node);
    if (!S_ISREG(inode->mode) || offset >= inode->size)
        return -ENXIO;
    const struct sfs_tables *tables = sfs_node_tables(tree, node);
    const struct sfs_extent *extents = tables->extents + inode->first;
    uint32_t count = inode->count, low = sfs_extent_find(extents, count, offset);
    if (!hole) {
        if (low == count)
            return -ENXIO;
        *ret_offset = extents[low].file_offset > offset ? extents[low].file_offset : offset;
        return 0;
    }
    for (; low < count && extents[low].file_offset <= offset; low++)
        offset = extents[low].file_offset + extents[low].size;
    *ret_offset = offset;
    return 0;
}

bool sfs_tree_prefetch(const struct sfs_tree *tree, sfs_node node, uint64_t offset, uint64_t size,
                       int priority)
{
    const struct sfs_inode_rec *inode = sfs_node_inode(tree, node);
    if (!S_ISREG(inode->mode) || offset >= inode->size || size == 0)
        return true;
    if (size > inode->size - offset)
        size = inode->size - offset;
    const struct sfs_tree_node *at = &tree->nodes[node];
    return sfs_layer_prefetch(tree->layers[at->layer], at->inode, offset, size,
                              (enum sfs_pool_priority)priority);
}

void sfs_tree_follow(const struct sfs_tree *tree, sfs_node node, uint64_t offset, uint64_t size)
{
    const struct sfs_tree_node *at = &tree->nodes[node];
    if (S_ISREG(sfs_node_inode(tree, node)->mode))
        sfs_layer_follow(tree->layers[at->layer], at->inode, offset, size);
}

int sfs_tree_confirm(const struct sfs_tree *tree, sfs_node node, struct sfs_error *err)
{
    const struct sfs_tree_node *at = &tree->nodes[node];
    if (at->layer == SFS_NO_LAYER)
        return 0;
    return sfs_layer_confirm(tree->layers[at->layer], at->inode, err);
}

uint64_t sfs_tree_source_holes(const struct sfs_tree *tree, sfs_node node)
{
    const struct sfs_tree_node *at = &tree->nodes[node];
    return sfs_layer_source_holes(tree->layers[at->layer], at->inode);
}

int sfs_tree_content_name(const struct sfs_tree *tree, sfs_node node,
                          char ret_name[SFS_CONTENT_NAME])
{
    const struct sfs_tree_node *at = &tree->nodes[node];
    if (at->layer == SFS_NO_LAYER)
        return -ENOENT;
    return sfs_layer_content_name(tree->layers[at->layer], at->inode, ret_name);
}

void sfs_tree_locate(const struct sfs_tree *tree, sfs_node node, uint64_t offset,
                     const void **ret_blob, uint64_t *ret_position)
{
    const struct sfs_tree_node *at = &tree->nodes[node];
    const struct sfs_layer *layer = NULL;
    *ret_position = offset;
    if (at->layer != SFS_NO_LAYER)
        sfs_layer_locate(tree->layers[at->layer], at->inode, offset, &layer, ret_position);
    *ret_blob = layer;
}

struct sfs_spans *sfs_tree_find_spans(const struct sfs_tree *tree, sfs_node node, uint64_t offset,
                                      uint64_t *ret_position, uint64_t *ret_size)
{
    const struct sfs_inode_rec *inode = sfs_node_inode(tree, node);
    const struct sfs_tree_node *at = &tree->nodes[node];
    if (!S_ISREG(inode->mode) || offset >= inode->size || at->layer == SFS_NO_LAYER)
        return NULL;
    return sfs_layer_find_spans(tree->layers[at->layer], at->inode, offset, ret_position, ret_size);
}
