/* Hard links: the first name in order carries the content, later ones link to it, so that a layer
 * never links to what it does not hold. A peer that only the base names is written again.
 *
 * Removed names: a whiteout each, never an opaque directory: a directory that was replaced by
 * another is told apart by its children, and explicit whiteouts are what every reader knows. A
 * directory over a file, or a file over a directory, needs none.
 *
 * Unchanged parents are not repeated, with one exception: docker and podman, extracting a layer
 * into an overlay's upper directory, make a parent that the layer does not name as 0755 of root,
 * which then hides the base's. So a parent that is anything else (/tmp, a home directory) is
 * written again just as the base has it. */
#include "commit/changes.h"

#include "base/limits.h"
#include "base/array.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <sys/stat.h>

#define WHITEOUT ".wh."

struct change_finder {
    const struct sfs_tree *tree;
    struct sfs_changes *changes;
    uint32_t *first; /* by node with several names: its item + 1; NULL until there is such a node */
    uint8_t *named;  /* by node: is this directory among the items? */
    struct sfs_buf parent; /* the directory of the last item: it and those above are done */
    struct sfs_error *err;
};

static void finder_done(struct change_finder *finder)
{
    free(finder->first);
    free(finder->named);
    sfs_buf_close(&finder->parent);
}

/* Adds an item for path `dir`/[.wh.]`name`; *dir may be "". */
static int add_item(struct change_finder *finder, enum sfs_item_kind kind, const char *path,
                    size_t dir_size, sfs_node node)
{
    struct sfs_changes *changes = finder->changes;
    if (changes->count >= SFS_MAX_ENTRIES)
        return sfs_fail(finder->err, E2BIG, "more than %u entries for one layer", SFS_MAX_ENTRIES);
    if (SFS_ARRAY_GROW(changes->items, changes->count, changes->capacity, 1024) < 0)
        return sfs_fail_memory(finder->err);
    struct sfs_item *item = &changes->items[changes->count];
    *item = (struct sfs_item){ .path = changes->texts.size, .node = node, .kind = kind };
    int r = sfs_buf_add(&changes->texts, path, dir_size);
    if (r == 0 && kind == SFS_ITEM_WHITEOUT)
        r = sfs_buf_add_str(&changes->texts, WHITEOUT);
    if (r == 0) /* with its NUL */
        r = sfs_buf_add(&changes->texts, path + dir_size, strlen(path + dir_size) + 1);
    if (r < 0)
        return sfs_fail_memory(finder->err);
    changes->count++;
    return 0;
}

/* Bytes of `path` up to and with its last '/'. */
static size_t dir_size_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

static bool is_default_parent(const struct sfs_tree *tree, sfs_node dir)
{
    struct sfs_attr attr;
    sfs_tree_attr(tree, dir, &attr);
    return (attr.mode & 07777) == 0755 && attr.uid == 0 && attr.gid == 0 &&
           sfs_tree_xattr_count(tree, dir) == 0;
}

/* Walks down path[0..dir_size): each directory there is unchanged, or among the items already. */
static int add_parents(struct change_finder *finder, const char *path, size_t dir_size)
{
    sfs_node dir = SFS_ROOT;
    for (size_t start = 0; start < dir_size;) {
        const char *slash = memchr(path + start, '/', dir_size - start);
        size_t end = (size_t)(slash - path);
        int r = sfs_tree_find(finder->tree, dir, path + start, end - start, &dir);
        if (r < 0)
            return sfs_fail(finder->err, -r, "%s: its directory is not there", path);
        if (!finder->named[dir] && !is_default_parent(finder->tree, dir)) {
            AUTO(sfs_free) char *name = strndup(path, end);
            if (!name)
                return sfs_fail_memory(finder->err);
            r = add_item(finder, SFS_ITEM_ENTRY, name, dir_size_of(name), dir);
            if (r < 0)
                return r;
            finder->named[dir] = 1;
        }
        start = end + 1;
    }
    return 0;
}

