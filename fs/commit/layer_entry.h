/* An item of a layer as its tar header has it. */
#ifndef STAGEFS_LAYER_ENTRY_H
#define STAGEFS_LAYER_ENTRY_H

#include "commit/layer_options.h"
#include "layer/tar_write.h"

struct sfs_layer_entry {
    struct sfs_tar_entry tar; /* borrows from tree and changes */
    struct sfs_xattr *xattrs; /* owned */
    bool new_time;            /* its mtime is not the node's */
};

/* Says what an item's header has; the caller calls sfs_layer_entry_done(). ENOMEM. */
int sfs_layer_entry_get(const struct sfs_layer_write *write, const struct sfs_item *item,
                        struct sfs_layer_entry *ret_entry, struct sfs_error *err);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_layer_entry_done(struct sfs_layer_entry *entry);

#endif
