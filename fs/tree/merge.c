/* The merge: breadth first, directory by directory, into flat arrays. A directory that several
 * layers have is the union of their sorted runs; one that a single layer has is copied straight.
 *
 * Two things depend on an earlier state of the tree and are looked up there: hard links to lower
 * layers, once all names are known; and implied directories over symlinks (graft.c), after which
 * the merge is done again. Both are rare. */
#include "tree/merge.h"

#include "base/buf.h"
#include "tree/tree_inner.h"

static void forget_inodes(struct merge *merge)
{
    for (size_t i = 0; merge->node_of && i < merge->stack.count; i++) {
        free(merge->node_of[i]);
        merge->node_of[i] = NULL;
    }
}

static void merge_done(struct merge *merge)
{
    forget_inodes(merge);
    free(merge->node_of);
    sfs_union_done(&merge->set);
    sfs_parts_done(&merge->parts);
    free(merge->part_ends);
    free(merge->dir_names);
    free(merge->links);
    sfs_stack_done(&merge->stack);
}

/* ---- one layer alone ---- */

/* Does nothing of the layers below show in this directory, neither names nor metadata? Overlayfs
 * takes no notice of an opaque root, so there each name has to say it. */
static bool is_fresh(const struct merge *merge, struct sfs_part part, sfs_node parent)
{
    const struct sfs_entry_rec *root =
        sfs_stack_entry(&merge->stack, (struct sfs_part){ part.layer, 0 });
    return sfs_stack_entry(&merge->stack, part)->flags & SFS_ENTRY_WHITEOUT ||
           (parent == SFS_ROOT && root->flags & SFS_ENTRY_OPAQUE);
}

/* What the layers below say of an implied directory. 1: it is there, and *settled has its metadata,
 * if any of them names it; 0: it is not. -ENOMEM. */
static int settle_below(const struct merge *merge, const char *path, struct sfs_settled *settled)
{
    int found = 0;
    for (size_t count = settled->what.layer; count > 0 && settled->implied;) {
        struct sfs_part part;
        bool is_dir = false;
        int r = sfs_stack_find(&merge->stack, count, path, false, &part, &is_dir);
        if (r == -ENOMEM)
            return r;
        if (r < 0 || !is_dir)
            break;
        found = 1;
        count = part.layer;
        if (sfs_stack_entry(&merge->stack, part)->flags & SFS_ENTRY_IMPLIED)
            continue;
        settled->what = part;
        settled->implied = false;
    }
    return found;
}

/* An overlay takes a directory's metadata from the topmost layer that has it. */
static int add_implied_dir(struct merge *merge, struct sfs_part part, sfs_node parent,
                           struct sfs_settled *settled)
{
    const struct sfs_tables *tables = sfs_stack_tables(&merge->stack, part);
    AUTO(sfs_buf_close) struct sfs_buf path = { 0 };
    sfs_tree_dir_path(merge->tree, parent, &path);
    sfs_buf_printf(&path, "/%s", tables->strings + tables->entries[part.entry].name);
    if (path.failed)
        return -ENOMEM;
    int r = is_fresh(merge, part, parent) ? 0 : settle_below(merge, path.data + 1, settled);
    if (r == 1 || (r == 0 && sfs_stack_has_substance(&merge->stack, part))) {
        merge->parts.items[merge->parts.count++] = part;
        sfs_merge_add_dir(merge, part, settled, parent);
    } else if (r == 0 && tables->entries[part.entry].flags & SFS_ENTRY_WHITEOUT) {
        sfs_merge_add_whiteout(merge, tables, part);
    }
    return r < 0 ? r : 0;
}

/* ---- directories ---- */

static int copy_subdir(struct merge *merge, struct sfs_part part, sfs_node node)
{
    const struct sfs_entry_rec *entry = sfs_stack_entry(&merge->stack, part);
    struct sfs_tree *tree = merge->tree;
    struct sfs_settled settled = { .what = part, .implied = entry->flags & SFS_ENTRY_IMPLIED };
    uint32_t before = tree->node_count;
    int r = 0;
    if (settled.implied && merge->alone) {
        r = add_implied_dir(merge, part, node, &settled);
    } else if (!settled.implied || sfs_stack_has_substance(&merge->stack, part)) {
        merge->parts.items[merge->parts.count++] = part;
        sfs_merge_add_dir(merge, part, &settled, node);
    }
    bool hides = entry->flags & SFS_ENTRY_OPAQUE || (merge->alone && is_fresh(merge, part, node));
    if (merge->alone && hides && tree->node_count > before && sfs_node_is_dir(tree, before))
        tree->nodes[before].flags |= SFS_NODE_OPAQUE;
    return r;
}

