/* Text made of parts. */
#ifndef STAGEFS_FORMAT_H
#define STAGEFS_FORMAT_H

#include <stdint.h>

/* As asprintf(), with one convention: a fresh string that the caller frees; NULL: out of memory. */
char *sfs_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What a noun has at its end: "" for one, "s" for none or more. A constant. */
const char *sfs_plural(uint64_t count);

#endif
