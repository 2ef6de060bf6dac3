/* Word expansion: $x, ${x:-w}, quotes and escapes, as BuildKit's frontend/dockerfile/shell/lex.go
 * has it. */
#ifndef STAGEFS_EXPAND_H
#define STAGEFS_EXPAND_H

#include <stagefs/error.h>
#include <stdbool.h>
#include <stddef.h>

/* An ordered set of variables. All-zero is empty. */
struct sfs_vars {
    char **items; /* "NAME=value"; owned */
    size_t count;
};
/* Sets a variable, in its place if it is there, else at the end. 0 or -ENOMEM. */
int sfs_vars_set(struct sfs_vars *vars, const char *name, const char *value);
/* The value of the variable whose name is the first name_size bytes of `name`, or NULL; lives until
 * the variable is set again. */
const char *sfs_vars_get(const struct sfs_vars *vars, const char *name, size_t name_size);
/* Removes a variable, if it is there. */
void sfs_vars_unset(struct sfs_vars *vars, const char *name);
/* Makes a copy, which the caller closes. 0 or -ENOMEM. */
int sfs_vars_copy(const struct sfs_vars *from, struct sfs_vars *ret_vars);
/* Puts a NULL behind the items, for callees that want an array which ends so. It is there until the
 * next change. 0 or -ENOMEM. */
int sfs_vars_ended(struct sfs_vars *vars);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_vars_close(struct sfs_vars *vars);

enum sfs_expand_flags {
    SFS_EXPAND_KEEP_QUOTES = 1 << 0, /* quotes are data, and protect nothing (heredoc bodies) */
    SFS_EXPAND_RAW_QUOTES = 1 << 1,  /* quotes protect, and stay */
    SFS_EXPAND_RAW_ESCAPES = 1 << 2, /* escape characters stay */
    SFS_EXPAND_SKIP_UNSET = 1 << 3,  /* $x of an unset variable stays as it is written */
};

/* Expands one word: what was written stays one word, whatever the values hold. The caller frees
 * *ret_text. EINVAL: unclosed quote or brace, unsupported modifier, a ${x:?message} whose variable
 * is unset. */
int sfs_expand_word(const char *word, char escape, const struct sfs_vars *vars, unsigned flags,
                    char **ret_text, struct sfs_error *err);

/* Expands a text into words: it is split at blanks that are neither quoted nor escaped, also at
 * those that come out of values. The caller closes *ret_words. Fails as sfs_expand_word(). */
int sfs_expand_words(const char *text, char escape, const struct sfs_vars *vars, unsigned flags,
                     struct sfs_vars *ret_words, struct sfs_error *err);

#endif
