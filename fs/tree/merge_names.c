/* The names and nodes that a merge has decided on go into the tree's arrays; of a hard link to a
 * lower layer the name only, whose node is looked up at the end. */
#include "tree/merge.h"

#include "base/array.h"

sfs_node sfs_merge_add_node(struct sfs_tree *tree, struct sfs_tree_node node)
{
    tree->nodes[tree->node_count] = node;
    return tree->node_count++;
}

static struct sfs_dirent *add_name(struct sfs_tree *tree, const struct sfs_tables *tables,
                                   const struct sfs_entry_rec *entry)
{
    struct sfs_dirent *dirent = &tree->dirents[tree->dirent_count++];
    dirent->name = tables->strings + entry->name;
    dirent->name_size = entry->name_size;
    return dirent;
}

void sfs_merge_add_dir(struct merge *merge, struct sfs_part name, const struct sfs_settled *settled,
                       sfs_node parent)
{
    struct sfs_tree *tree = merge->tree;
    uint32_t dir = tree->dir_count++;
    uint16_t flags = settled->implied ? SFS_NODE_DIR | SFS_NODE_IMPLIED : SFS_NODE_DIR;
    merge->dir_names[dir] = tree->dirent_count;
    merge->part_ends[dir] = (uint32_t)merge->parts.count;
    tree->dirs[dir].parent = parent;
    struct sfs_dirent *dirent =
        add_name(tree, sfs_stack_tables(&merge->stack, name), sfs_stack_entry(&merge->stack, name));
    dirent->node = sfs_merge_add_node(
        tree, (struct sfs_tree_node){ sfs_stack_entry(&merge->stack, settled->what)->inode,
                                      (uint16_t)settled->what.layer, flags, dir });
}

static int add_link(struct merge *merge, struct sfs_part part)
{
    if (SFS_ARRAY_GROW(merge->links, merge->link_count, merge->link_capacity, 64) < 0)
        return -ENOMEM;
    merge->links[merge->link_count++] =
        (struct pending_link){ merge->tree->dirent_count - 1, part };
    return 0;
}

/* Where the node of an inode with several names is kept. NULL: out of memory. */
static uint32_t *place_of_node(struct merge *merge, size_t layer, sfs_inode inode)
{
    if (!merge->node_of[layer]) {
        uint32_t count = merge->stack.layers[layer]->tables.inode_count;
        merge->node_of[layer] = calloc(count, sizeof *merge->node_of[layer]);
        if (!merge->node_of[layer])
            return NULL;
    }
    return &merge->node_of[layer][inode];
}

/* Gives the node that `place` stands for one more name. */
static sfs_node share_node(struct sfs_tree *tree, uint32_t *place, size_t layer, sfs_inode inode)
{
    if (*place == 0)
        *place =
            sfs_merge_add_node(tree, (struct sfs_tree_node){ inode, (uint16_t)layer, 0, 0 }) + 1;
    sfs_node node = *place - 1;
    tree->nodes[node].extra++;
    return node;
}

int sfs_merge_add_file(struct merge *merge, const struct sfs_tables *tables, struct sfs_part part)
{
    struct sfs_tree *tree = merge->tree;
    const struct sfs_entry_rec *entry = &tables->entries[part.entry];
    struct sfs_dirent *dirent = add_name(tree, tables, entry);
    if (entry->flags & SFS_ENTRY_LINK)
        return add_link(merge, part);
    if (tables->inodes[entry->inode].nlink == 1) {
        dirent->node = sfs_merge_add_node(
            tree, (struct sfs_tree_node){ entry->inode, (uint16_t)part.layer, 0, 1 });
        return 0;
    }
    uint32_t *place = place_of_node(merge, part.layer, entry->inode);
    if (!place)
        return -ENOMEM;
    dirent->node = share_node(tree, place, part.layer, entry->inode);
    return 0;
}

void sfs_merge_add_whiteout(struct merge *merge, const struct sfs_tables *tables,
                            struct sfs_part part)
{
    struct sfs_dirent *dirent = add_name(merge->tree, tables, &tables->entries[part.entry]);
    dirent->node =
        sfs_merge_add_node(merge->tree, (struct sfs_tree_node){ SFS_NO_INODE, (uint16_t)part.layer,
                                                                SFS_NODE_WHITEOUT, 1 });
}

/* Makes node_of know every node of the layers that links lead to. */
static int index_targets(struct merge *merge, const struct sfs_part *targets)
{
    const struct sfs_tree *tree = merge->tree;
    for (size_t i = 0; i < merge->link_count; i++) {
        if (!place_of_node(merge, targets[i].layer, 0))
            return -ENOMEM;
    }
    for (sfs_node i = 1; i < tree->node_count; i++) {
        const struct sfs_tree_node *node = &tree->nodes[i];
        if (!(node->flags & (SFS_NODE_DIR | SFS_NODE_WHITEOUT)) && merge->node_of[node->layer])
            merge->node_of[node->layer][node->inode] = i + 1;
    }
    return 0;
}

static int fail_link(const struct merge *merge, struct sfs_part link, int r, struct sfs_error *err)
{
    if (r == -ENOMEM)
        return sfs_fail_memory(err);
    const struct sfs_tables *tables = sfs_stack_tables(&merge->stack, link);
    const struct sfs_entry_rec *entry = &tables->entries[link.entry];
    return sfs_fail(err, EBADMSG, "%s: hard link %.255s to %.512s: %s",
                    sfs_layer_words(merge->stack.layers[link.layer]), tables->strings + entry->name,
                    tables->strings + tables->inodes[entry->inode].string,
                    r == -EISDIR  ? "that is a directory"
                    : r == -ELOOP ? "too many links on the way"
                    : r == -E2BIG ? "path too long"
                                  : "nothing there in the layers below");
}

int sfs_merge_resolve_links(struct merge *merge, struct sfs_error *err)
{
    if (merge->link_count == 0)
        return 0;
    AUTO(sfs_free) struct sfs_part *targets = calloc(merge->link_count, sizeof *targets);
    if (!targets)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < merge->link_count; i++) {
        int r = sfs_stack_find_link(&merge->stack, merge->links[i].part, &targets[i]);
        if (r < 0)
            return fail_link(merge, merge->links[i].part, r, err);
    }
    if (index_targets(merge, targets) < 0)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < merge->link_count; i++) {
        sfs_inode inode = sfs_stack_entry(&merge->stack, targets[i])->inode;
        uint32_t *place = &merge->node_of[targets[i].layer][inode];
        merge->tree->dirents[merge->links[i].dirent].node =
            share_node(merge->tree, place, targets[i].layer, inode);
    }
    return 0;
}
