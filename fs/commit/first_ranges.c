/* Uses become spans of layers by the merged tree, and spans the bytes that they are decoded from.
 */
#include "commit/first_ranges.h"

#include "blob/seek.h"
#include "blob/spans.h"
#include "image/artifacts.h"
#include "image/parts.h"
#include "layer/layer.h"
#include "tree/tree_inner.h"
#include <errno.h>

/* What a line of a gigabit brings until an index was fetched and opened. */
#define MOST_BYTES (32u << 20)
/* The list then has at most some 15 KB. */
#define MOST_RANGES 600u
/* Bytes of files whose ranges are put into the order of the blobs, and bytes of a blob between two
 * ranges that are fetched along: as a mount has them, so that both ask for the same. */
#define BATCH (4u << 20)
#define GAP   (64u << 10)
/* Who reads no more than names of most layers has no need of more memory. */
#define MEMORY (16u << 20)

struct first_batch {
    struct sfs_ranges input, windows;
};

struct first_list {
    struct sfs_image *image;
    const struct sfs_tree *tree;
    struct first_batch *batch; /* of each layer */
    size_t layers;
    json_t *list;
    uint64_t bytes;
    unsigned ranges;
};

static bool is_full(const struct first_list *first)
{
    return first->bytes >= MOST_BYTES || first->ranges >= MOST_RANGES;
}

/* Adds the compressed bytes of some spans, and their windows, which lie in the order of spans. */
static int add_spans(struct first_batch *batch, const struct sfs_seek_table *table, uint32_t span,
                     uint32_t last)
{
    uint64_t start, end, unused;
    int r = 0;
    sfs_seek_input(table, span, &start, &unused);
    sfs_seek_input(table, last, &unused, &end);
    if (start < end)
        r = sfs_ranges_add(&batch->input, start, end - start);
    for (; span <= last && r == 0; span++)
        if (table->points[span].window_size > 0)
            r = sfs_ranges_add(&batch->windows, table->points[span].window,
                               table->points[span].window_size);
    return r;
}

/* Adds the compressed bytes of a file's range. */
static int add_range(struct first_list *first, sfs_node node, struct sfs_range range)
{
    size_t layer;
    uint32_t unused;
    sfs_tree_origin(first->tree, node, &layer, &unused);
    while (range.size > 0 && layer < first->layers) {
        uint64_t position, size;
        struct sfs_spans *spans =
            sfs_tree_find_spans(first->tree, node, range.offset, &position, &size);
        if (!spans || size == 0)
            return 0;
        size = size < range.size ? size : range.size;
        const struct sfs_seek_table *table = sfs_spans_table(spans);
        if (add_spans(&first->batch[layer], table, sfs_seek_find(table, position),
                      sfs_seek_find(table, position + size - 1)) < 0)
            return -ENOMEM;
        range = (struct sfs_range){ range.offset + size, range.size - size };
    }
    return 0;
}

/* *ret_bytes: how many bytes of its file the use is of. */
static int add_use(struct first_list *first, const struct sfs_use *use, uint64_t *ret_bytes)
{
    sfs_node node;
    int r = 0;
    *ret_bytes = 0;
    if (!sfs_use_has_ranges(use->kind) ||
        sfs_tree_resolve(first->tree, use->path, SFS_RESOLVE_FOLLOW | SFS_RESOLVE_UNCONFIRMED,
                         &node, NULL) < 0)
        return 0;
    for (size_t i = 0; i < use->ranges.count && *ret_bytes < BATCH && r == 0; i++) {
        *ret_bytes += use->ranges.items[i].size;
        r = add_range(first, node, use->ranges.items[i]);
    }
    return r;
}

/* Moves ranges into an item of the list, under that key. */
static int list_ranges(struct first_list *first, json_t *item, const char *key,
                       struct sfs_ranges *ranges)
{
    json_t *pairs = json_array();
    if (json_object_set_new(item, key, pairs) < 0)
        return -ENOMEM;
    sfs_ranges_merge(ranges, GAP);
    for (size_t i = 0; i < ranges->count && !is_full(first); i++) {
        const struct sfs_range *range = &ranges->items[i];
        if (json_array_append_new(
                pairs, json_pack("[II]", (json_int_t)range->offset, (json_int_t)range->size)) < 0)
            return -ENOMEM;
        first->bytes += range->size;
        first->ranges++;
    }
    ranges->count = 0;
    return 0;
}

/* Moves the batch of a layer into the list. */
static int list_layer(struct first_list *first, size_t layer)
{
    struct first_batch *batch = &first->batch[layer];
    char digest[SFS_DIGEST_TEXT];
    if (batch->input.count == 0)
        return 0;
    json_t *item = json_pack(
        "{ss}", "layer", sfs_digest_print(&sfs_image_layer(first->image, layer)->digest, digest));
    int r = json_array_append_new(first->list, item) < 0 ? -ENOMEM : 0;
    if (r == 0)
        r = list_ranges(first, item, "windows", &batch->windows);
    return r < 0 ? r : list_ranges(first, item, "ranges", &batch->input);
}

static int list_uses(struct first_list *first, const struct sfs_profile *profile)
{
    int r = 0;
    for (size_t i = 0; i < profile->count && r == 0 && !is_full(first);) {
        for (uint64_t bytes = 0, more; i < profile->count && bytes < BATCH && r == 0; i++) {
            r = add_use(first, &profile->uses[i], &more);
            bytes += more;
        }
        for (size_t layer = 0; layer < first->layers && r == 0 && !is_full(first); layer++)
            r = list_layer(first, layer);
    }
    return r;
}

static int list_tree(struct sfs_image *image, const struct sfs_tree *tree,
                     const struct sfs_profile *profile, json_t **ret_list, struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *list = json_array();
    struct first_list first = {
        .image = image, .tree = tree, .layers = sfs_tree_layers(tree), .list = list
    };
    first.batch = calloc(first.layers + 1, sizeof *first.batch);
    int r = list && first.batch ? list_uses(&first, profile) : -ENOMEM;
    for (size_t i = 0; first.batch && i < first.layers; i++) {
        sfs_ranges_done(&first.batch[i].input);
        sfs_ranges_done(&first.batch[i].windows);
    }
    free(first.batch);
    if (r < 0)
        return sfs_fail_memory(err);
    if (first.ranges == 0)
        return sfs_fail(err, ENODATA, "the profile names no bytes of the image");
    *ret_list = TAKE(list);
    return 0;
}

int sfs_first_ranges(struct sfs_image *image, struct sfs_store *store,
                     const struct sfs_profile *profile, json_t **ret_list, struct sfs_error *err)
{
    AUTO(sfs_cache_close) struct sfs_cache *cache = NULL;
    AUTO(sfs_tree_close) struct sfs_tree *tree = NULL;
    struct sfs_layer **layers = NULL;
    int r = sfs_cache_open(MEMORY, 1, &cache, err);
    if (r == 0)
        r = sfs_image_open_indexed_layers(image, store, cache, &layers, err);
    if (r == 0)
        r = sfs_tree_merge(layers, sfs_image_layer_count(image), &tree, err);
    if (r == 0)
        r = list_tree(image, tree, profile, ret_list, err);
    sfs_tree_close(&tree);
    sfs_image_close_layers(&layers, sfs_image_layer_count(image));
    return r;
}
