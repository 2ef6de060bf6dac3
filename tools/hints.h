/* What people who know other tools type, and how it is said here. */
#ifndef STAGEFS_HINTS_H
#define STAGEFS_HINTS_H

#include <stdbool.h>

/* What to do instead of a command of docker's that stagefs does not have; NULL: nothing is known.
 */
const char *hint_for_command(const char *word);
/* The same of an option of `docker run`: its name without "--", or its letter alone. */
const char *hint_for_run_option(const char *word);
/* Is it a directory with a place for it, as `docker run -v` takes it: "/data:/data:ro"? */
bool hint_is_volume(const char *word);

#endif
