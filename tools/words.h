/* A growing command line for a program that is started, and one as people would type it. */
#ifndef STAGEFS_WORDS_H
#define STAGEFS_WORDS_H

#include "tool.h"

struct words {    /* all-zero is empty */
    char **items; /* owned, with a NULL at the end */
    size_t count;
    bool failed; /* memory is gone: to be asked once, at the end */
};
void words_close(struct words *words);

void words_add(struct words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The name in front of each value. */
void words_add_option(struct words *words, const char *name, const struct text_list *values);

/* "stagefs" and the words, quoted where a shell would take them for something else. Fresh memory;
 * NULL: there is none. */
char *words_for_shell(int count, char **words);

#endif
