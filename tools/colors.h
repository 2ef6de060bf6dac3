/* Colours of names on a terminal: by $LS_COLORS as dircolors writes it, else as ls has them. */
#ifndef STAGEFS_COLORS_H
#define STAGEFS_COLORS_H

#include "tool.h"

/* Decides by --color=WHEN and NO_COLOR whether stdout gets colours; `when` NULL: not given. EINVAL:
 * no such WHEN. */
int colors_choose(const char *when, bool *ret_on, struct sfs_error *err);

#define COLOR_TEXT 32
/* The numbers of the escape sequence for a name, in `text` or constant; "": no colour. */
const char *colors_find(const char *name, const struct sfs_attr *attr, char text[COLOR_TEXT]);

#endif
