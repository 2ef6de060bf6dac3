/* Lines cut into words, quotes kept or resolved; lists of strings. */
#ifndef STAGEFS_DOCKERFILE_WORDS_H
#define STAGEFS_DOCKERFILE_WORDS_H

#include "dockerfile/expand.h"

/* Appends a copy of `size` bytes to a list. 0 or -ENOMEM. */
int sfs_words_add(struct sfs_vars *words, const char *text, size_t size);

/* Words of ENV, LABEL and ARG: blanks inside quotes do not part; quotes and escapes stay. */
int sfs_words_quoted(const char *text, char escape, struct sfs_vars *words);

/* Parted at blanks alone. */
int sfs_words_plain(const char *text, struct sfs_vars *words);

/* The leading words that start with "--", quotes and escapes resolved; *ret_rest is what follows.
 */
int sfs_words_flags(const char *text, char escape, struct sfs_vars *flags, const char **ret_rest);

/* A JSON array of strings; a NUL in one is marked (stagefs/json.h). 1: it was one; 0: it is none;
 * -EINVAL: an array that holds something else. */
int sfs_words_json(const char *text, struct sfs_vars *words, struct sfs_error *err);

#endif
