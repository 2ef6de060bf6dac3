/* What the records of an archive do to the names collected so far: the same as extracting them in
 * order into an empty root, except that whiteouts are kept as marks for the layers below. */
#include "base/limits.h"
#include "layer/builder_node.h"

struct sfs_builder *sfs_builder_open(void)
{
    AUTO(sfs_builder_close) struct sfs_builder *builder = calloc(1, sizeof *builder);
    if (!builder || sfs_builder_node_init(builder) < 0)
        return NULL;
    return TAKE(builder);
}

void sfs_builder_close(struct sfs_builder **builder)
{
    if (*builder)
        sfs_builder_node_done(*builder);
    free(*builder);
    *builder = NULL;
}

static int compare_xattrs(const void *a, const void *b)
{
    const struct sfs_builder_xattr *left = a, *right = b;
    return strcmp(left->name, right->name);
}

static bool same_xattrs(const struct builder_xattrs *a, const struct builder_xattrs *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct sfs_builder_xattr *left = &a->items[i], *right = &b->items[i];
        if (left->size != right->size || strcmp(left->name, right->name) != 0 ||
            memcmp(left->value, right->value, left->size) != 0)
            return false;
    }
    return true;
}

/* Names are unique once sorted; of equal names the last one given wins. */
static void drop_repeated_names(struct builder_xattrs *set)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        if (kept > 0 && strcmp(set->items[kept - 1].name, set->items[i].name) == 0)
            kept--;
        set->items[kept++] = set->items[i];
    }
    set->count = kept;
}

static int check_xattrs(const struct sfs_builder_item *item, struct sfs_error *err)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < item->xattr_count; i++) {
        const struct sfs_builder_xattr *xattr = &item->xattrs[i];
        size_t name_size = strlen(xattr->name);
        if (name_size == 0 || name_size > SFS_MAX_NAME)
            return sfs_fail(err, EBADMSG, "the name of an extended attribute has %zu bytes",
                            name_size);
        if (xattr->size > SFS_MAX_XATTR)
            return sfs_fail(err, E2BIG, "extended attribute %s is larger than %u bytes",
                            xattr->name, SFS_MAX_XATTR);
        total += name_size + xattr->size;
    }
    if (total > SFS_MAX_XATTRS)
        return sfs_fail(err, E2BIG, "extended attributes are larger than %u bytes", SFS_MAX_XATTRS);
    return 0;
}

static int copy_xattrs(struct sfs_builder *builder, const struct sfs_builder_item *item,
                       struct builder_xattrs **ret_set, struct sfs_error *err)
{
    *ret_set = NULL;
    if (item->xattr_count == 0)
        return 0;
    int r = check_xattrs(item, err);
    if (r < 0)
        return r;
    size_t size = item->xattr_count * sizeof *item->xattrs;
    struct builder_xattrs *set = sfs_builder_alloc(builder, sizeof *set + size);
    if (!set)
        return sfs_fail_memory(err);
    set->count = item->xattr_count;
    set->first = UINT32_MAX;
    memcpy(set->items, item->xattrs, size);
    /* glibc's qsort merges, so equal names keep their order. */
    qsort(set->items, set->count, sizeof *set->items, compare_xattrs);
    drop_repeated_names(set);
    if (builder->last_xattrs && same_xattrs(set, builder->last_xattrs)) {
        *ret_set = builder->last_xattrs;
        return 0;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        struct sfs_builder_xattr *xattr = &set->items[i];
        xattr->name = sfs_builder_copy_text(builder, xattr->name, strlen(xattr->name));
        xattr->value = sfs_builder_copy_text(builder, xattr->value, xattr->size);
        if (!xattr->name || !xattr->value)
            return sfs_fail_memory(err);
    }
    *ret_set = builder->last_xattrs = set;
    return 0;
}

static int copy_target(struct sfs_builder *builder, const char *target, const char **ret_target,
                       struct sfs_error *err)
{
    size_t size = target ? strlen(target) : 0;
    if (size == 0)
        return sfs_fail(err, EBADMSG, "a symbolic link has no target");
    if (size > SFS_MAX_SYMLINK)
        return sfs_fail(err, EBADMSG, "the target of a symbolic link is longer than %u bytes",
                        SFS_MAX_SYMLINK);
    *ret_target = sfs_builder_copy_text(builder, target, size);
    return *ret_target ? 0 : sfs_fail_memory(err);
}

