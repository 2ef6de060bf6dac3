/* What a tree goes by, from one opening to the next. Layers of tars have digests. Others (what COPY
 * took out of another tree, a directory) are known by names, kinds and sizes: times are left out,
 * since a COPY makes directories anew each time, and no bytes are read. */
#include "base/hash.h"
#include "layer/layer.h"
#include "tree/tree_inner.h"

#include <errno.h>
#include <string.h>

/* Numbers that are digested many at a time, which is a tenth of the work. */
struct numbers {
    struct sfs_hash *hash;
    int result;
    size_t count;
    uint64_t items[512];
};

static void flush(struct numbers *numbers)
{
    if (numbers->result == 0)
        numbers->result =
            sfs_hash_add(numbers->hash, numbers->items, numbers->count * sizeof *numbers->items);
    numbers->count = 0;
}

static void add_pair(struct numbers *numbers, uint64_t first, uint64_t second)
{
    numbers->items[numbers->count++] = first;
    numbers->items[numbers->count++] = second;
    if (numbers->count == sizeof numbers->items / sizeof *numbers->items)
        flush(numbers);
}

static int add_tables(struct sfs_hash *hash, const struct sfs_tables *tables)
{
    struct numbers numbers = { .hash = hash };
    numbers.result = sfs_hash_add(hash, tables->strings, (size_t)tables->strings_size);
    for (uint32_t i = 0; i < tables->entry_count; i++) {
        const struct sfs_entry_rec *entry = &tables->entries[i];
        add_pair(&numbers, (uint64_t)entry->parent << 32 | entry->name,
                 (uint64_t)entry->inode << 32 | entry->flags);
    }
    for (uint32_t i = 0; i < tables->inode_count; i++)
        add_pair(&numbers, tables->inodes[i].size, tables->inodes[i].mode);
    flush(&numbers);
    return numbers.result;
}

static int add_layer(struct sfs_hash *hash, const struct sfs_layer *layer)
{
    struct sfs_digest digest;
    return sfs_layer_identify(layer, &digest) ? sfs_hash_add(hash, &digest, sizeof digest)
                                              : add_tables(hash, &layer->tables);
}

int sfs_tree_identify(const struct sfs_tree *tree, struct sfs_digest *ret_digest)
{
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    struct sfs_layer *const *layers = sfs_tree_layer_array(tree);
    int r = hash ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < sfs_tree_layers(tree); i++)
        r = add_layer(hash, layers[i]);
    return r < 0 ? r : sfs_hash_finish(hash, ret_digest);
}
