/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates. Names in images are bytes; JSON and
 * pax records want UTF-8. */
#ifndef STAGEFS_UTF8_H
#define STAGEFS_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the sequence that starts at `text`, 1 to 4 (1 for a NUL); 0: none starts there. Looks no
 * further than a NUL. */
size_t sfs_utf8_size(const char *text);

/* Is the whole text UTF-8? */
bool sfs_utf8_is_valid(const char *text);

/* A copy in which U+FFFD stands for each byte that is not UTF-8. The caller frees; NULL: out of
 * memory. */
char *sfs_utf8_clean(const char *text);

#endif