static int copy_name(struct merge *merge, struct sfs_part part, sfs_node node)
{
    const struct sfs_tables *tables = sfs_stack_tables(&merge->stack, part);
    const struct sfs_entry_rec *entry = &tables->entries[part.entry];
    if (entry->inode == SFS_NO_INODE) {
        if (merge->alone)
            sfs_merge_add_whiteout(merge, tables, part);
        return 0;
    }
    if (S_ISDIR(tables->inodes[entry->inode].mode))
        return copy_subdir(merge, part, node);
    return sfs_merge_add_file(merge, tables, part);
}

/* A directory that only one layer has: what is below it is that layer's, unchanged. */
static int copy_dir(struct merge *merge, struct sfs_part dir, sfs_node node)
{
    const struct sfs_tables *tables = sfs_stack_tables(&merge->stack, dir);
    const struct sfs_inode_rec *inode = &tables->inodes[tables->entries[dir.entry].inode];
    int r = 0;
    for (sfs_entry i = inode->first; r == 0 && i < inode->first + inode->count; i++)
        r = copy_name(merge, (struct sfs_part){ dir.layer, i }, node);
    return r;
}

/* A layer alone that hides all there is below: by a whiteout for each name in the root. */
static int copy_opaque_root(struct merge *merge, uint32_t top)
{
    AUTO(sfs_parts_done) struct sfs_parts roots = { 0 };
    int r = sfs_parts_reserve(&roots, (size_t)top + 1);
    for (uint32_t i = 0; r == 0 && i <= top; i++)
        roots.items[roots.count++] = (struct sfs_part){ top - i, 0 };
    if (r == 0)
        r = sfs_union_start(&merge->set, &merge->stack, roots.items, roots.count);
    while (r == 0 && sfs_union_next(&merge->set) > 0) {
        struct sfs_part part = merge->set.group[0];
        if (part.layer == top)
            r = copy_name(merge, part, SFS_ROOT);
        else
            sfs_merge_add_whiteout(merge, sfs_stack_tables(&merge->stack, part), part);
    }
    return r;
}

static bool has_implied(const struct sfs_stack *stack)
{
    for (size_t layer = 1; layer < stack->count; layer++) {
        const struct sfs_tables *tables = &stack->layers[layer]->tables;
        for (sfs_entry i = 1; i < tables->entry_count; i++) {
            if (tables->entries[i].flags & SFS_ENTRY_IMPLIED)
                return true;
        }
    }
    return false;
}

/* Notes whether a layer may have written through a symlink: where an implied directory is on one,
 * or on a hard link, which may lead to one. Also where directories are hidden: such may be in them,
 * and what they held went elsewhere. `joined`: how many of the group's directories are seen. */
static void note_grafts(struct merge *merge, const struct sfs_part *group, size_t count,
                        size_t joined)
{
    const struct sfs_stack *stack = &merge->stack;
    bool implied = false; /* what is right above */
    size_t directories = 0;
    for (size_t i = 0; i < count; i++) {
        const struct sfs_entry_rec *entry = sfs_stack_entry(stack, group[i]);
        bool was_implied = implied;
        implied = (entry->flags & (SFS_ENTRY_IMPLIED | SFS_ENTRY_WHITEOUT)) == SFS_ENTRY_IMPLIED;
        if (entry->inode == SFS_NO_INODE)
            continue;
        uint32_t mode = sfs_stack_tables(stack, group[i])->inodes[entry->inode].mode;
        if (was_implied && (S_ISLNK(mode) || entry->flags & SFS_ENTRY_LINK))
            merge->shadows_link = true;
        directories += S_ISDIR(mode);
    }
    merge->hides_dirs = merge->hides_dirs || directories > joined;
}

