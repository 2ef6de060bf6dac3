/* What a tree goes by, from one opening to the next. Layers of tars have digests. Others (what COPY
 * took out of another tree, a directory) are known by names, kinds and sizes: times are left out,
 * since a COPY makes directories anew each time, and no bytes are read. */
#include "base/hash.h"
#include "layer/layer.h"
#include "tree/tree_inner.h"

#include <errno.h>
#include <string.h>

static int add_tables(struct sfs_hash *hash, const struct sfs_tables *tables)
{
    int r = sfs_hash_add(hash, tables->strings, (size_t)tables->strings_size);
    for (uint32_t i = 0; r == 0 && i < tables->entry_count; i++) {
        const uint32_t numbers[] = { tables->entries[i].parent, tables->entries[i].name,
                                     tables->entries[i].flags, tables->entries[i].inode };
        r = sfs_hash_add(hash, numbers, sizeof numbers);
    }
    for (uint32_t i = 0; r == 0 && i < tables->inode_count; i++) {
        const uint64_t numbers[] = { tables->inodes[i].size, tables->inodes[i].mode };
        r = sfs_hash_add(hash, numbers, sizeof numbers);
    }
    return r;
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
