/* Matching and replacing for ${x#p}, ${x%p} and ${x/p/r}, by characters and not by bytes. */
#include "dockerfile/expand_pattern.h"

#include "base/limits.h"
#include <errno.h>

const char *sfs_expand_bad_escape(const char *pattern)
{
    for (; *pattern; pattern++) {
        if (*pattern != '\\')
            continue;
        pattern++;
        if (!*pattern || !strchr("*?\\}/", *pattern))
            return pattern;
    }
    return NULL;
}

/* Does the pattern match exactly the first `size` bytes of text? Iterative, with one point to come
 * back to: the classic matcher for '*', linear in practice and quadratic at worst. Neither wildcard
 * stands for the end of a line. */
static bool matches(const char *pattern, const char *text, size_t size)
{
    const char *end = text + size, *star = NULL, *star_text = NULL;
    while (text < end || *pattern) {
        bool escaped = *pattern == '\\' && pattern[1];
        if (*pattern == '*') {
            star = ++pattern;
            star_text = text;
            continue;
        }
        if (text < end && *pattern == '?' && *text != '\n') {
            /* One character, not one byte. */
            do
                text++;
            while (text < end && ((unsigned char)*text & 0xc0) == 0x80);
            pattern++;
            continue;
        }
        if (text < end && *pattern && pattern[escaped] == *text) {
            pattern += 1 + escaped;
            text++;
            continue;
        }
        if (!star || star_text >= end || *star_text == '\n')
            return false;
        pattern = star;
        text = ++star_text;
    }
    return true;
}

/* Is `at` between two characters, and not inside one? */
static bool is_boundary(const char *at)
{
    return ((unsigned char)*at & 0xc0) != 0x80;
}

int sfs_expand_trim(const char *pattern, const char *value, bool at_end, bool longest,
                    struct sfs_buf *out)
{
    size_t length = strlen(value);
    for (size_t i = 0; i <= length; i++) {
        size_t size = longest ? length - i : i;
        if (!is_boundary(at_end ? value + length - size : value + size))
            continue;
        if (!at_end && matches(pattern, value, size))
            return sfs_buf_add(out, value + size, length - size);
        if (at_end && matches(pattern, value + length - size, size))
            return sfs_buf_add(out, value, length - size);
    }
    return sfs_buf_add(out, value, length);
}

/* Length of the longest match at the start of text, or -1. */
static ssize_t longest_match(const char *pattern, const char *text)
{
    for (size_t size = strlen(text) + 1; size-- > 0;)
        if (matches(pattern, text, size))
            return (ssize_t)size;
    return -1;
}

int sfs_expand_replace(const char *pattern, const char *value, const char *replacement, bool all,
                       struct sfs_buf *out)
{
    int r = 0;
    bool replaced = false;
    while (r == 0) {
        ssize_t size = all || !replaced ? longest_match(pattern, value) : -1;
        if (out->size > 2 * SFS_MAX_EXPANDED)
            return -E2BIG;
        if (size >= 0) {
            r = sfs_buf_add_str(out, replacement);
            replaced = true;
            value += size;
        }
        if (!*value)
            break;
        if (size <= 0 && r == 0)
            r = sfs_buf_add(out, value++, 1);
    }
    return r;
}
