#include <stagefs/format.h>
/* Finding a path in layers that are not merged: directory by directory, joining only those on the
 * way. Used for the few names whose meaning depends on an earlier state of the tree: hard links to
 * lower layers, and symlinks that a layer writes through. */
#include "tree/stack.h"

#include "base/limits.h"
#include "base/array.h"

/* How many hard links to lower layers one search may go through: they may lead to one another. */
#define LINK_BUDGET 1024u

struct stack_finder {
    struct sfs_stack stack; /* only the layers that the search is about; borrowed */
    struct sfs_parts parts; /* of the directories from the root down to where we are */
    struct sfs_parts group;
    size_t *levels; /* where in `parts` the parts of each of these directories begin */
    size_t depth, level_capacity;
    char *rest;       /* what is left of the path once a symlink was followed; owned */
    unsigned hops;    /* how many symlinks were followed */
    unsigned *budget; /* of LINK_BUDGET what is left, shared with searches for links on the way */
};

static void finder_done(struct stack_finder *finder)
{
    sfs_parts_done(&finder->parts);
    sfs_parts_done(&finder->group);
    free(finder->levels);
    free(finder->rest);
}

static int enter(struct stack_finder *finder, size_t first)
{
    if (SFS_ARRAY_GROW(finder->levels, finder->depth, finder->level_capacity, 32) < 0)
        return -ENOMEM;
    finder->levels[finder->depth++] = first;
    return 0;
}

static void leave(struct stack_finder *finder)
{
    if (finder->depth > 1)
        finder->parts.count = finder->levels[--finder->depth];
}

static int enter_root(struct stack_finder *finder)
{
    int r = sfs_parts_reserve(&finder->parts, finder->stack.count + finder->stack.anchored_count);
    if (r < 0)
        return r;
    struct sfs_settled settled;
    sfs_stack_root(&finder->stack, &finder->parts, &settled);
    return enter(finder, 0);
}

/* Decides what `name` is in the directory where the finder is. If it is a directory, its parts are
 * put behind the others. */
static int settle_child(struct stack_finder *finder, const char *name, size_t name_size,
                        struct sfs_settled *ret_settled)
{
    const struct sfs_stack *stack = &finder->stack;
    size_t first = finder->levels[finder->depth - 1];
    size_t count = finder->parts.count - first;
    finder->group.count = 0;
    if (sfs_parts_reserve(&finder->group, count) < 0 ||
        sfs_parts_reserve(&finder->parts, count + stack->anchored_count) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct sfs_part part = finder->parts.items[first + i];
        sfs_entry entry;
        if (sfs_tables_find(sfs_stack_tables(stack, part), part.entry, name, name_size, &entry) < 0)
            continue;
        finder->group.items[finder->group.count++] = (struct sfs_part){ part.layer, entry };
    }
    sfs_stack_settle(stack, finder->group.items, finder->group.count, &finder->parts, ret_settled);
    return 0;
}

static int find_link(const struct sfs_stack *stack, struct sfs_part link, unsigned *budget,
                     struct sfs_part *ret_part);

/* Goes on at the target of a symlink, with `rest` behind it. */
static int follow_symlink(struct stack_finder *finder, struct sfs_part part, const char *rest)
{
    if (++finder->hops > SFS_MAX_LINK_HOPS)
        return -ELOOP;
    const struct sfs_tables *tables = sfs_stack_tables(&finder->stack, part);
    const struct sfs_inode_rec *inode = &tables->inodes[tables->entries[part.entry].inode];
    const char *target = tables->strings + inode->string;
    if (target[0] == '/') {
        while (finder->depth > 1)
            leave(finder);
    }
    char *joined;
    joined = sfs_format("%s/%s", target, rest);
    if (!joined)
        return -ENOMEM;
    free(finder->rest);
    finder->rest = joined;
    return 0;
}

/* What a step found, if it is no directory. */
struct file_step {
    struct sfs_part part;
    bool is_symlink;
};

/* Walks one component. *ret_file is set if it is a file (the caller goes on from there). */
static int step(struct stack_finder *finder, const char *name, size_t size, bool *ret_is_file,
                struct file_step *ret_file)
{
    *ret_is_file = false;
    if (size == 1 && name[0] == '.')
        return 0;
    if (size == 2 && name[0] == '.' && name[1] == '.') {
        leave(finder);
        return 0;
    }
    size_t first = finder->parts.count;
    struct sfs_settled settled;
    int r = settle_child(finder, name, size, &settled);
    if (r < 0)
        return r;
    if (settled.kind == SFS_SETTLED_NOTHING)
        return -ENOENT;
    if (settled.kind == SFS_SETTLED_DIRECTORY)
        return enter(finder, first);
    struct sfs_part part = settled.what;
    if (sfs_stack_entry(&finder->stack, part)->flags & SFS_ENTRY_LINK) {
        r = find_link(&finder->stack, part, finder->budget, &part);
        if (r < 0)
            return r == -EISDIR ? -ENOENT : r;
    }
    const struct sfs_tables *tables = sfs_stack_tables(&finder->stack, part);
    *ret_is_file = true;
    ret_file->part = part;
    ret_file->is_symlink = S_ISLNK(tables->inodes[tables->entries[part.entry].inode].mode);
    return 0;
}

