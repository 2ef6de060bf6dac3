/* Which of a layer's names its index may tell, and which make it give up. */
#include "commit/layer_names.h"

#include "layer/tar_read.h"
#include "layer/whiteout.h"
#include <errno.h>
#include <sys/stat.h>

#define MAX_XATTRS 64u

/* Has the entry no ACLs? With them, readers change the mode's bits: a pass has to read it. */
static bool are_plain(const struct sfs_tar_entry *tar)
{
    for (uint32_t i = 0; i < tar->xattr_count; i++)
        if (strncmp(tar->xattrs[i].name, "system.", 7) == 0)
            return false;
    return tar->xattr_count <= MAX_XATTRS;
}

/* The inode as a reader sees it: a tar of ours has whole seconds. */
static struct sfs_inode_rec make_inode(const struct sfs_attr *attr)
{
    bool is_device = S_ISCHR(attr->mode) || S_ISBLK(attr->mode);
    return (struct sfs_inode_rec){
        .size = S_ISREG(attr->mode) ? attr->size : 0,
        .mtime_sec = attr->mtime_sec,
        .mode = attr->mode,
        .uid = attr->uid,
        .gid = attr->gid,
        .rdev_major = is_device ? attr->rdev_major : 0,
        .rdev_minor = is_device ? attr->rdev_minor : 0,
    };
}

static int add_file(struct sfs_index_maker *maker, const struct sfs_tar_entry *tar, uint64_t data)
{
    struct sfs_builder_xattr xattrs[MAX_XATTRS];
    const struct sfs_extent extent = { .data_offset = data, .size = tar->attr.size };
    bool has_content = S_ISREG(tar->attr.mode) && tar->attr.size > 0;
    struct sfs_builder_item item = { .inode = make_inode(&tar->attr),
                                     .target = S_ISLNK(tar->attr.mode) ? tar->target : NULL,
                                     .extents = &extent,
                                     .extent_count = has_content,
                                     .xattrs = xattrs };
    for (uint32_t i = 0; i < tar->xattr_count; i++) {
        const struct sfs_xattr *from = &tar->xattrs[i];
        if (sfs_tar_xattr_is_shown(from->name))
            xattrs[item.xattr_count++] =
                (struct sfs_builder_xattr){ from->name, from->value, from->size };
    }
    return sfs_builder_add(sfs_index_maker_names(maker), tar->path, &item, NULL);
}

void sfs_layer_names_add(struct sfs_index_maker *maker, const struct sfs_layer_entry *entry,
                         uint64_t data)
{
    const struct sfs_tar_entry *tar = &entry->tar;
    struct sfs_builder *names = sfs_index_maker_names(maker);
    int r = are_plain(tar) ? sfs_whiteout_take(names, tar->path, NULL) : -ENOTSUP;
    if (r == 0)
        r = tar->hard_link ? sfs_builder_link(names, tar->path, tar->target, NULL)
                           : add_file(maker, tar, data);
    if (r < 0)
        sfs_index_maker_give_up(maker);
}
