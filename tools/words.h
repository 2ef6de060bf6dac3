/* A growing command line for a program that is started, and one as people would type it. */
#ifndef STAGEFS_WORDS_H
#define STAGEFS_WORDS_H

#include "tool.h"

struct words {    /* all-zero is empty */
    char **items; /* owned, with a NULL at the end */
    size_t count;
    bool failed; /* memory was short: looked at once, at the end */
};
/* Frees what is in it. Fine on an all-zero struct. */
void words_close(struct words *words);

/* Adds one formatted word. */
void words_add(struct words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds each value, with the option's name in front of it. */
void words_add_option(struct words *words, const char *name, const struct text_list *values);

/* "stagefs" and the words, quoted where a shell would take them for something else. The caller
 * frees; NULL: out of memory. */
char *words_for_shell(int count, char **words);

#endif
