/* The patterns of ${x#p}, ${x%p} and ${x/p/r}: '*', '?', and a backslash before '*', '?', '\' and
 * what the braces would take. */
#ifndef STAGEFS_EXPAND_PATTERN_H
#define STAGEFS_EXPAND_PATTERN_H

#include "base/buf.h"
#include <stdbool.h>
#include <sys/types.h>

/* What stands behind the first backslash that protects anything but those; NULL: there is none. */
const char *sfs_expand_bad_escape(const char *pattern);

/* Adds `value` without the shortest (or longest) match at its start (or end). 0 or -ENOMEM. */
int sfs_expand_trim(const char *pattern, const char *value, bool at_end, bool longest,
                    struct sfs_buf *out);

/* Adds `value` with the first match (or all) replaced; '*' is greedy. 0 or -ENOMEM. */
int sfs_expand_replace(const char *pattern, const char *value, const char *replacement, bool all,
                       struct sfs_buf *out);

#endif
