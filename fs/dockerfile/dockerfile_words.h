/* Cutting lines into words, with quotes kept or resolved, and lists of strings. Words are appended;
 * 0 or -ENOMEM where nothing else is said. */
#ifndef STAGEFS_DOCKERFILE_WORDS_H
#define STAGEFS_DOCKERFILE_WORDS_H

#include "dockerfile/expand.h"

/* Appends a copy of `size` bytes to a list. 0 or -ENOMEM. */
int sfs_words_add(struct sfs_vars *words, const char *text, size_t size);

/* The words of ENV, LABEL and ARG: blanks inside quotes do not end a word; quotes and escapes
 * stay. */
int sfs_words_quoted(const char *text, char escape, struct sfs_vars *words);

/* The words between blanks, whatever quotes there are. */
int sfs_words_plain(const char *text, struct sfs_vars *words);

/* The words at the start that begin with "--", with quotes and escapes resolved. *ret_rest is what
 * follows; it points into `text`. */
int sfs_words_flags(const char *text, char escape, struct sfs_vars *flags, const char **ret_rest);

/* The strings of a JSON array; a NUL in one is marked (stagefs/json.h). 1: it was one; 0: it is no
 * array; -EINVAL: the array holds something else. */
int sfs_words_json(const char *text, struct sfs_vars *words, struct sfs_error *err);

#endif
