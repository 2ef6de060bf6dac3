/* A layer whose files are files of a tree: names and metadata are its own, and bytes are read from
 * the tree when somebody asks for them. What COPY and a narrowed stage (fs/slim/) are made of. */
#ifndef STAGEFS_TREE_LAYER_H
#define STAGEFS_TREE_LAYER_H

#include "base/buf.h"
#include "layer/layer.h"
#include "tree/profile.h"
#include <stagefs/tree.h>

/* Makes the layer of what is in the builder, which can then only be closed. Each regular file's
 * inode.source is its node in `source`, and its extents those of sfs_tree_layer_extents(). The
 * caller closes *ret_layer, which borrows `source` until then. E2BIG: too many names. ENOMEM. */
int sfs_tree_layer_open(struct sfs_builder *builder, const struct sfs_tree *source,
                        const char *label, struct sfs_layer **ret_layer, struct sfs_error *err);

/* Appends the extents (struct sfs_extent) of a regular file of `source`, its holes left out. What
 * `zeros` names becomes a hole too, though the source has bytes there: ranges that ascend and do
 * not overlap, or NULL. 0 or -ENOMEM. */
int sfs_tree_layer_extents(const struct sfs_tree *source, sfs_node node,
                           const struct sfs_ranges *zeros, struct sfs_buf *extents);

/* Appends the extended attributes (struct sfs_builder_xattr, which borrow from the tree) of a node.
 * 0 or -ENOMEM. */
int sfs_tree_layer_xattrs(const struct sfs_tree *tree, sfs_node node, struct sfs_buf *xattrs);

/* The record of an inode of these attributes; `source` as above. */
struct sfs_inode_rec sfs_tree_layer_record(const struct sfs_attr *attr, sfs_node source);

#endif