/* Adds the parents that a layer must repeat. Most names have the parent of the one before: then
 * there is nothing to do. */
static int see_to_parents(struct change_finder *finder, const char *path, size_t dir_size)
{
    struct sfs_buf *last = &finder->parent;
    if (dir_size == last->size && (dir_size == 0 || memcmp(path, last->data, dir_size) == 0))
        return 0;
    int r = add_parents(finder, path, dir_size);
    if (r < 0)
        return r;
    last->size = 0;
    return sfs_buf_add(last, path, dir_size) < 0 ? sfs_fail_memory(finder->err) : 0;
}

/* Is there an item for this node already? Then *ret_first is it; else the next item will be. */
static int note_first(struct change_finder *finder, sfs_node node, bool *ret_linked,
                      uint32_t *ret_first)
{
    if (!finder->first)
        finder->first = calloc(sfs_tree_count(finder->tree), sizeof *finder->first);
    if (!finder->first)
        return sfs_fail_memory(finder->err);
    *ret_linked = finder->first[node] != 0;
    if (*ret_linked)
        *ret_first = finder->first[node] - 1;
    else
        finder->first[node] = (uint32_t)finder->changes->count + 1;
    return 0;
}

static int add_node(struct change_finder *finder, const char *path, size_t dir_size, sfs_node node)
{
    struct sfs_attr attr;
    sfs_tree_attr(finder->tree, node, &attr);
    bool is_dir = S_ISDIR(attr.mode), linked = false;
    uint32_t first = 0;
    int r = 0;
    if (!is_dir && attr.nlink > 1)
        r = note_first(finder, node, &linked, &first);
    if (r == 0)
        r = add_item(finder, linked ? SFS_ITEM_LINK : SFS_ITEM_ENTRY, path, dir_size, node);
    if (r < 0)
        return r;
    struct sfs_changes *changes = finder->changes;
    changes->items[changes->count - 1].first = first & 0x3fffffffu;
    if (is_dir)
        finder->named[node] = 1;
    if (S_ISREG(attr.mode) && !linked) {
        changes->files++;
        changes->file_bytes += attr.size;
    }
    return 0;
}

static int take_change(void *user, const struct sfs_change *change)
{
    struct change_finder *finder = user;
    const char *path = change->path;
    size_t dir_size = dir_size_of(path);
    if (strncmp(path + dir_size, WHITEOUT, sizeof WHITEOUT - 1) == 0)
        return sfs_fail(finder->err, ENOTSUP,
                        "%s: a layer cannot hold a name that begins with " WHITEOUT
                        " (it marks removed files there)",
                        path);
    int r = see_to_parents(finder, path, dir_size);
    if (r < 0)
        return r;
    if (change->kind != SFS_REMOVED)
        return add_node(finder, path, dir_size, change->b);
    finder->changes->whiteouts++;
    return add_item(finder, SFS_ITEM_WHITEOUT, path, dir_size, SFS_ROOT);
}

int sfs_changes_find(const struct sfs_tree *base, const struct sfs_tree *tree,
                     struct sfs_changes *ret_changes, struct sfs_error *err)
{
    AUTO(sfs_changes_done) struct sfs_changes changes = { 0 };
    AUTO(finder_done)
    struct change_finder finder = { .tree = tree, .changes = &changes, .err = err };
    finder.named = calloc(sfs_tree_count(tree), 1);
    if (!finder.named)
        return sfs_fail_memory(err);
    int r = sfs_tree_diff(base, tree, 0, take_change, &finder, err);
    if (r < 0)
        return r;
    *ret_changes = changes;
    changes = (struct sfs_changes){ 0 };
    return 0;
}

const char *sfs_changes_path(const struct sfs_changes *changes, const struct sfs_item *item)
{
    return changes->texts.data + item->path;
}

void sfs_changes_done(struct sfs_changes *changes)
{
    free(changes->items);
    sfs_buf_close(&changes->texts);
    *changes = (struct sfs_changes){ 0 };
}
