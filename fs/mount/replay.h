/* Bringing what profiles name into the kernel's caches, right after mounting: names by looking them
 * up through the mount, bytes by way of fill.h. Both in the order of first use, in batches; in
 * a batch bytes come in the order in which they lie in the blobs, each once. */
#ifndef STAGEFS_REPLAY_H
#define STAGEFS_REPLAY_H

#include "mount/fill.h"
#include "mount/forest.h"
#include "tree/profile.h"

struct sfs_replay;

/* Reads the profiles and looks their paths up in the forest, which it borrows; or in its first tree
 * alone. Paths that are not in it are left out; sfs_replay_unknown() says how many, and names the
 * first of them. EBADMSG: not a profile. */
int sfs_replay_open(const struct sfs_forest *forest, bool first_tree, const char *const *profiles,
                    size_t count, struct sfs_replay **ret_replay, struct sfs_error *err);
/* The same of one profile, whose uses are moved out: of the first tree, if `first_tree`. */
int sfs_replay_open_known(const struct sfs_forest *forest, bool first_tree,
                          struct sfs_profile *profile, struct sfs_replay **ret_replay,
                          struct sfs_error *err);
/* How many paths of the profiles are not in the forest; if any, *ret_path is the first of them,
 * borrowed. */
size_t sfs_replay_unknown(const struct sfs_replay *replay, const char **ret_path);

/* How many hundredths of all file bytes the profiles name, if they name so many that all the rest
 * is brought from the other machine behind them, without waiting for a reader; 0: no more is
 * brought than they name, or nothing lies on another machine. To be asked before the start. */
unsigned sfs_replay_is_eager(struct sfs_replay *replay);

/* Does some of what the profiles name lie on another machine? To be asked behind
 * sfs_replay_is_eager(). */
bool sfs_replay_is_remote(const struct sfs_replay *replay);
/* Has all of that asked for, in the order of the profiles; a start waits for it longest, so this is
 * called as soon as it is known, before the mount answers. Does not wait for it. */
void sfs_replay_fetch(struct sfs_replay *replay);

/* Has the pieces of a pack brought instead of the ranges of files that it has, in its order. To be
 * called before the start, if at all; `pack` is borrowed. */
void sfs_replay_use_pack(struct sfs_replay *replay, const struct sfs_pack *pack);
/* Says that another file system of the kernel's stands in front, which has a cache of its own:
 * bytes are brought into that. To be called before the start, if at all. */
void sfs_replay_fill_front(struct sfs_replay *replay);
/* Starts the thread. The mount at `path` already answers, and `ahead`, which is borrowed, already
 * takes work. */
int sfs_replay_start(struct sfs_replay *replay, struct sfs_fill *ahead, const char *path,
                     struct sfs_error *err);
/* Looks at what the front has of what was left to be asked for (front_fill.h). On a thread of its
 * own, for which it waits, and which waits for the front. False: not all of that can be seen. */
bool sfs_replay_look(const struct sfs_replay *replay,
                     bool (*is_left)(void *user, sfs_ino ino, struct sfs_range range),
                     void (*seen)(void *user, sfs_ino ino, struct sfs_range range), void *user);
/* Is it the thread's number, by which the kernel tells who asks? */
bool sfs_replay_is_thread(const struct sfs_replay *replay, pid_t asker);
/* Tells the thread to end. Does not wait for it: it may be in a request that only unmounting
 * ends. */
void sfs_replay_stop(struct sfs_replay *replay);
/* Waits for the thread, frees, and sets NULL; NULL is fine. To be called after the session was
 * unmounted. */
void sfs_replay_close(struct sfs_replay **replay);

#endif
