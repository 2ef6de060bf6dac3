/* What an item's tar header says: times, attributes that stay on the builder's machine, links. */
#include "commit/layer_entry.h"

#include <errno.h>
#include <sys/stat.h>

/* Is it an attribute that means something on the builder's machine only? */
static bool is_local_xattr(const char *name)
{
    return strcmp(name, "security.selinux") == 0;
}

static int get_xattrs(const struct sfs_tree *tree, sfs_node node, struct sfs_layer_entry *entry)
{
    uint32_t all = sfs_tree_xattr_count(tree, node), count = 0;
    entry->xattrs = all ? calloc(all, sizeof *entry->xattrs) : NULL;
    if (all && !entry->xattrs)
        return -ENOMEM;
    for (uint32_t i = 0; i < all; i++) {
        entry->xattrs[count] = sfs_tree_xattr(tree, node, i);
        if (!is_local_xattr(entry->xattrs[count].name))
            count++;
    }
    entry->tar.xattrs = entry->xattrs;
    entry->tar.xattr_count = count;
    return 0;
}

static void settle_time(const struct sfs_layer_write *write, struct sfs_layer_entry *entry)
{
    int64_t *mtime = &entry->tar.attr.mtime_sec;
    if (!write->has_epoch || *mtime == write->epoch ||
        (*mtime < write->epoch && !write->set_mtimes))
        return;
    *mtime = write->epoch;
    entry->new_time = true;
}

/* A hard link's header repeats the inode's metadata with its xattrs, since podman and docker set
 * the owner again through each name, which takes away security.capability. */
int sfs_layer_entry_get(const struct sfs_layer_write *write, const struct sfs_item *item,
                        struct sfs_layer_entry *ret_entry, struct sfs_error *err)
{
    const struct sfs_changes *changes = write->changes;
    *ret_entry = (struct sfs_layer_entry){ .tar.path = sfs_changes_path(changes, item) };
    struct sfs_tar_entry *tar = &ret_entry->tar;
    if (item->kind == SFS_ITEM_WHITEOUT || item->kind == SFS_ITEM_LANDMARK) {
        bool is_landmark = item->kind == SFS_ITEM_LANDMARK;
        tar->attr.mode = S_IFREG | (is_landmark ? 0444 : 0);
        tar->attr.size = is_landmark;
        return 0;
    }
    tar->target = sfs_tree_target(write->tree, item->node);
    tar->hard_link = item->kind == SFS_ITEM_LINK;
    if (tar->hard_link)
        tar->target = sfs_changes_path(changes, &changes->items[item->first]);
    sfs_tree_attr(write->tree, item->node, &tar->attr);
    settle_time(write, ret_entry);
    return get_xattrs(write->tree, item->node, ret_entry) < 0 ? sfs_fail_memory(err) : 0;
}

void sfs_layer_entry_done(struct sfs_layer_entry *entry)
{
    free(entry->xattrs);
    entry->xattrs = NULL;
}
