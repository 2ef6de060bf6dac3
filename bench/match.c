/* Matching a path against a pattern, component by component. */
#include "match.h"

#include <fnmatch.h>
#include <stddef.h>
#include <string.h>

#define MAX_SEGMENT 256

/* Does the first segment of `pattern` match the first of `path`? */
static bool segment_matches(const char *pattern, size_t pattern_size, const char *path,
                            size_t path_size)
{
    char p[MAX_SEGMENT], s[MAX_SEGMENT];
    if (pattern_size >= sizeof p || path_size >= sizeof s)
        return false;
    memcpy(p, pattern, pattern_size);
    memcpy(s, path, path_size);
    p[pattern_size] = s[path_size] = 0;
    return fnmatch(p, s, 0) == 0;
}

/* Greedy with one point to go back to, so many '**' cost no more than their product with the
 * path. */
static bool match_segments(const char *pattern, const char *path)
{
    const char *back_pattern = NULL, *back_path = NULL;
    while (*path) {
        size_t p = strcspn(pattern, "/"), s = strcspn(path, "/");
        if (p == 2 && memcmp(pattern, "**", 2) == 0) {
            pattern += pattern[2] == '/' ? 3 : 2;
            if (!*pattern)
                return true;
            back_pattern = pattern;
            back_path = path;
        } else if (*pattern && segment_matches(pattern, p, path, s)) {
            pattern += p + (pattern[p] == '/');
            path += s + (path[s] == '/');
        } else if (back_pattern) {
            back_path += strcspn(back_path, "/");
            back_path += *back_path == '/';
            pattern = back_pattern;
            path = back_path;
        } else {
            return false;
        }
    }
    return !*pattern || strcmp(pattern, "**") == 0;
}

bool bench_path_matches(const char *pattern, const char *path)
{
    if (!strchr(pattern, '/')) {
        const char *slash = strrchr(path, '/');
        return match_segments(pattern, slash ? slash + 1 : path);
    }
    return match_segments(pattern + (*pattern == '/'), path);
}
