/* Glob patterns, in the two languages that BuildKit uses. Sources: Go's path/filepath.Match, and
 * github.com/moby/patternmatcher. */
#ifndef STAGEFS_PATTERN_H
#define STAGEFS_PATTERN_H

#include <stagefs/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Does the pattern match the whole name, as Go's filepath.Match has it? '*' and '?' stop at '/',
 * [classes] have ranges and '^', a backslash escapes. 1, 0, or -EINVAL for a pattern that is
 * malformed anywhere. */
int sfs_pattern_match_go(const char *pattern, const char *name);

/* Has it an unescaped '*', '?' or '['? */
bool sfs_pattern_is_wild(const char *text);

/* An ordered list in patternmatcher's language ("**", "!exceptions"): .dockerignore, --exclude,
 * --parents. */
struct sfs_patterns;
/* Compiles a list, which the caller closes. Each line is cleaned as patternmatcher.New does (trim,
 * filepath.Clean, "!" prefix); empty ones are dropped. EINVAL: malformed. */
int sfs_patterns_open(const char *const *lines, size_t count, struct sfs_patterns **ret_patterns,
                      struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. */
void sfs_patterns_close(struct sfs_patterns **patterns);
/* How many patterns there are, without the lines that were dropped. */
size_t sfs_patterns_count(const struct sfs_patterns *patterns);
/* Does any of them begin with '!'? */
bool sfs_patterns_has_exceptions(const struct sfs_patterns *patterns);

/* Does the list select `path` ("a/b/c", no leading '/'), where what matches a directory matches all
 * below it (MatchesOrParentMatches)? The last pattern that matches decides. 1, 0 or -EINVAL. */
int sfs_patterns_match(const struct sfs_patterns *patterns, const char *path);

/* The same for a walk from the top, parents first (MatchesUsingParentResults, which BuildKit's COPY
 * uses, and which differs in rare cases): `ret_self` gets one byte for each pattern, which the
 * caller hands in as `parent` for the names in that directory; parent NULL: a name at the top. */
int sfs_patterns_match_below(const struct sfs_patterns *patterns, const char *path,
                             const uint8_t *parent, uint8_t *ret_self);

/* Could a pattern without '!' match something below directory `path`, although none matches the
 * directory? So that a walk can leave out subtrees; true when in doubt. */
bool sfs_patterns_may_match_below(const struct sfs_patterns *patterns, const char *path);

#endif
