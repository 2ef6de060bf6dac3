/* A tree's plain questions: attributes, names, parents, targets, extended attributes. */
#include "tree/nodes.h"

#include "base/buf.h"
#include "base/path.h"
#include "tree/tree_inner.h"

#include <assert.h>

const struct sfs_inode_rec *sfs_node_inode(const struct sfs_tree *tree, sfs_node node)
{
    static const struct sfs_inode_rec implied = { .mode = S_IFDIR | 0755 };
    static const struct sfs_inode_rec whiteout = { .mode = S_IFCHR };
    const struct sfs_tree_node *at = &tree->nodes[node];
    if (at->flags & SFS_NODE_IMPLIED)
        return &implied;
    if (at->flags & SFS_NODE_WHITEOUT)
        return &whiteout;
    return &tree->layers[at->layer]->tables.inodes[at->inode];
}

const char *sfs_layer_words(const struct sfs_layer *layer)
{
    return layer->label ? layer->label : "a layer without a name";
}

void sfs_tree_close(struct sfs_tree **tree)
{
    if (!*tree)
        return;
    free((*tree)->layers);
    free((*tree)->nodes);
    free((*tree)->dirents);
    free((*tree)->dirs);
    free(*tree);
    *tree = NULL;
}

uint32_t sfs_tree_count(const struct sfs_tree *tree)
{
    return tree->node_count;
}

void sfs_tree_attr(const struct sfs_tree *tree, sfs_node node, struct sfs_attr *ret_attr)
{
    const struct sfs_inode_rec *inode = sfs_node_inode(tree, node);
    uint32_t extra = tree->nodes[node].extra;
    sfs_tables_attr(inode, ret_attr);
    ret_attr->nlink = sfs_node_is_dir(tree, node) ? 2 + tree->dirs[extra].subdirs : extra;
}

int sfs_tree_find_name(const struct sfs_tree *tree, sfs_node dir, const char *name,
                       size_t name_size, const struct sfs_dirent **ret_name)
{
    if (!sfs_node_is_dir(tree, dir))
        return -ENOTDIR;
    uint32_t count;
    const struct sfs_dirent *names = sfs_tree_list(tree, dir, &count);
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = sfs_name_compare(names[middle].name, names[middle].name_size, name, name_size);
        if (order == 0) {
            *ret_name = &names[middle];
            return 0;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -ENOENT;
}

int sfs_tree_find(const struct sfs_tree *tree, sfs_node dir, const char *name, size_t name_size,
                  sfs_node *ret_node)
{
    const struct sfs_dirent *found;
    int r = sfs_tree_find_name(tree, dir, name, name_size, &found);
    if (r == 0)
        *ret_node = found->node;
    return r;
}

const struct sfs_dirent *sfs_tree_list(const struct sfs_tree *tree, sfs_node dir,
                                       uint32_t *ret_count)
{
    *ret_count = 0;
    if (!sfs_node_is_dir(tree, dir))
        return NULL;
    const struct sfs_tree_dir *at = &tree->dirs[tree->nodes[dir].extra];
    *ret_count = at->count;
    return tree->dirents + at->first;
}

sfs_node sfs_tree_parent(const struct sfs_tree *tree, sfs_node dir)
{
    assert(sfs_node_is_dir(tree, dir));
    return tree->dirs[tree->nodes[dir].extra].parent;
}

const char *sfs_tree_target(const struct sfs_tree *tree, sfs_node node)
{
    return sfs_tables_target(sfs_node_tables(tree, node), sfs_node_inode(tree, node));
}

uint32_t sfs_tree_xattr_count(const struct sfs_tree *tree, sfs_node node)
{
    return sfs_node_inode(tree, node)->xattr_count;
}

struct sfs_xattr sfs_tree_xattr(const struct sfs_tree *tree, sfs_node node, uint32_t i)
{
    return sfs_tables_xattr(sfs_node_tables(tree, node), sfs_node_inode(tree, node), i);
}

struct sfs_layer *sfs_tree_origin(const struct sfs_tree *tree, sfs_node node, size_t *ret_layer,
                                  uint32_t *ret_inode)
{
    const struct sfs_tree_node *at = &tree->nodes[node];
    *ret_inode = at->inode;
    *ret_layer = at->layer == SFS_NO_LAYER ? SIZE_MAX : at->layer;
    return at->layer == SFS_NO_LAYER ? NULL : tree->layers[at->layer];
}

struct sfs_layer *const *sfs_tree_layer_array(const struct sfs_tree *tree)
{
    return tree->layers;
}

size_t sfs_tree_layers(const struct sfs_tree *tree)
{
    return tree->layer_count;
}

const char *sfs_tree_layer_label(const struct sfs_tree *tree, size_t layer)
{
    return sfs_layer_words(tree->layers[layer]);
}

int sfs_tree_dir_path(const struct sfs_tree *tree, sfs_node dir, struct sfs_buf *path)
{
    if (dir == SFS_ROOT)
        return sfs_buf_add_str(path, "");
    sfs_node parent = sfs_tree_parent(tree, dir);
    int r = sfs_tree_dir_path(tree, parent, path);
    uint32_t count;
    const struct sfs_dirent *entries = sfs_tree_list(tree, parent, &count);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        if (entries[i].node == dir)
            return sfs_buf_printf(path, "/%s", entries[i].name);
    return r;
}
