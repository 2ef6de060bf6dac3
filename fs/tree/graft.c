/* Implied directories over symlinks. A tar may hold "lib/x" without "lib/", over a layer whose lib
 * is a symlink to usr/lib: extraction writes usr/lib/x. So the layer's directory lib is grafted:
 * it joins the parts of usr/lib, and is no longer seen at its own place.
 *
 * Where a graft belongs depends on all that came before it, so layers are gone through from the
 * lowest on, and the directories of a layer from the root on. */
#include "tree/stack.h"

#include "base/buf.h"

/* More than any builder of images makes; each one is inserted in a sorted array. */
#define MAX_GRAFTS (16u << 10)
#define MAX_ROUNDS 16u /* how often one layer is gone through */

static int compare_parts(struct sfs_part a, struct sfs_part b)
{
    if (a.layer != b.layer)
        return a.layer < b.layer ? -1 : 1;
    return (a.entry > b.entry) - (a.entry < b.entry);
}

static bool is_anchored_before(const struct sfs_graft *a, const struct sfs_graft *b)
{
    int order = compare_parts(a->anchor, b->anchor);
    if (order == 0 && a->source.layer != b->source.layer)
        return a->source.layer > b->source.layer;
    return order ? order < 0 : a->source.entry < b->source.entry;
}

static int reserve(struct sfs_stack *stack)
{
    if (stack->graft_count == MAX_GRAFTS)
        return -E2BIG;
    if (stack->graft_count < stack->graft_capacity)
        return 0;
    size_t capacity = stack->graft_capacity ? 2 * stack->graft_capacity : 16;
    struct sfs_graft *grafts = reallocarray(stack->grafts, capacity, sizeof *grafts);
    if (!grafts)
        return -ENOMEM;
    stack->grafts = grafts;
    struct sfs_graft *anchored = reallocarray(stack->anchored, capacity, sizeof *anchored);
    if (!anchored)
        return -ENOMEM;
    stack->anchored = anchored;
    stack->graft_capacity = capacity;
    return 0;
}

static void insert_anchored(struct sfs_stack *stack, const struct sfs_graft *graft)
{
    size_t at = stack->anchored_count++;
    for (; at > 0 && is_anchored_before(graft, &stack->anchored[at - 1]); at--)
        stack->anchored[at] = stack->anchored[at - 1];
    stack->anchored[at] = *graft;
}

static struct sfs_graft *insert_graft(struct sfs_stack *stack, struct sfs_part source)
{
    size_t at = stack->graft_count++;
    for (; at > 0 && compare_parts(source, stack->grafts[at - 1].source) < 0; at--)
        stack->grafts[at] = stack->grafts[at - 1];
    stack->grafts[at] = (struct sfs_graft){ .source = source };
    return &stack->grafts[at];
}

/* Finds where a graft from `path` belongs. */
static int find_anchor(struct sfs_stack *stack, struct sfs_graft *graft, const char *path)
{
    graft->stays = false;
    bool is_dir = false;
    int r =
        sfs_stack_find(stack, (size_t)graft->source.layer + 1, path, true, &graft->anchor, &is_dir);
    if (r == -ENOMEM)
        return r;
    graft->stays = r < 0 || !is_dir;
    if (!graft->stays)
        insert_anchored(stack, graft);
    return 0;
}

/* The path of directory `entry` as its layer has it. */
static const char *write_path(const struct sfs_tables *tables, sfs_entry entry,
                              struct sfs_buf *path)
{
    size_t size = 0;
    for (sfs_entry i = entry; i; i = tables->entries[i].parent)
        size += tables->entries[i].name_size + 1u;
    path->size = 0;
    char *at = sfs_buf_grow(path, size);
    if (!at)
        return NULL;
    at += size;
    for (sfs_entry i = entry; i; i = tables->entries[i].parent) {
        const struct sfs_entry_rec *rec = &tables->entries[i];
        at -= rec->name_size;
        memcpy(at, tables->strings + rec->name, rec->name_size);
        *--at = '/';
    }
    return path->data;
}

static int graft_dir(struct sfs_stack *stack, struct sfs_part dir, struct sfs_buf *path)
{
    const struct sfs_graft *known = sfs_stack_find_graft(stack, dir);
    if (known && !known->stays)
        return 0;
    if (!write_path(sfs_stack_tables(stack, dir), dir.entry, path))
        return -ENOMEM;
    if (known)
        return find_anchor(stack, &stack->grafts[known - stack->grafts], path->data);
    int r = sfs_stack_is_over_symlink(stack, dir, path->data);
    if (r <= 0)
        return r;
    r = reserve(stack);
    return r < 0 ? r : find_anchor(stack, insert_graft(stack, dir), path->data);
}

/* Finds the grafts of one layer. Goes through it again as long as that finds more: a graft may
 * bring what another one leads to. */
static int graft_layer(struct sfs_stack *stack, uint32_t layer, struct sfs_buf *path)
{
    const struct sfs_tables *tables = &stack->layers[layer]->tables;
    size_t before = stack->anchored_count;
    for (unsigned round = 0; round < MAX_ROUNDS; round++) {
        for (sfs_entry i = 1; i < tables->entry_count; i++) {
            unsigned flags = tables->entries[i].flags;
            if ((flags & (SFS_ENTRY_IMPLIED | SFS_ENTRY_WHITEOUT)) != SFS_ENTRY_IMPLIED)
                continue;
            int r = graft_dir(stack, (struct sfs_part){ layer, i }, path);
            if (r < 0)
                return r;
        }
        if (stack->anchored_count == before)
            break;
        before = stack->anchored_count;
    }
    return 0;
}

int sfs_stack_graft(struct sfs_stack *stack)
{
    AUTO(sfs_buf_close) struct sfs_buf path = { 0 };
    int r = 0;
    for (uint32_t layer = 1; r == 0 && layer < stack->count; layer++) {
        stack->grafting = layer;
        r = graft_layer(stack, layer, &path);
    }
    stack->grafting = 0;
    return r;
}
