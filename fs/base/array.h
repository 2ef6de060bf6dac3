/* Arrays that grow: a pointer, a count and a capacity that stand in a struct of their own. */
#ifndef STAGEFS_ARRAY_H
#define STAGEFS_ARRAY_H

#include <stddef.h>

/* Makes room for one more item behind `count` of them, by doubling; `least` is the first capacity.
 *   if (SFS_ARRAY_GROW(list->items, list->count, list->capacity, 16) < 0)
 *       return sfs_fail_memory(err);
 *   list->items[list->count++] = item;
 * 0 or -ENOMEM; the array is unchanged after a failure. The caller frees it with free(). */
#define SFS_ARRAY_GROW(items, count, capacity, least)                                              \
    sfs_array_grow(&(items), (count), &(capacity), (least), sizeof *(items))

/* What SFS_ARRAY_GROW() calls; `items` points to the pointer. */
int sfs_array_grow(void *items, size_t count, size_t *capacity, size_t least, size_t item_size);

#endif
