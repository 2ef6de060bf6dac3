/* What made an image's layers, as its config's history tells. */
#ifndef STAGEFS_HISTORY_H
#define STAGEFS_HISTORY_H

#include "tool.h"

/* history[].created_by of layer `i` of `count`, borrowed. NULL: the history is not one of that many
 * layers, or does not say. */
const char *history_created_by(const struct json_t *config, size_t count, size_t i);

/* For people: one line, without the shell that builders put in front: "RUN apt-get update",
 * "COPY a b". Fresh memory; NULL: there is none. */
char *history_words(const char *created_by);

/* Prints a fresh line's end: as print_path(), on a terminal cut where its line ends. `used`:
 * columns that are filled already. */
void history_print(const char *words, unsigned used);

#endif
