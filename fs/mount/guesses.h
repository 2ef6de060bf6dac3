/* Whether guesses are worth their while: some of what would be brought ahead is left to be asked
 * for, and it is counted how much of that is. Behind EROFS all is asked for in any case, so there
 * the same part is watched, and brought ahead like the rest. */
#ifndef STAGEFS_GUESSES_H
#define STAGEFS_GUESSES_H

#include "base/buf.h"
#include "mount/forest.h"
#include "tree/profile.h"
#include <stagefs/cache.h>

/* What a guess follows from. */
enum sfs_guess {
    SFS_GUESS_LIBRARY, /* a library's headers were read: what its loader will touch */
    SFS_GUESS_BLOCK,   /* a part of a large file was read: what is around it, and ahead */
    SFS_GUESS_KINDS
};

struct sfs_guesses; /* thread-safe */

/* NULL: no memory. The caller closes it. */
struct sfs_guesses *sfs_guesses_open(void);
/* Frees, and sets NULL; NULL is fine. */
void sfs_guesses_close(struct sfs_guesses **guesses);

/* Counts a guess. True: it is to be left to be asked for. Does not wait. */
bool sfs_guesses_leave(struct sfs_guesses *guesses, enum sfs_guess kind, sfs_ino ino,
                       struct sfs_range range);
/* Takes off *rest its next part that nothing was left of, since guesses overlap. False: there is
 * none. Does not wait. */
bool sfs_guesses_next(struct sfs_guesses *guesses, sfs_ino ino, struct sfs_range *rest,
                      struct sfs_range *ret_part);
/* Tells that this is asked for. Does not wait. */
void sfs_guesses_touch(struct sfs_guesses *guesses, sfs_ino ino, struct sfs_range range);

/* Appends ',"guesses":{"library":{"bytes":..,"checked_bytes":..,"used_bytes":..},..}', with those
 * of spans near others, of which each is checked. NULL: all are 0. */
void sfs_guesses_print(struct sfs_guesses *guesses, const struct sfs_cache_stats *spans,
                       struct sfs_buf *buf);

#endif
