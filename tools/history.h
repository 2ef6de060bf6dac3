/* What made an image's layers, as its config's history tells. */
#ifndef STAGEFS_HISTORY_H
#define STAGEFS_HISTORY_H

#include "tool.h"

/* What the config's history says of layer `i` of `count` (created_by), borrowed. NULL: the history
 * is of another number of layers, or says nothing. */
const char *history_created_by(const struct json_t *config, size_t count, size_t i);

/* Makes one line of it for people, without the shell that builders put in front: "RUN apt-get
 * update", "COPY a b". The caller frees; NULL: out of memory. */
char *history_words(const char *created_by);

/* Prints such words at the end of a line, as print_path() does; on a terminal they are cut where
 * its line ends. `used`: how many columns of it are filled already. */
void history_print(const char *words, unsigned used);

#endif
