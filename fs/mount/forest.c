/* How inodes are numbered, and what each of them is: numbers are given once, when the forest is
 * opened; all later questions are an addition and a short search. */
#include "mount/forest.h"

#include "base/limits.h"
#include "tree/nodes.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <sys/sysmacros.h>

#define BLOCK 512u
/* What stat() gives as st_blksize. Bigger than a page, so that programs which size their buffers by
 * it make fewer calls; below the size from which malloc() maps and unmaps every buffer. */
#define IO_SIZE (64u << 10)
/* A file may be cut into millions of extents. Behind so many holes, all counts as data. */
#define MAX_HOLES_COUNTED 4096u

static int name_trees(struct sfs_forest *forest, struct sfs_error *err)
{
    forest->numbers = calloc(forest->count + 1, sizeof *forest->numbers);
    forest->names = calloc(forest->count + 1, sizeof *forest->names);
    if (!forest->numbers || !forest->names)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < forest->count; i++) {
        int size = snprintf(forest->names[i], sizeof forest->names[i], "%zu", i);
        forest->numbers[i] = (struct sfs_dirent){ .name = forest->names[i],
                                                  .name_size = (uint32_t)size,
                                                  .node = (sfs_node)i };
    }
    return 0;
}

int sfs_forest_open(struct sfs_forest *forest, const struct sfs_tree *const *trees, size_t count,
                    bool numbered, struct sfs_error *err)
{
    *forest = (struct sfs_forest){ .trees = trees, .count = count, .numbered = numbered };
    forest->first = calloc(count + 1, sizeof *forest->first);
    if (!forest->first)
        return sfs_fail_memory(err);
    forest->first[0] = numbered ? SFS_INO_ROOT + 1 : SFS_INO_ROOT;
    for (size_t i = 0; i < count; i++)
        forest->first[i + 1] = forest->first[i] + sfs_tree_count(trees[i]);
    if (!numbered)
        return 0;
    int r = name_trees(forest, err);
    if (r < 0)
        sfs_forest_done(forest);
    return r;
}

void sfs_forest_done(struct sfs_forest *forest)
{
    free(forest->first);
    free(forest->numbers);
    free(forest->names);
    *forest = (struct sfs_forest){ 0 };
}

