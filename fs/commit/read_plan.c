/* How far ahead of the reader file bytes are asked for. */
#include "commit/read_plan.h"

#include "base/pool.h"
#include "tree/tree_inner.h"
#include <sys/stat.h>

#define AHEAD      (32u << 20) /* file bytes that are asked for before they are read */
#define AHEAD_STEP (4u << 20)
#define RETRY      (1u << 20) /* if memory was full, so many bytes are read before asking again */

uint64_t sfs_item_size(const struct sfs_tree *tree, const struct sfs_item *item)
{
    struct sfs_attr attr = { 0 };
    if (item->kind == SFS_ITEM_ENTRY)
        sfs_tree_attr(tree, item->node, &attr);
    return S_ISREG(attr.mode) ? attr.size : 0;
}

struct sfs_spans *sfs_read_plan_find_spans(const struct sfs_read_plan *ahead, sfs_node node,
                                           uint64_t offset, uint64_t *ret_position,
                                           uint64_t *ret_size)
{
    struct sfs_spans *spans =
        ahead->frames ? sfs_tree_find_spans(ahead->tree, node, offset, ret_position, ret_size)
                      : NULL;
    if (!spans)
        return NULL;
    const struct sfs_seek_table *table = sfs_spans_table(spans);
    /* What somebody else says of a layer is compared with it where bytes are read by its files. */
    bool is_compared = table->check == SFS_CHECK_PUBLIC || table->check == SFS_CHECK_INPUT;
    bool is_wanted = table->codec == ahead->codec && (table->is_framed || ahead->cuts);
    return is_wanted && !is_compared ? spans : NULL;
}

/* Asks for a range of a file. False: the memory for it is used up. */
static bool ask_range(const struct sfs_read_plan *ahead, sfs_node node, uint64_t offset,
                      uint64_t size)
{
    uint64_t position, run;
    struct sfs_spans *spans = sfs_read_plan_find_spans(ahead, node, offset, &position, &run);
    if (spans)
        return sfs_frames_ask(ahead->frames, spans, position, size < run ? size : run);
    return sfs_tree_prefetch(ahead->tree, node, offset, size, SFS_POOL_AHEAD);
}

/* Asks in portions: threads that are woken for one small file each spend their time on waking. */
void sfs_read_plan_ask(struct sfs_read_plan *ahead, uint64_t done)
{
    if (done < ahead->again)
        return;
    ahead->again = done + RETRY;
    while (ahead->next < ahead->changes->count && ahead->asked < done + AHEAD) {
        const struct sfs_item *item = &ahead->changes->items[ahead->next];
        uint64_t left = sfs_item_size(ahead->tree, item) - ahead->next_from;
        uint64_t size = left < AHEAD_STEP ? left : AHEAD_STEP;
        bool is_passed = ahead->asked + size <= done;
        if (size > 0 && !is_passed && !ask_range(ahead, item->node, ahead->next_from, size))
            return;
        ahead->asked += size;
        ahead->next_from += size;
        if (size == left) {
            ahead->next++;
            ahead->next_from = 0;
        }
    }
    ahead->again = done + AHEAD / 2;
}
