/* Moves what a profile names to the front of a layer, each behind its directories. */
#include "commit/order.h"

#include "layer/whiteout.h"
#include "tree/profile.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <sys/stat.h>

struct sorter {
    struct sfs_changes *changes;
    const struct sfs_order *order;
    uint32_t *item_of;    /* by node: 1 + the item that carries it; 0: none does */
    uint32_t *new_place;  /* by old place: 1 + the new one; 0: not moved yet */
    uint32_t *old_places; /* by new place: the old one */
    size_t moved;         /* how many items have a new place */
};

static void sorter_done(struct sorter *sorter)
{
    free(sorter->item_of);
    free(sorter->new_place);
    free(sorter->old_places);
}

static int sorter_init(struct sorter *sorter, struct sfs_error *err)
{
    const struct sfs_changes *changes = sorter->changes;
    sorter->item_of = calloc(sfs_tree_count(sorter->order->tree), sizeof *sorter->item_of);
    sorter->new_place = calloc(changes->count + 1, sizeof *sorter->new_place);
    sorter->old_places = calloc(changes->count + 1, sizeof *sorter->old_places);
    if (!sorter->item_of || !sorter->new_place || !sorter->old_places)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < changes->count; i++)
        if (changes->items[i].kind == SFS_ITEM_ENTRY)
            sorter->item_of[changes->items[i].node] = (uint32_t)i + 1;
    return 0;
}

static void move_item(struct sorter *sorter, size_t item)
{
    if (sorter->new_place[item])
        return;
    sorter->old_places[sorter->moved++] = (uint32_t)item;
    sorter->new_place[item] = (uint32_t)sorter->moved;
}

static void move_node(struct sorter *sorter, sfs_node node)
{
    if (sorter->item_of[node])
        move_item(sorter, sorter->item_of[node] - 1);
}

/* Moves the directories of a path that no symlink is part of, from the root down. */
static void move_parents(struct sorter *sorter, const char *path)
{
    sfs_node dir = SFS_ROOT;
    move_node(sorter, dir);
    for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
        if (sfs_tree_find(sorter->order->tree, dir, path, (size_t)(slash - path), &dir) < 0)
            return;
        move_node(sorter, dir);
    }
}

static bool is_wanted(enum sfs_use_kind kind, uint32_t mode)
{
    return S_ISREG(mode) ? kind >= SFS_USE_OPEN : kind == SFS_USE_LINK && S_ISLNK(mode);
}

static void move_use(struct sorter *sorter, const struct sfs_use *use)
{
    const struct sfs_tree *tree = sorter->order->tree;
    struct sfs_attr attr;
    sfs_node node;
    unsigned flags = use->kind == SFS_USE_LINK ? 0 : SFS_RESOLVE_FOLLOW;
    if (sfs_tree_resolve(tree, use->path, flags, &node, NULL) < 0)
        return;
    sfs_tree_attr(tree, node, &attr);
    if (!is_wanted(use->kind, attr.mode) || !sorter->item_of[node])
        return;
    size_t item = sorter->item_of[node] - 1;
    move_parents(sorter, sfs_changes_path(sorter->changes, &sorter->changes->items[item]));
    move_item(sorter, item);
}

/* ---- eStargz ---- */

/* Fails if a file has a name of eStargz's own: programs that read by the table would not show
 * it. */
static int check_names(const struct sfs_changes *changes, struct sfs_error *err)
{
    for (size_t i = 0; i < changes->count; i++) {
        const char *path = sfs_changes_path(changes, &changes->items[i]);
        if (sfs_estargz_is_mark(path))
            return sfs_fail(err, ENOTSUP,
                            "%s: eStargz keeps that name for itself: leave the file out, or use "
                            "another --compression",
                            path);
    }
    return 0;
}

static int add_landmark(struct sfs_changes *changes, size_t place, struct sfs_error *err)
{
    const char *name = place ? ".prefetch.landmark" : ".no.prefetch.landmark";
    struct sfs_item item = { .path = changes->texts.size, .kind = SFS_ITEM_LANDMARK };
    if (sfs_buf_add(&changes->texts, name, strlen(name) + 1) < 0)
        return sfs_fail_memory(err);
    memmove(changes->items + place + 1, changes->items + place,
            (changes->count - place) * sizeof item);
    changes->items[place] = item;
    changes->count++;
    return 0;
}

/* ---- moving ---- */

/* Brings the items to their new places. The one at `gap` and those behind it are moved on by one
 * more: SIZE_MAX for none. */
static int apply(struct sorter *sorter, size_t gap, struct sfs_error *err)
{
    struct sfs_changes *changes = sorter->changes;
    for (size_t i = 0; i < changes->count; i++)
        move_item(sorter, i);
    struct sfs_item *items = calloc(changes->count + 1, sizeof *items);
    if (!items)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < changes->count; i++) {
        items[i] = changes->items[sorter->old_places[i]];
        if (items[i].kind != SFS_ITEM_LINK)
            continue;
        size_t first = sorter->new_place[items[i].first] - 1;
        items[i].first = (uint32_t)(first + (first >= gap)) & 0x3fffffffu;
    }
    free(changes->items);
    changes->items = items;
    changes->capacity = changes->count + 1;
    return 0;
}

int sfs_changes_order(struct sfs_changes *changes, const struct sfs_order *order,
                      struct sfs_error *err)
{
    AUTO(sorter_done) struct sorter sorter = { .changes = changes, .order = order };
    if (order->profile->count == 0 && !order->is_estargz)
        return 0;
    int r = order->is_estargz ? check_names(changes, err) : 0;
    if (r == 0)
        r = sorter_init(&sorter, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < order->profile->count; i++)
        move_use(&sorter, &order->profile->uses[i]);
    size_t first = sorter.moved;
    r = apply(&sorter, order->is_estargz ? first : SIZE_MAX, err);
    return r == 0 && order->is_estargz ? add_landmark(changes, first, err) : r;
}
