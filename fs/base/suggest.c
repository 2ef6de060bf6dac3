/* How near a misspelt word must be to be taken for a known one. */
#include <stagefs/suggest.h>

#include "base/banned.h"
#include <ctype.h>
#include <stdbool.h>

#define MAX_WORD 64

/* Levenshtein's distance, one row at a time. */
static unsigned distance(const char *a, const char *b)
{
    size_t width = strlen(b);
    unsigned row[MAX_WORD + 1];
    for (size_t j = 0; j <= width; j++)
        row[j] = (unsigned)j;
    for (size_t i = 0; a[i]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 0; j < width; j++) {
            bool same = tolower((unsigned char)a[i]) == tolower((unsigned char)b[j]);
            unsigned best = diagonal + !same;
            diagonal = row[j + 1];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j + 1] + 1 < best)
                best = row[j + 1] + 1;
            row[j + 1] = best;
        }
    }
    return row[width];
}

/* The only one that begins with `word`; NULL: there is none, or several. */
static const char *complete(const char *word, size_t length, const char *const *known)
{
    const char *only = NULL;
    for (; length >= 2 && *known; known++) {
        if (strncasecmp(word, *known, length) != 0)
            continue;
        if (only)
            return NULL;
        only = *known;
    }
    return only;
}

const char *sfs_suggest(const char *word, const char *const *known)
{
    const char *best = NULL, *const *first = known;
    size_t length = strlen(word);
    unsigned limit = length <= 3 ? 1 : (unsigned)(length + 2) / 3;
    if (length > MAX_WORD)
        return NULL;
    for (; *known; known++) {
        if (strlen(*known) > MAX_WORD)
            continue;
        unsigned d = distance(word, *known);
        if (d <= limit) {
            best = *known;
            limit = d > 0 ? d - 1 : 0;
            if (d == 0)
                break;
        }
    }
    return best ? best : complete(word, length, first);
}
