/* What the calling thread works for. */
#include "base/wanted.h"

#include <stddef.h>

static _Thread_local const struct sfs_wanted *current;

void sfs_wanted_set(const struct sfs_wanted *wanted)
{
    current = wanted;
}

bool sfs_wanted_may_end(void)
{
    return current != NULL;
}

bool sfs_wanted_is(void)
{
    return !current || current->is_wanted(current->user);
}
