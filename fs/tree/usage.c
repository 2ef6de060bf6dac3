/* What a layer brings to a merge, and how much of it is seen. */
#include <stagefs/usage.h>

#include "tree/nodes.h"
#include "tree/tree_inner.h"
#include <errno.h>

int sfs_tree_layer_usage(const struct sfs_tree *tree, size_t layer,
                         struct sfs_layer_usage *ret_usage, struct sfs_error *err)
{
    if (layer >= tree->layer_count)
        return sfs_fail(err, EINVAL, "there is no layer %zu", layer);
    const struct sfs_tables *tables = &tree->layers[layer]->tables;
    struct sfs_layer_usage usage = { 0 };
    for (uint32_t i = 1; i < tables->entry_count; i++) { /* 0 is the root */
        const struct sfs_entry_rec *entry = &tables->entries[i];
        usage.names += entry->inode != SFS_NO_INODE && !(entry->flags & SFS_ENTRY_IMPLIED);
        usage.whiteouts += entry->flags & SFS_ENTRY_WHITEOUT ? 1 : 0;
    }
    for (uint32_t i = 0; i < tables->inode_count; i++)
        if (S_ISREG(tables->inodes[i].mode))
            usage.bytes += tables->inodes[i].size;
    for (uint32_t i = 0; i < tree->node_count; i++) {
        const struct sfs_tree_node *node = &tree->nodes[i];
        if (node->layer == layer && S_ISREG(tables->inodes[node->inode].mode))
            usage.visible_bytes += tables->inodes[node->inode].size;
    }
    *ret_usage = usage;
    return 0;
}

int sfs_tree_split(const struct sfs_tree *tree, struct sfs_tree ***ret_trees, size_t *ret_count,
                   struct sfs_error *err)
{
    struct sfs_tree **trees = calloc(tree->layer_count + 1, sizeof(struct sfs_tree *));
    if (!trees)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < tree->layer_count; i++) {
        int r = sfs_tree_merge_alone(tree->layers, i + 1, &trees[i], err);
        if (r < 0) {
            sfs_tree_split_close(&trees, tree->layer_count);
            return r;
        }
    }
    *ret_trees = trees;
    *ret_count = tree->layer_count;
    return 0;
}

void sfs_tree_split_close(struct sfs_tree ***trees, size_t count)
{
    for (size_t i = 0; *trees && i < count; i++)
        sfs_tree_close(&(*trees)[i]);
    free(*trees);
    *trees = NULL;
}
