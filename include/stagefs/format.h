/* Text made of parts. */
#ifndef STAGEFS_FORMAT_H
#define STAGEFS_FORMAT_H

/* As asprintf(), with one convention: a fresh string that the caller frees; NULL: out of memory. */
char *sfs_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
