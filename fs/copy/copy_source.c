/* Wildcards as BuildKit has them: the path is split where the first component with one begins, all
 * that is below the first part is compared with the second, and a directory that matches is not
 * entered. */
#include "copy/copy_source.h"

#include "base/banned.h"
#include "base/buf.h"
#include "base/path.h"
#include "copy/pattern.h"
#include "base/array.h"
#include "tree/tree_inner.h"
#include <errno.h>

static int add_hit(struct copy_hits *hits, const struct sfs_tree *tree, const char *path,
                   struct sfs_error *err)
{
    sfs_node node;
    int r = sfs_tree_resolve(tree, path, SFS_RESOLVE_FOLLOW, &node, NULL);
    if (r < 0)
        return r == -ENOENT ? sfs_fail(err, ENOENT, "\"%s\": not found", path)
                            : sfs_fail_errno(err, -r, "\"%s\"", path);
    if (SFS_ARRAY_GROW(hits->items, hits->count, hits->capacity, 8) < 0)
        return sfs_fail_memory(err);
    char *copy = strdup(path);
    if (!copy)
        return sfs_fail_memory(err);
    hits->items[hits->count++] = (struct copy_hit){ copy, node, sfs_path_base(copy) };
    return 0;
}

struct search {
    struct copy_hits *hits;
    const struct sfs_tree *tree;
    const char *prefix; /* "" or "/a/b" */
    const char *pattern;
    unsigned depth; /* how many components a match has; 0: any number (a class may match '/') */
    struct sfs_error *err;
};

static unsigned count_components(const char *path)
{
    unsigned count = 1;
    for (; *path; path++)
        count += *path == '/';
    return count;
}

static int try_match(void *user, const char *path, sfs_node node)
{
    const struct search *search = user;
    (void)node;
    if (*path == '\0')
        return 0;
    if (sfs_pattern_match_go(search->pattern, path) > 0) {
        struct sfs_buf full = { 0 };
        int r = sfs_buf_printf(&full, "%s/%s", search->prefix, path);
        r = r < 0 ? sfs_fail_memory(search->err)
                  : add_hit(search->hits, search->tree, full.data, search->err);
        sfs_buf_close(&full);
        return r < 0 ? r : SFS_WALK_SKIP;
    }
    bool deep_enough = search->depth > 0 && count_components(path) >= search->depth;
    return deep_enough ? SFS_WALK_SKIP : 0;
}

/* Where the first component with a wildcard begins; NULL: there is none. */
static const char *find_wild(const char *path)
{
    while (*path) {
        path += *path == '/';
        size_t size = strcspn(path, "/");
        char *component = strndup(path, size);
        bool is_wild = component && sfs_pattern_is_wild(component);
        free(component);
        if (is_wild)
            return path;
        path += size;
    }
    return NULL;
}

static int find_wild_hits(const struct sfs_tree *tree, const char *path, const char *wild,
                          struct copy_hits *hits, struct sfs_error *err)
{
    AUTO(sfs_free) char *prefix = strndup(path, (size_t)(wild - path));
    if (!prefix)
        return sfs_fail_memory(err);
    hits->is_wild = true;
    sfs_node dir;
    int r = sfs_tree_resolve(tree, prefix, SFS_RESOLVE_FOLLOW, &dir, NULL);
    if (r < 0)
        return sfs_fail(err, -r, "\"%s\" of \"%s\": not found", prefix, path);
    if (sfs_pattern_match_go(wild, "") < 0) {
        hits->is_malformed = true;
        return 0;
    }
    AUTO(sfs_buf_close) struct sfs_buf resolved = { 0 };
    if (sfs_tree_dir_path(tree, dir, &resolved) < 0)
        return sfs_fail_memory(err);
    struct search search = {
        .hits = hits,
        .tree = tree,
        .prefix = resolved.data,
        .pattern = wild,
        .depth = strchr(wild, '[') ? 0 : count_components(wild),
        .err = err,
    };
    return sfs_tree_walk(tree, dir, try_match, &search, err);
}

int sfs_copy_hits_find(const struct sfs_tree *tree, const char *path, struct copy_hits *ret_hits,
                       struct sfs_error *err)
{
    AUTO(sfs_copy_hits_done) struct copy_hits hits = { 0 };
    const char *wild = find_wild(path);
    int r = wild ? find_wild_hits(tree, path, wild, &hits, err) : add_hit(&hits, tree, path, err);
    if (r < 0)
        return r;
    *ret_hits = hits;
    hits = (struct copy_hits){ 0 };
    return 0;
}

void sfs_copy_hits_done(struct copy_hits *hits)
{
    for (size_t i = 0; i < hits->count; i++)
        free(hits->items[i].path);
    free(hits->items);
    *hits = (struct copy_hits){ 0 };
}
