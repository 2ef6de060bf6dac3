/* The rules of the merge, applied to one name: see stack.h. */
#include "tree/stack.h"

int sfs_parts_reserve(struct sfs_parts *parts, size_t more)
{
    size_t needed;
    if (__builtin_add_overflow(parts->count, more, &needed))
        return -ENOMEM;
    if (needed <= parts->capacity)
        return 0;
    size_t capacity = parts->capacity ? parts->capacity : 16;
    while (capacity < needed)
        capacity *= 2;
    struct sfs_part *items = reallocarray(parts->items, capacity, sizeof *items);
    if (!items)
        return -ENOMEM;
    parts->items = items;
    parts->capacity = capacity;
    return 0;
}

void sfs_parts_done(struct sfs_parts *parts)
{
    free(parts->items);
    *parts = (struct sfs_parts){ 0 };
}

void sfs_stack_done(struct sfs_stack *stack)
{
    free(stack->grafts);
    free(stack->anchored);
    *stack = (struct sfs_stack){ 0 };
}

bool sfs_stack_has_substance(const struct sfs_stack *stack, struct sfs_part dir)
{
    const struct sfs_tables *tables = sfs_stack_tables(stack, dir);
    const struct sfs_inode_rec *inode = &tables->inodes[tables->entries[dir.entry].inode];
    for (sfs_entry i = inode->first; i < inode->first + inode->count; i++) {
        const struct sfs_entry_rec *entry = &tables->entries[i];
        if (entry->inode == SFS_NO_INODE)
            continue;
        /* Layers are at most SFS_MAX_DEPTH deep, so this may recurse. */
        if (!(entry->flags & SFS_ENTRY_IMPLIED) ||
            sfs_stack_has_substance(stack, (struct sfs_part){ dir.layer, i }))
            return true;
    }
    return false;
}

/* A directory while it is being joined. */
struct joining {
    const struct sfs_stack *stack;
    struct sfs_parts *parts;
    size_t first;   /* its first part in `parts` */
    bool named;     /* `meta` is known */
    uint32_t floor; /* this layer's directory is opaque: layers below it give metadata only */
    bool existed;   /* something that is hidden now had made it */
    struct sfs_part meta;
};

static void join(struct joining *joining, struct sfs_part dir)
{
    unsigned flags = sfs_stack_entry(joining->stack, dir)->flags;
    if (dir.layer >= joining->floor)
        joining->parts->items[joining->parts->count++] = dir;
    else if (flags & SFS_ENTRY_IMPLIED && !joining->existed)
        joining->existed = sfs_stack_has_substance(joining->stack, dir);
    if (flags & SFS_ENTRY_OPAQUE && dir.layer > joining->floor)
        joining->floor = dir.layer;
    if (!joining->named && !(flags & SFS_ENTRY_IMPLIED)) {
        joining->named = true;
        joining->meta = dir;
    }
}

static bool is_same(struct sfs_part a, struct sfs_part b)
{
    return a.layer == b.layer && a.entry == b.entry;
}

