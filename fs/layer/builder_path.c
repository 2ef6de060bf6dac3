/* Where a path of an archive leads, as an extraction into an empty root would have it. */
#include "layer/builder_node.h"

#include "base/limits.h"

/* A path is walked as a text, into which the targets of symlinks are put. */
struct path_walk {
    struct sfs_builder *builder;
    struct builder_node *dir;
    const char *rest; /* what is still to be walked; NUL-terminated */
    struct sfs_buf spliced;
    unsigned hops;
    bool create;
};

static void close_walk(struct path_walk *walk)
{
    sfs_buf_close(&walk->spliced);
}

/* The next component that means something; size 0 at the end. "." and "//" mean nothing. */
static const char *next_component(const char *path, size_t *ret_size)
{
    for (;;) {
        path += strspn(path, "/");
        *ret_size = strcspn(path, "/");
        if (*ret_size != 1 || path[0] != '.')
            return path;
        path++;
    }
}

static int follow_symlink(struct path_walk *walk, const struct builder_node *link,
                          struct sfs_error *err)
{
    if (++walk->hops > SFS_MAX_LINK_HOPS)
        return sfs_fail(err, EBADMSG, "too many symbolic links");
    struct sfs_buf text = { 0 };
    const char *target = link->inode->target;
    if (sfs_buf_add_str(&text, target) < 0 || sfs_buf_add_str(&text, "/") < 0 ||
        sfs_buf_add_str(&text, walk->rest) < 0) {
        sfs_buf_close(&text);
        return sfs_fail_memory(err);
    }
    sfs_buf_close(&walk->spliced);
    walk->spliced = text;
    walk->rest = text.data;
    if (text.size > SFS_MAX_PATH)
        return sfs_fail(err, E2BIG, "the path is longer than %u bytes", SFS_MAX_PATH);
    if (target[0] == '/')
        walk->dir = walk->builder->root;
    return 0;
}

static int make_implied_dir(struct path_walk *walk, struct builder_node *node, const char *name,
                            size_t size, struct sfs_error *err)
{
    int r = 0;
    if (!node)
        r = sfs_builder_node_make(walk->builder, walk->dir, name, size, &node, err);
    if (r < 0)
        return r;
    struct builder_inode *inode = NULL;
    r = sfs_builder_inode_make(walk->builder, S_IFDIR | 0755, &inode, err);
    if (r < 0)
        return r;
    sfs_builder_node_set_inode(node, inode);
    node->flags |= SFS_ENTRY_IMPLIED;
    walk->dir = node;
    return 0;
}

static int enter(struct path_walk *walk, const char *name, size_t size, struct sfs_error *err)
{
    if (size == 2 && name[0] == '.' && name[1] == '.') { /* only symlink targets get this far */
        if (walk->dir->parent)
            walk->dir = walk->dir->parent;
        return 0;
    }
    struct builder_node *node = sfs_builder_node_find(walk->builder, walk->dir, name, size);
    if (!node || !node->inode) {
        if (!walk->create)
            return sfs_fail(err, ENOENT, "no such directory");
        return make_implied_dir(walk, node, name, size, err);
    }
    if (builder_node_is_dir(node)) {
        walk->dir = node;
        return 0;
    }
    if (S_ISLNK(node->inode->rec.mode))
        return follow_symlink(walk, node, err);
    return sfs_fail(err, EBADMSG, "%s is not a directory", builder_node_name(node));
}

/* Splits off the last component. EBADMSG: a component is ".." . */
static int split_path(const char *path, const char **ret_name, size_t *ret_size,
                      struct sfs_error *err)
{
    const char *name = path;
    size_t size = 0;
    for (;;) {
        size_t next_size;
        path = next_component(path, &next_size);
        if (next_size == 0)
            break;
        if (next_size == 2 && path[0] == '.' && path[1] == '.')
            return sfs_fail(err, EBADMSG, "\"..\" in a path");
        name = path;
        size = next_size;
        path += size;
    }
    *ret_name = name;
    *ret_size = size;
    return 0;
}

int sfs_builder_find_place(struct sfs_builder *builder, const char *path, unsigned flags,
                           struct builder_place *ret_place, struct sfs_error *err)
{
    const char *name = path;
    size_t size = 0;
    if (strlen(path) > SFS_MAX_PATH)
        return sfs_fail(err, E2BIG, "the path is longer than %u bytes", SFS_MAX_PATH);
    int r = split_path(path, &name, &size, err);
    if (r < 0)
        return r;
    size_t dir_size = flags & BUILDER_ENTER ? strlen(path) : (size_t)(name - path);
    struct sfs_buf *last = &builder->last_path;
    struct builder_node *dir = builder->last_dir;
    bool same = dir && !dir->dead && builder_node_is_dir(dir) && last->size == dir_size &&
                memcmp(last->data, path, dir_size) == 0;
    if (!same) {
        last->size = 0;
        builder->last_dir = NULL;
        if (sfs_buf_add(last, path, dir_size) < 0)
            return sfs_fail_memory(err);
        AUTO(close_walk)
        struct path_walk walk = { .builder = builder,
                                  .dir = builder->root,
                                  .rest = last->data,
                                  .create = flags & BUILDER_CREATE };
        for (;;) {
            size_t part_size;
            const char *part = next_component(walk.rest, &part_size);
            if (part_size == 0)
                break;
            walk.rest = part + part_size;
            r = enter(&walk, part, part_size, err);
            if (r < 0)
                return r;
        }
        dir = walk.dir;
        /* A path through a symlink may lead elsewhere next time. */
        builder->last_dir = walk.hops ? NULL : dir;
    }
    *ret_place = (struct builder_place){ .dir = dir };
    if (!(flags & BUILDER_ENTER)) {
        ret_place->name = name;
        ret_place->name_size = size;
    }
    return 0;
}
