/* What a layer holds: the items that lead from a base tree to another, in the order of the tar.
 *
 * They are in the order of their names (unless sfs_changes_order() made another), parents before
 * children. What did not change, and what is below a removed directory, is not among them. */
#ifndef STAGEFS_CHANGES_H
#define STAGEFS_CHANGES_H

#include "base/buf.h"
#include <stagefs/tree.h>

enum sfs_item_kind {
    SFS_ITEM_ENTRY,    /* the node, with its content */
    SFS_ITEM_LINK,     /* another name of a node that stands further up: see `first` */
    SFS_ITEM_WHITEOUT, /* a name that is removed */
    SFS_ITEM_LANDMARK, /* eStargz's own: see order.h */
};

struct sfs_item {
    uint64_t path;       /* offset in texts; a whiteout's with its ".wh." */
    sfs_node node;       /* in the stage's tree; SFS_ROOT for a whiteout or a landmark */
    uint32_t kind : 2;   /* enum sfs_item_kind */
    uint32_t first : 30; /* of a LINK: the item that carries the content */
};

struct sfs_changes { /* all-zero is empty */
    struct sfs_item *items;
    size_t count, capacity;
    struct sfs_buf texts;      /* the paths */
    uint64_t files, whiteouts; /* how many; only regular files that carry their content count */
    uint64_t file_bytes;       /* bytes of those files */
};

/* Finds the items that lead from `base` to `tree`; the caller calls sfs_changes_done(). ENOTSUP: a
 * name that a layer cannot hold (it begins with ".wh."). E2BIG: too many entries. */
int sfs_changes_find(const struct sfs_tree *base, const struct sfs_tree *tree,
                     struct sfs_changes *ret_changes, struct sfs_error *err);
/* The path of an item; borrowed until the changes are. */
const char *sfs_changes_path(const struct sfs_changes *changes, const struct sfs_item *item);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_changes_done(struct sfs_changes *changes);

#endif
