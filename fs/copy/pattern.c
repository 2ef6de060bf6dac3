/* Go's filepath.Match.
 *
 * The whole pattern is checked first, so that matching itself cannot fail. Matching needs one
 * point to return to: when a later '*' was reached, an earlier one never has to take more. */
#include "copy/pattern.h"

#include "base/banned.h"
#include "copy/pattern_class.h"
#include <errno.h>

uint32_t sfs_pattern_rune(const char *text, size_t *ret_size)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t more = s[0] < 0x80                    ? 0
                  : s[0] >= 0xc2 && s[0] <= 0xdf ? 1
                  : (s[0] & 0xf0) == 0xe0        ? 2
                  : s[0] >= 0xf0 && s[0] <= 0xf4 ? 3
                                                 : SIZE_MAX;
    *ret_size = 1;
    if (more == 0)
        return s[0];
    if (more == SIZE_MAX)
        return SFS_BAD_RUNE;
    uint32_t rune = s[0] & (0x3fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return SFS_BAD_RUNE;
        rune = rune << 6 | (s[i] & 0x3f);
    }
    static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
    if (rune < least[more] || rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff))
        return SFS_BAD_RUNE;
    *ret_size = more + 1;
    return rune;
}

/* Reads one end of a range, which may be escaped. Returns what follows; NULL: malformed. */
static const char *read_bound(const char *text, uint32_t *ret_rune)
{
    if (*text == '\0' || *text == '-' || *text == ']')
        return NULL;
    if (*text == '\\' && *++text == '\0')
        return NULL;
    size_t size;
    *ret_rune = sfs_pattern_rune(text, &size);
    return *ret_rune == SFS_BAD_RUNE && size == 1 ? NULL : text + size;
}

const char *sfs_pattern_class(const char *text, uint32_t rune, bool *ret_match, bool *ret_reversed)
{
    text++; /* '[' */
    bool negated = *text == '^';
    text += negated;
    bool found = false;
    for (bool first = true; first || *text != ']'; first = false) {
        uint32_t low, high;
        text = read_bound(text, &low);
        if (!text)
            return NULL;
        high = low;
        if (*text == '-') {
            text = read_bound(text + 1, &high);
            if (!text)
                return NULL;
        }
        found |= low <= rune && rune <= high;
        if (ret_reversed)
            *ret_reversed |= low > high;
    }
    *ret_match = found != negated;
    return text + 1;
}

static bool is_well_formed(const char *pattern)
{
    bool ignored;
    while (*pattern) {
        if (*pattern == '[') {
            pattern = sfs_pattern_class(pattern, 0, &ignored, NULL);
            if (!pattern)
                return false;
        } else if (*pattern == '\\' && *++pattern == '\0') {
            return false;
        } else {
            pattern++;
        }
    }
    return true;
}

/* Takes one element of the pattern, but '*', and what it matches off the name. False: it does not
 * match. */
static bool match_one(const char **pattern, const char **name)
{
    const char *p = *pattern, *n = *name;
    if (*p == '\0' || *n == '\0')
        return false;
    bool fits;
    size_t size = 1;
    if (*p == '[') {
        uint32_t rune = sfs_pattern_rune(n, &size);
        p = sfs_pattern_class(p, rune, &fits, NULL);
    } else if (*p == '?') {
        sfs_pattern_rune(n, &size);
        fits = *n != '/';
        p++;
    } else {
        p += *p == '\\';
        fits = *p == *n;
        p++;
    }
    *pattern = p;
    *name = n + size;
    return fits;
}

int sfs_pattern_match_go(const char *pattern, const char *name)
{
    if (!is_well_formed(pattern))
        return -EINVAL;
    /* The pattern behind the last '*', and where in the name it was tried last. */
    const char *star = NULL, *from = NULL;
    while (*pattern || *name) {
        if (*pattern == '*') {
            while (*pattern == '*')
                pattern++;
            if (*pattern == '\0')
                return strchr(name, '/') == NULL;
            star = pattern;
            from = name;
            continue;
        }
        const char *p = pattern, *n = name;
        if (match_one(&p, &n)) {
            pattern = p;
            name = n;
            continue;
        }
        if (!star || *from == '\0' || *from == '/')
            return 0;
        pattern = star;
        name = ++from;
    }
    return 1;
}

bool sfs_pattern_is_wild(const char *text)
{
    for (; *text; text++) {
        if (*text == '*' || *text == '?' || *text == '[')
            return true;
        if (*text == '\\' && *++text == '\0')
            break;
    }
    return false;
}