/* Walks `path`. *ret_is_dir: it ends at the directory where the finder is now. */
static int follow_path(struct stack_finder *finder, const char *path, bool follow,
                       struct sfs_part *ret_part, bool *ret_is_dir)
{
    for (;;) {
        path += strspn(path, "/");
        if (!*path) {
            *ret_is_dir = true;
            return 0;
        }
        size_t size = strcspn(path, "/");
        const char *rest = path + size + strspn(path + size, "/");
        bool is_file;
        struct file_step file;
        int r = step(finder, path, size, &is_file, &file);
        if (r < 0)
            return r;
        path = rest;
        if (!is_file)
            continue;
        if (file.is_symlink && (*rest || follow)) {
            r = follow_symlink(finder, file.part, rest);
            if (r < 0)
                return r;
            path = finder->rest;
            continue;
        }
        *ret_part = file.part;
        *ret_is_dir = false;
        return *rest ? -ENOTDIR : 0;
    }
}

/* The topmost part of the directory where the finder is that was there by itself. An opaque graft
 * may hide it; then the graft knows it. */
static struct sfs_part find_own_part(const struct stack_finder *finder)
{
    struct sfs_part part = { 0 };
    for (size_t i = finder->levels[finder->depth - 1]; i < finder->parts.count; i++) {
        const struct sfs_graft *graft =
            sfs_stack_find_graft(&finder->stack, finder->parts.items[i]);
        if (!graft || graft->stays)
            return finder->parts.items[i];
        part = graft->anchor;
    }
    return part;
}

static int find_path(const struct sfs_stack *stack, size_t count, const char *path, bool follow,
                     unsigned *budget, struct sfs_part *ret_part, bool *ret_is_dir)
{
    if (count == 0)
        return -ENOENT;
    if (strnlen(path, SFS_MAX_PATH + 1) > SFS_MAX_PATH)
        return -E2BIG;
    AUTO(finder_done) struct stack_finder finder = { .stack = *stack, .budget = budget };
    finder.stack.count = count;
    int r = enter_root(&finder);
    if (r < 0)
        return r;
    r = follow_path(&finder, path, follow, ret_part, ret_is_dir);
    if (r == 0 && *ret_is_dir)
        *ret_part = find_own_part(&finder);
    return r;
}

int sfs_stack_find(const struct sfs_stack *stack, size_t count, const char *path, bool follow,
                   struct sfs_part *ret_part, bool *ret_is_dir)
{
    unsigned budget = LINK_BUDGET;
    return find_path(stack, count, path, follow, &budget, ret_part, ret_is_dir);
}

static int find_link(const struct sfs_stack *stack, struct sfs_part link, unsigned *budget,
                     struct sfs_part *ret_part)
{
    if (*budget == 0)
        return -ELOOP;
    --*budget;
    const struct sfs_tables *tables = sfs_stack_tables(stack, link);
    const char *path = tables->strings + tables->inodes[tables->entries[link.entry].inode].string;
    bool is_dir = false;
    int r = find_path(stack, link.layer, path, false, budget, ret_part, &is_dir);
    if (r == -ENOENT || r == -ENOTDIR || (r == 0 && is_dir))
        r = find_path(stack, (size_t)link.layer + 1, path, false, budget, ret_part, &is_dir);
    if (r < 0)
        return r;
    return is_dir ? -EISDIR : 0;
}

/* Leaves out a part of the directory where the finder is. */
static void forget_part(struct stack_finder *finder, struct sfs_part part)
{
    size_t kept = finder->levels[finder->depth - 1];
    for (size_t i = kept; i < finder->parts.count; i++) {
        struct sfs_part at = finder->parts.items[i];
        if (at.layer != part.layer || at.entry != part.entry)
            finder->parts.items[kept++] = at;
    }
    finder->parts.count = kept;
}

int sfs_stack_is_over_symlink(const struct sfs_stack *stack, struct sfs_part dir, const char *path)
{
    unsigned budget = LINK_BUDGET;
    AUTO(finder_done)
    struct stack_finder finder = { .stack = *stack, .budget = &budget };
    finder.stack.count = (size_t)dir.layer + 1;
    const char *name = strrchr(path, '/') + 1;
    AUTO(sfs_free) char *parent = strndup(path, (size_t)(name - path));
    int r = parent ? enter_root(&finder) : -ENOMEM;
    if (r < 0)
        return r;
    struct sfs_part part;
    bool found;
    r = follow_path(&finder, parent, true, &part, &found);
    if (r < 0 || !found)
        return r == -ENOMEM ? r : 0;
    forget_part(&finder, (struct sfs_part){ dir.layer, sfs_stack_entry(stack, dir)->parent });
    struct file_step file;
    r = step(&finder, name, strlen(name), &found, &file);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    return found && file.is_symlink;
}

int sfs_stack_find_link(const struct sfs_stack *stack, struct sfs_part link,
                        struct sfs_part *ret_part)
{
    unsigned budget = LINK_BUDGET;
    return find_link(stack, link, &budget, ret_part);
}
