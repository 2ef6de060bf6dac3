/* Colours of names on a terminal: by $LS_COLORS as dircolors writes it, else as ls has them. */
#ifndef STAGEFS_COLORS_H
#define STAGEFS_COLORS_H

#include "tool.h"

/* What --color=WHEN and NO_COLOR come to for stdout; `when` NULL: not given. EINVAL: no such WHEN.
 */
int colors_choose(const char *when, bool *ret_on, struct sfs_error *err);

/* The escape sequence's numbers for a name, in `text`; "": none. */
#define COLOR_TEXT 32
const char *colors_find(const char *name, const struct sfs_attr *attr, char text[COLOR_TEXT]);

#endif