/* A directory that several layers have. */
static int join_dirs(struct merge *merge, const struct sfs_part *dirs, size_t count, sfs_node node)
{
    int r = sfs_union_start(&merge->set, &merge->stack, dirs, count);
    if (r < 0)
        return r;
    const struct sfs_part *group = merge->set.group;
    for (size_t size; r == 0 && (size = sfs_union_next(&merge->set)) > 0;) {
        struct sfs_settled settled;
        size_t first = merge->parts.count;
        sfs_stack_settle(&merge->stack, group, size, &merge->parts, &settled);
        if (size > 1)
            note_grafts(merge, group, size, merge->parts.count - first);
        if (settled.kind == SFS_SETTLED_FILE)
            r = sfs_merge_add_file(merge, sfs_stack_tables(&merge->stack, settled.what),
                                   settled.what);
        else if (settled.kind == SFS_SETTLED_DIRECTORY)
            sfs_merge_add_dir(merge, group[0], &settled, node);
    }
    return r;
}

/* Decides the root of a layer alone: its own names, with metadata from below if it gives none. */
static void settle_root(struct merge *merge, struct sfs_settled *ret_settled)
{
    sfs_stack_root(&merge->stack, &merge->parts, ret_settled);
    if (merge->alone)
        merge->parts.items[0] = (struct sfs_part){ (uint32_t)merge->stack.count - 1, 0 };
    if (merge->alone)
        merge->parts.count = 1;
}

static void add_root(struct merge *merge)
{
    struct sfs_tree *tree = merge->tree;
    struct sfs_settled settled;
    settle_root(merge, &settled);
    struct sfs_tree_node root = { 0, SFS_NO_LAYER, SFS_NODE_DIR, 0 };
    if (settled.implied)
        root.flags |= SFS_NODE_IMPLIED;
    if (merge->stack.count > 0) {
        root.inode = sfs_stack_entry(&merge->stack, settled.what)->inode;
        root.layer = (uint16_t)settled.what.layer;
    }
    merge->part_ends[0] = (uint32_t)merge->parts.count;
    tree->dirs[tree->dir_count++] = (struct sfs_tree_dir){ .parent = SFS_ROOT };
    sfs_merge_add_node(tree, root);
}

static int merge_dir(struct merge *merge, uint32_t dir)
{
    struct sfs_tree *tree = merge->tree;
    size_t first = dir ? merge->part_ends[dir - 1] : 0;
    size_t count = merge->part_ends[dir] - first;
    const struct sfs_part *parts = &merge->parts.items[first];
    sfs_node node = dir ? tree->dirents[merge->dir_names[dir]].node : SFS_ROOT;
    uint32_t first_name = tree->dirent_count, first_dir = tree->dir_count;
    int r = 0;
    if (merge->alone && dir == 0 &&
        sfs_stack_entry(&merge->stack, parts[0])->flags & SFS_ENTRY_OPAQUE)
        r = copy_opaque_root(merge, parts[0].layer);
    else if (count == 1 && merge->stack.graft_count == 0)
        r = copy_dir(merge, parts[0], node);
    else if (count > 0)
        r = join_dirs(merge, parts, count, node);
    tree->dirs[dir].first = first_name;
    tree->dirs[dir].count = tree->dirent_count - first_name;
    tree->dirs[dir].subdirs = tree->dir_count - first_dir;
    return r;
}

static int merge_all(struct merge *merge)
{
    struct sfs_tree *tree = merge->tree;
    tree->node_count = tree->dirent_count = tree->dir_count = 0;
    merge->parts.count = merge->link_count = 0;
    forget_inodes(merge);
    add_root(merge);
    int r = 0;
    for (uint32_t dir = 0; r == 0 && dir < tree->dir_count; dir++)
        r = merge_dir(merge, dir);
    return r;
}

/* The most names that there can be. A layer alone has, beside its own, whiteouts of names in the
 * roots below it. */