/* The last tree whose first number is not above `ino`. */
static size_t tree_of(const struct sfs_forest *forest, sfs_ino ino)
{
    size_t low = 0, high = forest->count - 1;
    while (low < high) {
        size_t middle = high - (high - low) / 2;
        if (forest->first[middle] <= ino)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

bool sfs_forest_locate(const struct sfs_forest *forest, sfs_ino ino, struct sfs_place *ret_place)
{
    if (forest->numbered && ino == SFS_INO_ROOT) {
        *ret_place = (struct sfs_place){ 0 };
        return true;
    }
    if (forest->count == 0 || ino < forest->first[0] || ino >= forest->first[forest->count])
        return false;
    size_t i = forest->count == 1 ? 0 : tree_of(forest, ino);
    *ret_place = (struct sfs_place){ .tree = forest->trees[i],
                                     .index = i,
                                     .node = (sfs_node)(ino - forest->first[i]) };
    return true;
}

/* How many bytes of a file are not holes, for what `du` shows. */
static uint64_t count_data(const struct sfs_tree *tree, sfs_node node, uint64_t size)
{
    uint64_t data = 0, at = 0;
    for (unsigned i = 0; at < size; i++) {
        uint64_t start, end;
        if (i == MAX_HOLES_COUNTED)
            return data + (size - at);
        if (sfs_tree_seek(tree, node, at, false, &start) < 0 || start >= size)
            break;
        if (sfs_tree_seek(tree, node, start, true, &end) < 0 || end <= start)
            end = size;
        data += end - start;
        at = end;
    }
    return data;
}

dev_t sfs_forest_rdev(const struct sfs_forest *forest, const struct sfs_attr *attr)
{
    bool is_whiteout = S_ISCHR(attr->mode) && attr->rdev_major == 0 && attr->rdev_minor == 0;
    if (is_whiteout && forest->is_merged_below)
        return makedev(0, 1);
    return makedev(attr->rdev_major, attr->rdev_minor);
}

static void fill_stat(const struct sfs_forest *forest, const struct sfs_tree *tree, sfs_node node,
                      sfs_ino ino, struct stat *st)
{
    struct sfs_attr attr;
    sfs_tree_attr(tree, node, &attr);
    struct timespec time = { .tv_sec = attr.mtime_sec, .tv_nsec = attr.mtime_nsec };
    uint64_t data = S_ISREG(attr.mode) ? count_data(tree, node, attr.size) : 0;
    *st = (struct stat){
        .st_ino = ino,
        .st_mode = attr.mode,
        .st_nlink = attr.nlink,
        .st_uid = attr.uid,
        .st_gid = attr.gid,
        .st_rdev = sfs_forest_rdev(forest, &attr),
        .st_size = (off_t)attr.size,
        .st_blksize = IO_SIZE,
        .st_blocks = (blkcnt_t)(data / BLOCK + (data % BLOCK != 0)),
        .st_atim = time,
        .st_mtim = time,
        .st_ctim = time,
    };
}

int sfs_forest_stat(const struct sfs_forest *forest, sfs_ino ino, struct stat *ret_stat)
{
    struct sfs_place place;
    if (!sfs_forest_locate(forest, ino, &place))
        return -ESTALE;
    if (place.tree) {
        fill_stat(forest, place.tree, place.node, ino, ret_stat);
        return 0;
    }
    *ret_stat = (struct stat){ .st_ino = ino,
                               .st_mode = S_IFDIR | 0755,
                               .st_nlink = 2 + forest->count,
                               .st_blksize = IO_SIZE };
    return 0;
}

int sfs_forest_parent(const struct sfs_forest *forest, sfs_ino dir, sfs_ino *ret_ino)
{
    struct sfs_place place;
    if (!sfs_forest_locate(forest, dir, &place))
        return -ESTALE;
    if (!place.tree || place.node == SFS_ROOT)
        *ret_ino = SFS_INO_ROOT;
    else
        *ret_ino = forest->first[place.index] + sfs_tree_parent(place.tree, place.node);
    return 0;
}

static int find_number(const struct sfs_forest *forest, const char *name, sfs_ino *ret_ino)
{
    for (size_t i = 0; i < forest->count; i++)
        if (strcmp(forest->names[i], name) == 0) {
            *ret_ino = forest->first[i];
            return 0;
        }
    return -ENOENT;
}

int sfs_forest_find(const struct sfs_forest *forest, sfs_ino dir, const char *name,
                    sfs_ino *ret_ino)
{
    struct sfs_place place;
    if (!sfs_forest_locate(forest, dir, &place))
        return -ESTALE;
    if (strcmp(name, ".") == 0) {
        *ret_ino = dir;
        return 0;
    }
    if (strcmp(name, "..") == 0)
        return sfs_forest_parent(forest, dir, ret_ino);
    if (!place.tree)
        return find_number(forest, name, ret_ino);
    sfs_node node;
    size_t size = strlen(name);
    if (size > SFS_MAX_NAME)
        return -ENAMETOOLONG;
    int r = sfs_tree_find(place.tree, place.node, name, size, &node);
    if (r == 0)
        *ret_ino = forest->first[place.index] + node;
    return r;
}

int sfs_forest_list(const struct sfs_forest *forest, sfs_ino dir, struct sfs_listing *ret_listing)
{
    struct sfs_place place;
    if (!sfs_forest_locate(forest, dir, &place))
        return -ESTALE;
    if (!place.tree) {
        *ret_listing = (struct sfs_listing){ .entries = forest->numbers,
                                             .count = (uint32_t)forest->count,
                                             .roots = forest->first };
        return 0;
    }
    *ret_listing = (struct sfs_listing){ .first = forest->first[place.index] };
    ret_listing->entries = sfs_tree_list(place.tree, place.node, &ret_listing->count);
    return 0;
}

void sfs_forest_sum(const struct sfs_forest *forest, struct sfs_forest_sums *ret_sums)
{
    struct sfs_forest_sums sums = { .inodes = forest->numbered };
    for (size_t i = 0; i < forest->count; i++) {
        uint32_t count = sfs_tree_count(forest->trees[i]);
        for (sfs_node node = 0; node < count; node++) {
            struct stat st;
            fill_stat(forest, forest->trees[i], node, 0, &st);
            sums.blocks += (uint64_t)st.st_blocks;
        }
        sums.inodes += count;
    }
    *ret_sums = sums;
}

void sfs_forest_count_holes(const struct sfs_forest *forest, uint64_t least,
                            struct sfs_forest_holes *ret_holes)
{
    *ret_holes = (struct sfs_forest_holes){ 0 };
    for (size_t i = 0; i < forest->count; i++) {
        const struct sfs_tree *tree = forest->trees[i];
        uint32_t count = sfs_tree_count(tree);
        for (sfs_node node = 0; node < count; node++) {
            struct sfs_attr attr;
            sfs_tree_attr(tree, node, &attr);
            if (!S_ISREG(attr.mode) || attr.size < least)
                continue;
            uint64_t holes = attr.size - count_data(tree, node, attr.size);
            if (holes >= least) /* some may stand for device code that went: commit writes zeros */
                holes = sfs_tree_source_holes(tree, node);
            ret_holes->files += holes >= least;
            ret_holes->bytes += holes >= least ? holes : 0;
        }
    }
}

/* --- extended attributes ---------------------------------------------------------------------- */

static const char *overlay_prefix(const struct sfs_forest *forest)
{
    return forest->overlay == SFS_OVERLAY_USER ? "user.overlay." : "trusted.overlay.";
}

static bool is_opaque(const struct sfs_forest *forest, const struct sfs_place *place)
{
    return forest->overlay != SFS_OVERLAY_NONE &&
           place->tree->nodes[place->node].flags & SFS_NODE_OPAQUE;
}

uint32_t sfs_forest_xattr_count(const struct sfs_forest *forest, const struct sfs_place *place)
{
    if (!place->tree)
        return 0;
    return sfs_tree_xattr_count(place->tree, place->node) + is_opaque(forest, place);
}

bool sfs_forest_xattr(const struct sfs_forest *forest, const struct sfs_place *place, uint32_t i,
                      struct sfs_forest_xattr *ret_xattr)
{
    const char *prefix = overlay_prefix(forest);
    if (i == sfs_tree_xattr_count(place->tree, place->node)) {
        snprintf(ret_xattr->room, sizeof ret_xattr->room, "%sopaque", prefix);
        ret_xattr->name = ret_xattr->room;
        ret_xattr->value = "y";
        ret_xattr->size = 1;
        return true;
    }
    struct sfs_xattr xattr = sfs_tree_xattr(place->tree, place->node, i);
    ret_xattr->name = xattr.name;
    ret_xattr->value = xattr.value;
    ret_xattr->size = xattr.size;
    if (forest->overlay == SFS_OVERLAY_NONE || strncmp(xattr.name, prefix, strlen(prefix)) != 0)
        return true;
    int size = snprintf(ret_xattr->room, sizeof ret_xattr->room, "%soverlay.%s", prefix,
                        xattr.name + strlen(prefix));
    ret_xattr->name = ret_xattr->room;
    return (size_t)size < sizeof ret_xattr->room;
}

static bool has_acl(const struct sfs_tables *tables)
{
    const char *prefix = "system.posix_acl_";
    for (uint32_t i = 0; i < tables->xattr_count; i++)
        if (strncmp(tables->strings + tables->xattrs[i].name, prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

/* Has the tree a directory that is marked as opaque? That mark is not among the attributes in the
 * layers' tables. */
static bool has_opaque(const struct sfs_tree *tree)
{
    for (sfs_node i = 0; i < tree->node_count; i++)
        if (tree->nodes[i].flags & SFS_NODE_OPAQUE)
            return true;
    return false;
}

/* This looks into the layers' tables and not at a million nodes, since mounting waits for it. */
void sfs_forest_scan_xattrs(const struct sfs_forest *forest, bool *ret_any, bool *ret_acls)
{
    *ret_any = *ret_acls = false;
    for (size_t i = 0; i < forest->count; i++) {
        *ret_any = *ret_any || has_opaque(forest->trees[i]);
        for (size_t j = 0; j < forest->trees[i]->layer_count; j++) {
            const struct sfs_tables *tables = &forest->trees[i]->layers[j]->tables;
            *ret_any = *ret_any || tables->xattr_count > 0;
            *ret_acls = *ret_acls || has_acl(tables);
        }
    }
}