static int copy_extents(struct sfs_builder *builder, const struct sfs_builder_item *item,
                        struct builder_inode *inode, struct sfs_error *err)
{
    struct sfs_extent *copy = sfs_builder_alloc(builder, item->extent_count * sizeof *copy);
    if (!copy)
        return sfs_fail_memory(err);
    uint64_t end = 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < item->extent_count; i++) {
        struct sfs_extent extent = item->extents[i];
        uint64_t data_end;
        if (extent.size == 0)
            continue;
        if (extent.file_offset < end || extent.file_offset > inode->rec.size ||
            extent.size > inode->rec.size - extent.file_offset ||
            __builtin_add_overflow(extent.data_offset, extent.size, &data_end))
            return sfs_fail(err, EBADMSG, "a run of file bytes lies outside the file");
        end = extent.file_offset + extent.size;
        copy[kept++] = extent;
    }
    inode->extents = copy;
    inode->rec.count = kept;
    return 0;
}

static int copy_item(struct sfs_builder *builder, const struct sfs_builder_item *item,
                     struct builder_inode **ret_inode, struct sfs_error *err)
{
    uint32_t mode = item->inode.mode;
    struct builder_inode *inode = NULL;
    int r = sfs_builder_inode_make(builder, mode, &inode, err);
    if (r < 0)
        return r;
    inode->rec = item->inode;
    inode->rec.first = inode->rec.count = inode->rec.string = inode->rec.nlink = 0;
    inode->rec.xattrs = inode->rec.xattr_count = 0;
    if (inode->rec.mtime_nsec >= 1000000000)
        return sfs_fail(err, EBADMSG, "a time has %u nanoseconds", inode->rec.mtime_nsec);
    if (!S_ISREG(mode))
        inode->rec.size = 0;
    if (!S_ISCHR(mode) && !S_ISBLK(mode))
        inode->rec.rdev_major = inode->rec.rdev_minor = 0;

    if (S_ISREG(mode)) {
        if (inode->rec.size > INT64_MAX)
            return sfs_fail(err, EBADMSG, "the file's size is out of range");
        r = copy_extents(builder, item, inode, err);
    } else if (S_ISLNK(mode)) {
        inode->rec.mode = S_IFLNK | 0777;
        r = copy_target(builder, item->target, &inode->target, err);
        inode->rec.size = r < 0 ? 0 : strlen(inode->target);
    } else if (!S_ISDIR(mode) && !S_ISCHR(mode) && !S_ISBLK(mode) && !S_ISFIFO(mode)) {
        r = sfs_fail(err, EBADMSG, "unknown file type %o", mode & S_IFMT);
    }
    if (r < 0)
        return r;
    r = copy_xattrs(builder, item, &inode->xattrs, err);
    if (r < 0)
        return r;
    *ret_inode = inode;
    return 0;
}

/* Finds or makes the node that a place names. */
static int claim_place(struct sfs_builder *builder, const struct builder_place *place,
                       struct builder_node **ret_node, struct sfs_error *err)
{
    *ret_node = place->dir;
    if (place->name_size == 0)
        return 0;
    *ret_node = sfs_builder_node_find(builder, place->dir, place->name, place->name_size);
    if (*ret_node)
        return 0;
    return sfs_builder_node_make(builder, place->dir, place->name, place->name_size, ret_node, err);
}

/* Finds or makes the node that a path names. `root_fault`: what is wrong if that is the root; NULL:
 * nothing. */
static int claim_path(struct sfs_builder *builder, const char *path, const char *root_fault,
                      struct builder_node **ret_node, struct sfs_error *err)
{
    struct builder_place place;
    int r = sfs_builder_find_place(builder, path, BUILDER_CREATE, &place, err);
    if (r < 0)
        return r;
    if (place.name_size == 0 && root_fault)
        return sfs_fail(err, EBADMSG, "%s", root_fault);
    return claim_place(builder, &place, ret_node, err);
}

static void replace_inode(struct sfs_builder *builder, struct builder_node *node,
                          struct builder_inode *inode)
{
    bool was_dir = builder_node_is_dir(node), is_dir = S_ISDIR(inode->rec.mode);
    if (was_dir && !is_dir) {
        sfs_builder_node_prune(builder, node);
        node->flags &= (uint16_t)~SFS_ENTRY_OPAQUE;
    }
    /* What stood here between hid the directory of the lower layers. */
    if (!was_dir && is_dir && node->inode)
        node->flags |= SFS_ENTRY_WHITEOUT;
    node->flags &= (uint16_t) ~(SFS_ENTRY_IMPLIED | SFS_ENTRY_LINK);
    sfs_builder_node_set_inode(node, inode);
}