static uint64_t most_names(const struct merge *merge)
{
    const struct sfs_tree *tree = merge->tree;
    uint64_t total = 1;
    for (size_t i = 0; i < tree->layer_count; i++) {
        const struct sfs_tables *tables = &tree->layers[i]->tables;
        bool whole = !merge->alone || i + 1 == tree->layer_count;
        total += whole ? tables->entry_count : tables->inodes[tables->entries[0].inode].count;
    }
    return total + tree->layer_count; /* each layer has one part of the root at least */
}

static int allocate(struct merge *merge, struct sfs_error *err)
{
    struct sfs_tree *tree = merge->tree;
    uint64_t total = most_names(merge);
    if (total >= SFS_NO_NODE - 8) /* a few numbers mean other things */
        return sfs_fail(err, E2BIG, "%llu names in all layers are too many",
                        (unsigned long long)total);
    tree->nodes = reallocarray(NULL, total, sizeof *tree->nodes);
    tree->dirents = reallocarray(NULL, total, sizeof *tree->dirents);
    tree->dirs = reallocarray(NULL, total, sizeof *tree->dirs);
    merge->part_ends = reallocarray(NULL, total, sizeof *merge->part_ends);
    merge->dir_names = reallocarray(NULL, total, sizeof *merge->dir_names);
    merge->node_of = calloc(tree->layer_count + 1, sizeof *merge->node_of);
    if (!tree->nodes || !tree->dirents || !tree->dirs || !merge->part_ends || !merge->dir_names ||
        !merge->node_of || sfs_parts_reserve(&merge->parts, total) < 0)
        return sfs_fail_memory(err);
    return 0;
}

/* Gives back what the merge did not need of an array. */
#define TRIM(array, count)                                                                         \
    do {                                                                                           \
        void *trimmed = realloc((array), ((size_t)(count) + 1) * sizeof *(array));                 \
        if (trimmed)                                                                               \
            (array) = trimmed;                                                                     \
    } while (0)

static int open_tree(struct sfs_layer *const *layers, size_t count, struct sfs_tree **ret_tree,
                     struct sfs_error *err)
{
    if (count >= SFS_NO_LAYER)
        return sfs_fail(err, E2BIG, "%zu layers are too many", count);
    AUTO(sfs_tree_close) struct sfs_tree *tree = calloc(1, sizeof *tree);
    if (tree)
        tree->layers = calloc(count + 1, sizeof(struct sfs_layer *));
    if (!tree || !tree->layers)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < count; i++)
        tree->layers[i] = layers[i];
    tree->layer_count = count;
    *ret_tree = TAKE(tree);
    return 0;
}

static int merge_layers(struct sfs_layer *const *layers, size_t count, bool alone,
                        struct sfs_tree **ret_tree, struct sfs_error *err)
{
    AUTO(sfs_tree_close) struct sfs_tree *tree = NULL;
    int r = open_tree(layers, count, &tree, err);
    if (r < 0)
        return r;
    AUTO(merge_done)
    struct merge merge = { .tree = tree,
                           .stack = { .layers = tree->layers, .count = count },
                           .alone = alone };
    r = allocate(&merge, err);
    if (r < 0)
        return r;
    r = merge_all(&merge);
    if (r == 0 && (merge.shadows_link || (merge.hides_dirs && has_implied(&merge.stack)))) {
        r = sfs_stack_graft(&merge.stack);
        if (r == 0)
            r = merge_all(&merge);
    }
    if (r == -E2BIG)
        return sfs_fail(err, E2BIG, "layers write through too many symlinks");
    if (r < 0)
        return sfs_fail_memory(err);
    r = sfs_merge_resolve_links(&merge, err);
    if (r < 0)
        return r;
    TRIM(tree->nodes, tree->node_count);
    TRIM(tree->dirents, tree->dirent_count);
    TRIM(tree->dirs, tree->dir_count);
    *ret_tree = TAKE(tree);
    return 0;
}

int sfs_tree_merge(struct sfs_layer *const *layers, size_t count, struct sfs_tree **ret_tree,
                   struct sfs_error *err)
{
    return merge_layers(layers, count, false, ret_tree, err);
}

int sfs_tree_merge_alone(struct sfs_layer *const *layers, size_t count, struct sfs_tree **ret_tree,
                         struct sfs_error *err)
{
    return merge_layers(layers, count, true, ret_tree, err);
}
