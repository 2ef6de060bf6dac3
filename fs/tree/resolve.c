#include <stagefs/format.h>
/* Paths inside a tree. What is still to be walked is one string; following a symlink puts its
 * target in front of it. */
#include "tree/nodes.h"

#include "base/limits.h"
#include "tree/tree_inner.h"

struct walker {
    const struct sfs_tree *tree;
    sfs_node dir;
    char *rest;    /* what is still to be walked once a symlink was followed; owned */
    unsigned hops; /* how many symlinks were followed */
    bool believes; /* SFS_RESOLVE_UNCONFIRMED */
    void (*pass)(void *user, const struct sfs_dirent *name); /* told of each name; may be NULL */
    void *user;
};

static void walker_done(struct walker *walker)
{
    free(walker->rest);
}

/* Sets *path to the symlink's target with `rest` behind it. */
static int follow(struct walker *walker, sfs_node link, const char *rest, const char **path,
                  struct sfs_error *err)
{
    const char *target = sfs_tree_target(walker->tree, link);
    int r = walker->believes ? 0 : sfs_tree_confirm(walker->tree, link, err);
    if (r < 0)
        return r;
    if (++walker->hops > SFS_MAX_LINK_HOPS)
        return sfs_fail(err, ELOOP, "too many symlinks, the last one to %.255s", target);
    if (!*target)
        return sfs_fail(err, ENOENT, "symlink without a target");
    if (*target == '/')
        walker->dir = SFS_ROOT;
    char *joined;
    joined = sfs_format("%s%s", target, rest);
    if (!joined)
        return sfs_fail_memory(err);
    free(walker->rest);
    walker->rest = joined;
    *path = joined;
    return 0;
}

static int find_component(const struct walker *walker, const char *name, size_t size,
                          sfs_node *ret_node, struct sfs_error *err)
{
    if (size == 1 && name[0] == '.') {
        *ret_node = walker->dir;
        return 0;
    }
    if (size == 2 && name[0] == '.' && name[1] == '.') {
        *ret_node = sfs_tree_parent(walker->tree, walker->dir);
        return 0;
    }
    const struct sfs_dirent *found;
    int r = sfs_tree_find_name(walker->tree, walker->dir, name, size, &found);
    if (r == -ENOENT && !name[size] && walker->hops == 0) /* the path itself names it */
        return sfs_fail(err, ENOENT, "no such file or directory");
    if (r < 0)
        return sfs_fail(err, -r, "there is no %.*s", size > 255 ? 255 : (int)size, name);
    if (walker->pass)
        walker->pass(walker->user, found);
    *ret_node = found->node;
    return 0;
}

/* Components are followed by "/" or the end; a "/" at the end asks for a directory. */
static int walk(struct walker *walker, const char *path, unsigned flags, sfs_node *ret_node,
                struct sfs_error *err)
{
    for (;;) {
        path += strspn(path, "/");
        if (!*path) {
            *ret_node = walker->dir;
            return 0;
        }
        size_t size = strcspn(path, "/");
        const char *rest = path + size;
        sfs_node node = SFS_NO_NODE;
        int r = find_component(walker, path, size, &node, err);
        if (r < 0)
            return r;
        if (sfs_node_is_dir(walker->tree, node)) {
            walker->dir = node;
            path = rest;
            continue;
        }
        if ((*rest || flags & SFS_RESOLVE_FOLLOW) &&
            S_ISLNK(sfs_node_inode(walker->tree, node)->mode)) {
            r = follow(walker, node, rest, &path, err);
            if (r < 0)
                return r;
            continue;
        }
        if (*rest)
            return sfs_fail(err, ENOTDIR, "%.*s is not a directory", size > 255 ? 255 : (int)size,
                            path);
        *ret_node = node;
        return 0;
    }
}

int sfs_tree_resolve_from(const struct sfs_tree *tree, sfs_node dir, const char *path,
                          unsigned flags, void (*pass)(void *user, const struct sfs_dirent *name),
                          void *user, sfs_node *ret_node, struct sfs_error *err)
{
    AUTO(walker_done)
    struct walker walker = {
        .tree = tree, .dir = *path == '/' ? SFS_ROOT : dir, .pass = pass, .user = user
    };
    walker.believes = flags & SFS_RESOLVE_UNCONFIRMED;
    int r = walk(&walker, path, flags, ret_node, err);
    return r < 0 ? sfs_fail_while(err, r, "%.512s", path) : 0;
}

int sfs_tree_resolve(const struct sfs_tree *tree, const char *path, unsigned flags,
                     sfs_node *ret_node, struct sfs_error *err)
{
    return sfs_tree_resolve_from(tree, SFS_ROOT, path, flags, NULL, NULL, ret_node, err);
}
