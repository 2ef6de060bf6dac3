/* Is what this thread waits for still wanted? Whoever asks for something on another's behalf tells
 * how to find out, and what waits long looks now and then. It is the thread's own, so that
 * functions in between need not hand it on. */
#ifndef STAGEFS_WANTED_H
#define STAGEFS_WANTED_H

#include <stdbool.h>

struct sfs_wanted {
    bool (*is_wanted)(void *user); /* called from waits, again and again */
    void *user;
};

/* From now on, the calling thread works for that; NULL: for itself. Borrowed until the next call.
 */
void sfs_wanted_set(const struct sfs_wanted *wanted);
/* Does the calling thread work for somebody who may give up? */
bool sfs_wanted_may_end(void);
/* True also where it works for itself. */
bool sfs_wanted_is(void);

/* How often a wait looks, in milliseconds. */
#define SFS_WANTED_TICK 200u

#endif
