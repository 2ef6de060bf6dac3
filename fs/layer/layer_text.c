/* A layer whose file bytes are copies of texts in memory. */
#include "layer/layer_text.h"

#include "base/banned.h"
#include <errno.h>

struct text_layer {
    struct sfs_layer base;
    char **texts; /* by the `source` of an inode; owned */
    size_t count;
};

static int pin(struct sfs_layer *base, sfs_inode inode, uint64_t offset, size_t size,
               struct sfs_slice *ret_slice, struct sfs_error *err)
{
    const struct text_layer *layer = (const struct text_layer *)base;
    const struct sfs_inode_rec *rec = &base->tables.inodes[inode];
    if (offset >= rec->size || size == 0)
        return sfs_fail(err, EINVAL, "%s: no such bytes", base->label);
    uint64_t room = rec->size - offset;
    *ret_slice = (struct sfs_slice){ .data = layer->texts[rec->source] + offset,
                                     .size = size < room ? size : (size_t)room };
    return 0;
}

static void close_texts(struct sfs_layer *base)
{
    struct text_layer *layer = (struct text_layer *)base;
    for (size_t i = 0; i < layer->count; i++)
        free(layer->texts[i]);
    free(layer->texts);
}

static const struct sfs_layer_ops text_ops = { .pin = pin, .close = close_texts };

static int add_file(struct text_layer *layer, struct sfs_builder *builder,
                    const struct sfs_text_file *file, int64_t epoch, struct sfs_error *err)
{
    uint64_t size = strlen(file->text);
    struct sfs_extent extent = { 0, 0, size };
    struct sfs_builder_item item = {
        .inode = { .size = size,
                   .mtime_sec = epoch,
                   .mode = S_IFREG | file->mode,
                   .source = layer->count },
        .extents = &extent,
        .extent_count = size > 0,
    };
    char *text = strdup(file->text);
    if (!text)
        return sfs_fail_memory(err);
    layer->texts[layer->count++] = text;
    return sfs_builder_add(builder, file->name, &item, err);
}

int sfs_text_layer_open(const struct sfs_text_file *files, size_t count, int64_t epoch,
                        const char *label, struct sfs_layer **ret_layer, struct sfs_error *err)
{
    AUTO(sfs_builder_close) struct sfs_builder *builder = sfs_builder_open();
    AUTO(sfs_layer_close) struct sfs_layer *base = NULL;
    struct text_layer *layer = calloc(1, sizeof *layer);
    if (!layer || !builder) {
        free(layer);
        return sfs_fail_memory(err);
    }
    base = &layer->base;
    base->ops = &text_ops;
    base->label = strdup(label);
    layer->texts = calloc(count + 1, sizeof *layer->texts);
    if (!base->label || !layer->texts)
        return sfs_fail_memory(err);
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = add_file(layer, builder, &files[i], epoch, err);
    if (r == 0)
        r = sfs_builder_finish(builder, &base->tables, &base->memory, err);
    if (r == 0)
        *ret_layer = TAKE(base);
    return r;
}
