/* From a difference of two trees to a layer: each change that is kept becomes a name of it. */
#include "slim/pick.h"

#include "base/banned.h"
#include "tree/tree_layer.h"
#include <errno.h>
#include <sys/stat.h>

struct picking {
    const struct sfs_pick *pick;
    struct sfs_builder *builder;
    uint32_t *first_paths;  /* by node: 1 + where in `paths` the name stands that has its bytes */
    struct sfs_buf paths;   /* NUL-terminated, of nodes with several names */
    struct sfs_buf extents; /* struct sfs_extent */
    struct sfs_buf xattrs;  /* struct sfs_builder_xattr */
    struct sfs_error *err;
};

static void picking_done(struct picking *picking)
{
    sfs_builder_close(&picking->builder);
    free(picking->first_paths);
    sfs_buf_close(&picking->paths);
    sfs_buf_close(&picking->extents);
    sfs_buf_close(&picking->xattrs);
}

static int collect_extents(struct picking *picking, sfs_node node)
{
    const struct sfs_pick *pick = picking->pick;
    const struct sfs_ranges *zeros = pick->zeros ? pick->zeros(pick->user, node) : NULL;
    return sfs_tree_layer_extents(pick->tree, node, zeros, &picking->extents);
}

static int add_inode(struct picking *picking, const char *path, sfs_node node,
                     const struct sfs_attr *attr)
{
    const struct sfs_tree *tree = picking->pick->tree;
    picking->extents.size = picking->xattrs.size = 0;
    if (sfs_tree_layer_xattrs(tree, node, &picking->xattrs) < 0 ||
        (S_ISREG(attr->mode) && collect_extents(picking, node) < 0))
        return sfs_fail_memory(picking->err);
    struct sfs_builder_item item = {
        .inode = sfs_tree_layer_record(attr, node),
        .target = S_ISLNK(attr->mode) ? sfs_tree_target(tree, node) : NULL,
        .extents = (const void *)picking->extents.data,
        .extent_count = (uint32_t)(picking->extents.size / sizeof(struct sfs_extent)),
        .xattrs = (const void *)picking->xattrs.data,
        .xattr_count = (uint32_t)(picking->xattrs.size / sizeof(struct sfs_builder_xattr)),
    };
    return sfs_builder_add(picking->builder, path, &item, picking->err);
}

/* Adds a name of a node: the first one has the bytes, the others are hard links to it. */
static int add_name(struct picking *picking, const char *path, sfs_node node)
{
    struct sfs_attr attr;
    sfs_tree_attr(picking->pick->tree, node, &attr);
    uint32_t *first = &picking->first_paths[node];
    if (*first > 0)
        return sfs_builder_link(picking->builder, path, picking->paths.data + *first - 1,
                                picking->err);
    if (!S_ISDIR(attr.mode) && attr.nlink > 1) {
        if (picking->paths.size > UINT32_MAX / 2)
            return sfs_fail(picking->err, E2BIG, "the paths of hard links are too long");
        *first = (uint32_t)picking->paths.size + 1;
        if (sfs_buf_add(&picking->paths, path, strlen(path) + 1) < 0)
            return sfs_fail_memory(picking->err);
    }
    return add_inode(picking, path, node, &attr);
}

static int add_change(void *user, const struct sfs_change *change)
{
    struct picking *picking = user;
    const struct sfs_pick *pick = picking->pick;
    if (change->kind == SFS_REMOVED)
        return sfs_builder_whiteout(picking->builder, change->path, picking->err);
    if (change->b == SFS_ROOT || (pick->keeps && !pick->keeps(pick->user, change->path, change->b)))
        return 0;
    return add_name(picking, change->path, change->b);
}

int sfs_pick_layer(const struct sfs_pick *pick, const char *label, struct sfs_layer **ret_layer,
                   struct sfs_error *err)
{
    AUTO(picking_done)
    struct picking picking = {
        .pick = pick,
        .builder = sfs_builder_open(),
        .first_paths = calloc(sfs_tree_count(pick->tree), sizeof *picking.first_paths),
        .err = err,
    };
    if (!picking.builder || !picking.first_paths)
        return sfs_fail_memory(err);
    int r = sfs_tree_diff(pick->base, pick->tree, 0, add_change, &picking, err);
    if (r < 0)
        return r;
    return sfs_tree_layer_open(picking.builder, pick->tree, label, ret_layer, err);
}
