#include "commit/ahead.h"

#include "base/pool.h"
#include <sys/stat.h>

#define AHEAD      (32u << 20) /* file bytes that are asked for before they are read */
#define AHEAD_STEP (4u << 20)

uint64_t sfs_item_size(const struct sfs_tree *tree, const struct sfs_item *item)
{
    struct sfs_attr attr = { 0 };
    if (item->kind == SFS_ITEM_ENTRY)
        sfs_tree_attr(tree, item->node, &attr);
    return S_ISREG(attr.mode) ? attr.size : 0;
}

void sfs_ahead_ask(struct sfs_ahead *ahead, uint64_t done)
{
    while (ahead->next < ahead->changes->count && ahead->asked < done + AHEAD) {
        const struct sfs_item *item = &ahead->changes->items[ahead->next];
        uint64_t left = sfs_item_size(ahead->tree, item) - ahead->next_from;
        uint64_t size = left < AHEAD_STEP ? left : AHEAD_STEP;
        if (size > 0)
            sfs_tree_prefetch(ahead->tree, item->node, ahead->next_from, size, SFS_POOL_AHEAD);
        ahead->asked += size;
        ahead->next_from += size;
        if (size == left) {
            ahead->next++;
            ahead->next_from = 0;
        }
    }
}
