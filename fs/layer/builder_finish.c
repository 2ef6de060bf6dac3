/* From linked names to arrays: entries breadth first, so that the children of a directory are one
 * run; inodes, extents and attributes in the order in which the entries come to them. */
#include "base/limits.h"
#include "layer/builder_node.h"

struct sort_slot {
    uint64_t prefix; /* the name's first 8 bytes, so that most comparisons stay in the array */
    struct builder_node *node;
};

struct totals {
    uint32_t inodes, xattrs;
    uint64_t extents, strings;
};

static uint64_t make_prefix(const struct builder_node *node)
{
    uint64_t word = 0;
    memcpy(&word, builder_node_name(node), node->name_size < 8 ? node->name_size : 8);
    return __builtin_bswap64(word);
}

static int compare_slots(const void *a, const void *b)
{
    const struct sort_slot *left = a, *right = b;
    if (left->prefix != right->prefix)
        return left->prefix < right->prefix ? -1 : 1;
    /* Names hold no NUL, so the shorter one comes first here too. */
    return strcmp(builder_node_name(left->node), builder_node_name(right->node));
}

/* Puts the nodes in order: ret_order[i] becomes entry i, and its node gets id i. */
static int sort_nodes(struct sfs_builder *builder, struct sort_slot **ret_order)
{
    struct sort_slot *order = calloc(builder->live, sizeof *order);
    if (!order)
        return -ENOMEM;
    order[0].node = builder->root;
    uint32_t count = 1;
    for (uint32_t i = 0; i < count; i++) {
        struct builder_node *dir = order[i].node;
        dir->id = i;
        uint32_t first = count;
        for (struct builder_node *child = dir->first_child; child; child = child->next)
            order[count++] = (struct sort_slot){ make_prefix(child), child };
        if (builder_node_is_dir(dir)) {
            dir->inode->rec.first = count > first ? first : 0;
            dir->inode->rec.count = count - first;
        }
        if (count - first > 1)
            qsort(order + first, count - first, sizeof *order, compare_slots);
    }
    *ret_order = order;
    return 0;
}

static void count_xattrs(struct builder_xattrs *set, struct totals *totals)
{
    if (!set || set->first != UINT32_MAX)
        return;
    set->first = totals->xattrs;
    totals->xattrs += set->count;
    for (uint32_t i = 0; i < set->count; i++)
        totals->strings += strlen(set->items[i].name) + 1 + set->items[i].size + 1;
}

static struct totals count_totals(const struct sort_slot *order, uint32_t count)
{
    struct totals totals = { 0 };
    for (uint32_t i = 0; i < count; i++) {
        struct builder_inode *inode = order[i].node->inode;
        totals.strings += order[i].node->name_size + 1u;
        if (!inode || inode->number != SFS_NO_INODE)
            continue;
        inode->number = totals.inodes++;
        if (S_ISREG(inode->rec.mode))
            totals.extents += inode->rec.count;
        if (inode->target)
            totals.strings += strlen(inode->target) + 1;
        count_xattrs(inode->xattrs, &totals);
    }
    return totals;
}

/* The arrays that are being filled. */
struct arrays {
    struct sfs_entry_rec *entries;
    struct sfs_inode_rec *inodes;
    struct sfs_extent *extents;
    struct sfs_xattr_rec *xattrs;
    char *strings;
    uint32_t inode_count, extent_count, xattr_count, strings_size;
};

static uint32_t put_string(struct arrays *arrays, const void *text, size_t size)
{
    uint32_t place = arrays->strings_size;
    if (size > 0)
        memcpy(arrays->strings + place, text, size);
    arrays->strings[place + size] = '\0';
    arrays->strings_size += (uint32_t)size + 1;
    return place;
}

static void put_xattrs(struct arrays *arrays, const struct builder_xattrs *set)
{
    if (set->first != arrays->xattr_count) /* stands there already */
        return;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct sfs_builder_xattr *xattr = &set->items[i];
        arrays->xattrs[arrays->xattr_count++] = (struct sfs_xattr_rec){
            .name = put_string(arrays, xattr->name, strlen(xattr->name)),
            .value = put_string(arrays, xattr->value, xattr->size),
            .value_size = (uint32_t)xattr->size,
        };
    }
}

static void put_inode(struct arrays *arrays, const struct builder_inode *inode)
{
    struct sfs_inode_rec *rec = &arrays->inodes[arrays->inode_count++];
    *rec = inode->rec;
    if (S_ISREG(rec->mode) && rec->count > 0) {
        rec->first = arrays->extent_count;
        memcpy(arrays->extents + rec->first, inode->extents, rec->count * sizeof *inode->extents);
        arrays->extent_count += rec->count;
    }
    if (inode->target)
        rec->string = put_string(arrays, inode->target, strlen(inode->target));
    if (inode->xattrs) {
        put_xattrs(arrays, inode->xattrs);
        rec->xattrs = inode->xattrs->first;
        rec->xattr_count = inode->xattrs->count;
    }
}

static void fill(struct arrays *arrays, const struct sort_slot *order, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct builder_node *node = order[i].node;
        arrays->entries[i] = (struct sfs_entry_rec){
            .name = put_string(arrays, builder_node_name(node), node->name_size),
            .name_size = node->name_size,
            .flags = node->flags,
            .inode = node->inode ? node->inode->number : SFS_NO_INODE,
            .parent = node->parent ? node->parent->id : 0,
        };
        if (node->inode && node->inode->number == arrays->inode_count)
            put_inode(arrays, node->inode);
    }
}

int sfs_builder_finish(struct sfs_builder *builder, struct sfs_tables *ret_tables,
                       void **ret_memory, struct sfs_error *err)
{
    AUTO(sfs_free) struct sort_slot *order = NULL;
    if (sort_nodes(builder, &order) < 0)
        return sfs_fail_memory(err);
    uint32_t count = builder->live;
    struct totals totals = count_totals(order, count);
    if (totals.strings > SFS_MAX_STRINGS || totals.extents > UINT32_MAX)
        return sfs_fail(err, E2BIG, "names are larger than %u bytes", SFS_MAX_STRINGS);

    size_t inodes_size = totals.inodes * sizeof(struct sfs_inode_rec);
    size_t extents_size = totals.extents * sizeof(struct sfs_extent);
    size_t entries_size = count * sizeof(struct sfs_entry_rec);
    size_t xattrs_size = totals.xattrs * sizeof(struct sfs_xattr_rec);
    char *memory = malloc(inodes_size + extents_size + entries_size + xattrs_size + totals.strings);
    if (!memory)
        return sfs_fail_memory(err);
    struct arrays arrays = { 0 };
    arrays.inodes = (void *)memory;
    arrays.extents = (void *)(memory + inodes_size);
    arrays.entries = (void *)(memory + inodes_size + extents_size);
    arrays.xattrs = (void *)(memory + inodes_size + extents_size + entries_size);
    arrays.strings = memory + inodes_size + extents_size + entries_size + xattrs_size;
    fill(&arrays, order, count);
    *ret_tables = (struct sfs_tables){
        .entries = arrays.entries,
        .inodes = arrays.inodes,
        .extents = arrays.extents,
        .xattrs = arrays.xattrs,
        .strings = arrays.strings,
        .entry_count = count,
        .inode_count = arrays.inode_count,
        .extent_count = arrays.extent_count,
        .xattr_count = arrays.xattr_count,
        .strings_size = arrays.strings_size,
    };
    *ret_memory = memory;
    return 0;
}

void sfs_tables_close(void **memory)
{
    free(*memory);
    *memory = NULL;
}
