/* Calls of a layer's vtable, what holds where it has no such call, and a layer out of a builder. */
#include "layer/layer.h"

void sfs_layer_close(struct sfs_layer **layer)
{
    struct sfs_layer *closed = TAKE(*layer);
    if (!closed)
        return;
    if (closed->ops && closed->ops->close)
        closed->ops->close(closed);
    sfs_tables_close(&closed->memory);
    free(closed->label);
    free(closed);
}

int sfs_layer_pin(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, size_t size,
                  struct sfs_slice *ret_slice, struct sfs_error *err)
{
    if (!layer->ops || !layer->ops->pin)
        return sfs_fail(err, EIO, "%s: opened without its bytes", layer->label);
    return layer->ops->pin(layer, inode, offset, size, ret_slice, err);
}

void sfs_layer_lend_hole(size_t size, struct sfs_slice *ret_slice)
{
    static const uint8_t hole[64 << 10];
    *ret_slice =
        (struct sfs_slice){ .data = hole, .size = size < sizeof hole ? size : sizeof hole };
}

bool sfs_layer_prefetch(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, uint64_t size,
                        enum sfs_pool_priority priority)
{
    return !layer->ops || !layer->ops->prefetch ||
           layer->ops->prefetch(layer, inode, offset, size, priority);
}

void sfs_layer_follow(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, uint64_t size)
{
    if (layer->ops && layer->ops->follow)
        layer->ops->follow(layer, inode, offset, size);
}

int sfs_layer_confirm(struct sfs_layer *layer, sfs_inode inode, struct sfs_error *err)
{
    return layer->ops && layer->ops->confirm ? layer->ops->confirm(layer, inode, err) : 0;
}

int sfs_layer_content_name(struct sfs_layer *layer, sfs_inode inode,
                           char ret_name[SFS_CONTENT_NAME])
{
    if (!layer->ops || !layer->ops->content_name)
        return -ENOENT;
    return layer->ops->content_name(layer, inode, ret_name);
}

bool sfs_layer_identify(const struct sfs_layer *layer, struct sfs_digest *ret_digest)
{
    return layer->ops && layer->ops->identify && layer->ops->identify(layer, ret_digest);
}

struct sfs_spans *sfs_layer_find_spans(struct sfs_layer *layer, sfs_inode inode, uint64_t offset,
                                       uint64_t *ret_position, uint64_t *ret_size)
{
    if (!layer->ops || !layer->ops->find_spans)
        return NULL;
    return layer->ops->find_spans(layer, inode, offset, ret_position, ret_size);
}

void sfs_layer_locate(struct sfs_layer *layer, sfs_inode inode, uint64_t offset,
                      const struct sfs_layer **ret_layer, uint64_t *ret_position)
{
    if (layer->ops && layer->ops->locate) {
        layer->ops->locate(layer, inode, offset, ret_layer, ret_position);
        return;
    }
    const struct sfs_inode_rec *file = &layer->tables.inodes[inode];
    *ret_layer = layer;
    *ret_position = offset;
    if (!S_ISREG(file->mode))
        return;
    const struct sfs_extent *extents = layer->tables.extents + file->first;
    for (uint32_t low = 0, high = file->count; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        if (extents[middle].file_offset > offset) {
            high = middle;
        } else {
            *ret_position = extents[middle].data_offset + (offset - extents[middle].file_offset);
            low = middle + 1;
        }
    }
}

int sfs_layer_open_built(struct sfs_builder *builder, const char *label,
                         struct sfs_layer **ret_layer, struct sfs_error *err)
{
    AUTO(sfs_layer_close) struct sfs_layer *layer = calloc(1, sizeof *layer);
    if (!layer)
        return sfs_fail_memory(err);
    layer->label = strdup(label);
    if (!layer->label)
        return sfs_fail_memory(err);
    int r = sfs_builder_finish(builder, &layer->tables, &layer->memory, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", label);
    *ret_layer = TAKE(layer);
    return 0;
}

uint64_t sfs_layer_source_holes(const struct sfs_layer *layer, sfs_inode inode)
{
    if (layer->ops && layer->ops->source_holes)
        return layer->ops->source_holes(layer, inode);
    const struct sfs_inode_rec *file = &layer->tables.inodes[inode];
    uint64_t holes = file->size;
    for (uint32_t i = 0; i < file->count; i++)
        holes -= layer->tables.extents[file->first + i].size;
    return holes;
}