int sfs_builder_add(struct sfs_builder *builder, const char *path,
                    const struct sfs_builder_item *item, struct sfs_error *err)
{
    struct builder_inode *inode = NULL;
    int r = copy_item(builder, item, &inode, err);
    if (r < 0)
        return r;
    bool is_dir = S_ISDIR(inode->rec.mode);
    struct builder_node *node = NULL;
    r = claim_path(builder, path, is_dir ? NULL : "the root is not a directory", &node, err);
    if (r < 0)
        return r;
    replace_inode(builder, node, inode);
    return 0;
}

/* Makes the inode of a hard link to a path that the layer does not have; its target is that path,
 * normalised. */
static int make_outside_link(struct sfs_builder *builder, const char *target,
                             struct builder_inode **ret_inode, struct sfs_error *err)
{
    char *text = sfs_builder_alloc(builder, strlen(target) + 1);
    if (!text)
        return sfs_fail_memory(err);
    size_t used = 0;
    for (const char *part = target; *part;) {
        size_t size = strcspn(part, "/");
        if (size > 0 && !(size == 1 && part[0] == '.')) {
            if (used > 0)
                text[used++] = '/';
            memcpy(text + used, part, size);
            used += size;
        }
        part += size;
        part += strspn(part, "/");
    }
    text[used] = '\0';
    int r = sfs_builder_inode_make(builder, 0, ret_inode, err);
    if (r == 0)
        (*ret_inode)->target = text;
    return r;
}

static int find_link_target(struct sfs_builder *builder, const char *target,
                            struct builder_node **ret_node, struct sfs_error *err)
{
    struct builder_place place;
    *ret_node = NULL;
    int r = sfs_builder_find_place(builder, target, 0, &place, err);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    if (place.name_size == 0)
        return sfs_fail(err, EBADMSG, "a hard link to the root");
    struct builder_node *node =
        sfs_builder_node_find(builder, place.dir, place.name, place.name_size);
    if (node && builder_node_is_dir(node))
        return sfs_fail(err, EBADMSG, "a hard link to a directory");
    *ret_node = node && node->inode ? node : NULL;
    return 0;
}

int sfs_builder_link(struct sfs_builder *builder, const char *path, const char *target,
                     struct sfs_error *err)
{
    struct builder_node *to = NULL, *node = NULL;
    int r = find_link_target(builder, target, &to, err);
    if (r < 0)
        return r;
    r = claim_path(builder, path, "the root is a hard link", &node, err);
    if (r < 0 || node == to)
        return r;
    for (const struct builder_node *above = to; above; above = above->parent)
        if (above == node)
            return sfs_fail(err, EBADMSG, "a hard link replaces the directory of its target");

    struct builder_inode *inode = to ? to->inode : NULL;
    if (!inode)
        r = make_outside_link(builder, target, &inode, err);
    if (r < 0)
        return r;
    replace_inode(builder, node, inode);
    if (inode->rec.mode == 0)
        node->flags |= SFS_ENTRY_LINK;
    return 0;
}

int sfs_builder_whiteout(struct sfs_builder *builder, const char *path, struct sfs_error *err)
{
    struct builder_place place;
    struct builder_node *node = NULL;
    int r = sfs_builder_find_place(builder, path, BUILDER_CREATE, &place, err);
    if (r < 0)
        return r;
    if (place.name_size == 0)
        return sfs_fail(err, EBADMSG, "a whiteout of the root");
    r = claim_place(builder, &place, &node, err);
    if (r < 0)
        return r;
    node->flags |= SFS_ENTRY_WHITEOUT;
    return 0;
}

int sfs_builder_opaque(struct sfs_builder *builder, const char *path, struct sfs_error *err)
{
    struct builder_place place;
    int r = sfs_builder_find_place(builder, path, BUILDER_CREATE | BUILDER_ENTER, &place, err);
    if (r < 0)
        return r;
    place.dir->flags |= SFS_ENTRY_OPAQUE;
    return 0;
}

/* The node at a path. NULL: there is none, or cannot be. */
static struct builder_node *find_node(struct sfs_builder *builder, const char *path)
{
    struct builder_place place;
    if (sfs_builder_find_place(builder, path, 0, &place, NULL) < 0 || place.name_size == 0)
        return NULL;
    return sfs_builder_node_find(builder, place.dir, place.name, place.name_size);
}

bool sfs_builder_has(struct sfs_builder *builder, const char *path)
{
    const struct builder_node *node = find_node(builder, path);
    return node && node->inode;
}

int sfs_builder_remove(struct sfs_builder *builder, const char *path, struct sfs_error *err)
{
    struct builder_place place;
    int r = sfs_builder_find_place(builder, path, 0, &place, err);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    struct builder_node *node = find_node(builder, path);
    if (node)
        sfs_builder_node_remove(builder, node);
    return 0;
}
