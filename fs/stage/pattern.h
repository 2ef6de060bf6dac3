/* Glob patterns, in the two languages that BuildKit uses. Sources: Go's path/filepath.Match, and
 * github.com/moby/patternmatcher. */
#ifndef STAGEFS_PATTERN_H
#define STAGEFS_PATTERN_H

#include <stagefs/error.h>
#include <stdbool.h>
#include <stddef.h>

/* Go's filepath.Match: '*' and '?' stop at '/', [classes] with ranges and '^', backslash escapes;
 * the whole name. Returns 1, 0, or -EINVAL for a malformed pattern (found only as far as matching
 * gets, as in Go). */
int sfs_pattern_match_go(const char *pattern, const char *name);

/* An ordered list in patternmatcher's language ("**", "!exceptions"): .dockerignore, --exclude,
 * --parents. */
struct sfs_patterns;
/* Compiles; each line is cleaned as patternmatcher.New does (trim, filepath.Clean, "!" prefix).
 * EINVAL: malformed. */
int sfs_patterns_open(const char *const *lines, size_t count, struct sfs_patterns **ret_patterns,
                      struct sfs_error *err);
void sfs_patterns_close(struct sfs_patterns **patterns);
size_t sfs_patterns_count(const struct sfs_patterns *patterns);
bool sfs_patterns_has_exceptions(const struct sfs_patterns *patterns);

/* Is `path` ("a/b/c", no leading '/') selected by the list, given that its parent directories'
 * matches propagate (MatchesOrParentMatches)? Last matching pattern decides. 1, 0 or -EINVAL. */
int sfs_patterns_match(const struct sfs_patterns *patterns, const char *path);

/* Could something below directory `path` match (positive patterns) although it does not itself?
 * Lets a walk skip subtrees; true when in doubt. */
bool sfs_patterns_may_match_below(const struct sfs_patterns *patterns, const char *path);

#endif
