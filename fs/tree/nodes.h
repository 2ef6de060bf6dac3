/* What a tree is made of. Metadata, link targets and extents stay where they are, in the layers'
 * tables: a node only says where.
 *
 * Nodes and names stand breadth first, as in a layer's tables: the names of a directory are one
 * run, sorted, and the nodes they brought in follow one another. */
#ifndef STAGEFS_NODES_H
#define STAGEFS_NODES_H

#include "layer/layer.h"
#include <stagefs/tree.h>

enum sfs_tree_node_flags {
    SFS_NODE_DIR = 1 << 0,
    SFS_NODE_IMPLIED = 1 << 1, /* directory that no layer names: 0755 root:root, mtime 0 */
    /* Only where a layer is shown alone: */
    SFS_NODE_WHITEOUT = 1 << 2, /* a 0/0 character device, which no layer has as an inode */
    SFS_NODE_OPAQUE = 1 << 3,   /* directory that hides those below it */
};

#define SFS_NO_LAYER UINT16_MAX /* the root of a merge of nothing */
#define SFS_NO_NODE  UINT32_MAX

struct sfs_tree_node { /* 12 bytes */
    sfs_inode inode;   /* in its layer */
    uint16_t layer;    /* number of the layer, or SFS_NO_LAYER */
    uint16_t flags;    /* enum sfs_tree_node_flags */
    uint32_t extra;    /* directory: place in dirs; others: names in this tree */
};

struct sfs_tree_dir { /* 16 bytes */
    uint32_t first;   /* its first name in dirents */
    uint32_t count;   /* how many names it has */
    sfs_node parent;  /* the directory that it is in */
    uint32_t subdirs; /* how many of its names are directories */
};

_Static_assert(sizeof(struct sfs_tree_node) == 12, "a million of them are held in memory");
_Static_assert(sizeof(struct sfs_tree_dir) == 16, "a hundred thousand are held in memory");

struct sfs_tree {
    struct sfs_layer **layers; /* lowest first; borrowed, but the array is owned */
    size_t layer_count;
    struct sfs_tree_node *nodes;
    struct sfs_dirent *dirents;
    struct sfs_tree_dir *dirs;
    uint32_t node_count, dirent_count, dir_count;
};

/* Is the node a directory? */
static inline bool sfs_node_is_dir(const struct sfs_tree *tree, sfs_node node)
{
    return tree->nodes[node].flags & SFS_NODE_DIR;
}

/* The tables that hold a node's inode; NULL if no layer does. */
static inline const struct sfs_tables *sfs_node_tables(const struct sfs_tree *tree, sfs_node node)
{
    size_t layer = tree->nodes[node].layer;
    return layer == SFS_NO_LAYER ? NULL : &tree->layers[layer]->tables;
}

/* The metadata of a node, borrowed from its layer; of what no layer has (implied directories and
 * whiteouts) a constant. */
const struct sfs_inode_rec *sfs_node_inode(const struct sfs_tree *tree, sfs_node node);

/* Makes a tree of the topmost of `count` layers (not 0) alone, as overlayfs has it: with its
 * whiteouts and opaque directories (SFS_NODE_OPAQUE), so that an overlay of such trees is the merge
 * of the layers. What the layer does not hold itself (metadata of implied directories, and files
 * that it links to) comes from those below. Borrows and fails as sfs_tree_merge(). */
int sfs_tree_merge_alone(struct sfs_layer *const *layers, size_t count, struct sfs_tree **ret_tree,
                         struct sfs_error *err);

/* What messages call a layer; borrowed from the layer. */
const char *sfs_layer_words(const struct sfs_layer *layer);

#endif
