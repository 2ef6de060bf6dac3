/* Growing by doubling, for SFS_ARRAY_GROW(). */
#include "base/array.h"

#include "base/banned.h"
#include <errno.h>

int sfs_array_grow(void *items, size_t count, size_t *capacity, size_t least, size_t item_size)
{
    void *old, *grown;
    if (count < *capacity)
        return 0;
    size_t wanted = *capacity ? *capacity : least;
    if (*capacity && __builtin_mul_overflow(*capacity, (size_t)2, &wanted))
        return -ENOMEM;
    memcpy(&old, items, sizeof old);
    grown = reallocarray(old, wanted, item_size);
    if (!grown)
        return -ENOMEM;
    memcpy(items, &grown, sizeof grown);
    *capacity = wanted;
    return 0;
}
