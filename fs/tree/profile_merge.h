/* Profiles of several runs, or of several machines, as one. */
#ifndef STAGEFS_PROFILE_MERGE_H
#define STAGEFS_PROFILE_MERGE_H

#include "tree/profile.h"

/* Adds the text of what the profiles say together: each path once, with the most that any says of
 * it and all its ranges. Changes the profiles, which can then only be freed. The same profiles give
 * the same text. ENOMEM. */
int sfs_profile_merge(struct sfs_profile *profiles, size_t count, struct sfs_buf *text,
                      struct sfs_error *err);

#endif