/* The first graft at `anchor`, or where it would be. */
static size_t find_anchored(const struct sfs_stack *stack, struct sfs_part anchor)
{
    size_t low = 0, high = stack->anchored_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct sfs_part at = stack->anchored[middle].anchor;
        if (at.layer < anchor.layer || (at.layer == anchor.layer && at.entry < anchor.entry))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Joins a directory and what is grafted on it: from higher layers before it, from its own
 * behind. */
static void join_with_grafts(struct joining *joining, struct sfs_part dir)
{
    const struct sfs_stack *stack = joining->stack;
    bool joined = false;
    for (size_t i = find_anchored(stack, dir); i < stack->anchored_count; i++) {
        const struct sfs_graft *graft = &stack->anchored[i];
        if (!is_same(graft->anchor, dir))
            break;
        if (!joined && graft->source.layer <= dir.layer) {
            join(joining, dir);
            joined = true;
        }
        if (graft->source.layer < stack->count)
            join(joining, graft->source);
    }
    if (!joined)
        join(joining, dir);
}

/* Does it consist of nothing but implied directories that lead to whiteouts only? Then it does not
 * exist. */
static bool is_phantom(const struct joining *joining)
{
    if (joining->named || joining->existed)
        return false;
    for (size_t i = joining->first; i < joining->parts->count; i++) {
        if (sfs_stack_has_substance(joining->stack, joining->parts->items[i]))
            return false;
    }
    return true;
}

const struct sfs_graft *sfs_stack_find_graft(const struct sfs_stack *stack, struct sfs_part source)
{
    size_t low = 0, high = stack->graft_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct sfs_part at = stack->grafts[middle].source;
        if (is_same(at, source))
            return &stack->grafts[middle];
        if (at.layer < source.layer || (at.layer == source.layer && at.entry < source.entry))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Does it consist of nothing but implied directories over a symlink that are about to be grafted?
 * They are treated as if they were. */
static bool is_about_to_move(const struct joining *joining)
{
    const struct sfs_stack *stack = joining->stack;
    if (joining->named || stack->grafting == 0)
        return false;
    for (size_t i = joining->first; i < joining->parts->count; i++) {
        struct sfs_part part = joining->parts->items[i];
        if (part.layer != stack->grafting || sfs_stack_find_graft(stack, part))
            return false;
    }
    return true;
}

static bool has_moved(const struct sfs_stack *stack, struct sfs_part dir)
{
    const struct sfs_graft *graft = sfs_stack_find_graft(stack, dir);
    return graft && !graft->stays;
}

void sfs_stack_settle(const struct sfs_stack *stack, const struct sfs_part *group, size_t count,
                      struct sfs_parts *parts, struct sfs_settled *ret_settled)
{
    struct joining joining = { .stack = stack, .parts = parts, .first = parts->count };
    *ret_settled = (struct sfs_settled){ .kind = SFS_SETTLED_NOTHING };
    uint32_t floor = 0; /* a whiteout hides the layers below its own */
    for (size_t i = 0; i < count && group[i].layer >= floor; i++) {
        const struct sfs_entry_rec *entry = sfs_stack_entry(stack, group[i]);
        if (entry->flags & SFS_ENTRY_WHITEOUT)
            floor = group[i].layer;
        if (entry->inode == SFS_NO_INODE)
            continue;
        uint32_t mode = sfs_stack_tables(stack, group[i])->inodes[entry->inode].mode;
        if (!S_ISDIR(mode)) {
            bool is_link = S_ISLNK(mode) || entry->flags & SFS_ENTRY_LINK;
            if (!is_phantom(&joining) && !(is_link && is_about_to_move(&joining)))
                break;
            parts->count = joining.first;
            ret_settled->kind = SFS_SETTLED_FILE;
            ret_settled->what = group[i];
            return;
        }
        if (has_moved(stack, group[i]))
            continue;
        join_with_grafts(&joining, group[i]);
    }
    if (is_phantom(&joining)) {
        parts->count = joining.first;
        return;
    }
    ret_settled->kind = SFS_SETTLED_DIRECTORY;
    ret_settled->implied = !joining.named;
    ret_settled->what = joining.named ? joining.meta : parts->items[joining.first];
}

void sfs_stack_root(const struct sfs_stack *stack, struct sfs_parts *parts,
                    struct sfs_settled *ret_settled)
{
    struct joining joining = { .stack = stack, .parts = parts, .first = parts->count };
    for (size_t i = stack->count; i-- > 0;)
        join_with_grafts(&joining, (struct sfs_part){ (uint32_t)i, 0 });
    *ret_settled = (struct sfs_settled){ .kind = SFS_SETTLED_DIRECTORY, .implied = !joining.named };
    if (joining.named)
        ret_settled->what = joining.meta;
    else if (stack->count > 0)
        ret_settled->what = parts->items[joining.first];
}
