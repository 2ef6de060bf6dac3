/* --policy package: packages of which something was used, and those that they require. */
#ifndef STAGEFS_WHOLE_PACKAGES_H
#define STAGEFS_WHOLE_PACKAGES_H

#include "slim/kept.h"
#include "slim/packages.h"

/* Keeps the names of packages of Python, Debian and Alpine that profiles use, by what `kept` holds
 * so far, and of what those require, directly or not. nvidia_only: without what is for GPUs of
 * others, unless it was used. Sets kept->failed as others that keep do. ENOMEM. */
int sfs_whole_packages_keep(struct sfs_kept *kept, const struct sfs_packages *packages,
                            bool nvidia_only, struct sfs_error *err);

#endif
