/* What a layer brings to a tree, and how much of it later layers hide. */
#ifndef STAGEFS_USAGE_H
#define STAGEFS_USAGE_H

#include <stagefs/tree.h>

struct sfs_layer_usage {
    uint64_t bytes;         /* of the layer's regular files, each inode once */
    uint64_t visible_bytes; /* of those that the tree shows; the rest is pulled for nothing */
    uint32_t names;         /* without directories that the layer only implies */
    uint32_t whiteouts;     /* names that it removes */
};

/* What layer number `layer`, from 0, brings to the tree. Does not wait. EINVAL: no such layer. */
int sfs_tree_layer_usage(const struct sfs_tree *tree, size_t layer,
                         struct sfs_layer_usage *ret_usage, struct sfs_error *err);

/* Makes one tree for each layer, each showing that layer alone, for `mount --layers`: what it hides
 * is there as 0/0 character devices and opaque directories, as overlayfs has it, so that an overlay
 * of them shows `tree`. (One thing no overlay can: a layer that writes through a symlink of a lower
 * one.) Borrows the layers as `tree` does; close with sfs_tree_split_close(). EBADMSG: a hard link
 * leads nowhere. */
int sfs_tree_split(const struct sfs_tree *tree, struct sfs_tree ***ret_trees, size_t *ret_count,
                   struct sfs_error *err);
/* Closes the trees and frees the array; sets NULL. */
void sfs_tree_split_close(struct sfs_tree ***trees, size_t count);

#endif
