/* Learning what starts use: the first use after a mount is noted, until the mount has been quiet
 * for a while, and kept in the store (tree/learned.h has the form), under what the tree goes by.
 * The next mount of such a tree has it fetched ahead.
 *
 * It is nearly free: a note is a few words in an array, taken by inode number; nothing that the
 * kernel does by itself is given up for it, as a recorder's mount does (recorder.h). Names and
 * ranges are kept, in the order of first use; no times, no processes, no bytes. */
#ifndef STAGEFS_LEARNER_H
#define STAGEFS_LEARNER_H

#include "mount/counters.h"
#include "mount/forest.h"
#include "tree/profile.h"
#include <stagefs/cache.h>

struct sfs_learner;

struct sfs_learner_options {
    const struct sfs_forest *forest; /* its first tree is learned */
    struct sfs_store *store;
    bool sees_names; /* look-ups come to this process, and not to the kernel's EROFS alone */
    struct sfs_stats *stats;
};

/* Finds what is known of the forest's first tree. What cannot be read is as if nothing were known.
 * Borrows all that the options name. The caller closes *ret_learner. ENOMEM. */
int sfs_learner_open(const struct sfs_learner_options *options, struct sfs_learner **ret_learner,
                     struct sfs_error *err);
/* Ends the thread, waits for it, frees, and sets NULL; NULL is fine. */
void sfs_learner_close(struct sfs_learner **learner);

/* Moves out what is to be fetched ahead of this start, once: what is known, but for names whose
 * turn it is to be looked up. Empty where nothing is known. */
void sfs_learner_take(struct sfs_learner *learner, struct sfs_profile *ret_profile);
/* Is the block of SFS_LEARNED_BLOCK that the range begins in to be asked for, so that it is seen
 * what is used of it? Then its bytes may be decoded ahead, but the kernel is not given them. That
 * is so of what is known of blocks whose turn it is (learned.h), and of all guesses. `learner` is a
 * struct sfs_learner. */
bool sfs_learner_spares(void *learner, sfs_ino ino, struct sfs_range range, bool is_guess);

/* Notes that `name` was looked for in `dir`. ino 0: it is not there. */
void sfs_learner_lookup(struct sfs_learner *learner, sfs_ino dir, const char *name, sfs_ino ino);
/* Notes a use that is of no bytes. */
void sfs_learner_use(struct sfs_learner *learner, sfs_ino ino, enum sfs_use_kind kind);
/* Notes that bytes of a file were asked for. */
void sfs_learner_read(struct sfs_learner *learner, sfs_ino ino, struct sfs_range range);

/* Who is asked and told on the learner's thread. */
struct sfs_learner_watcher {
    /* What is used without a request to this process: calls `seen` for all that was used of what
     * `is_left` says was left to be asked for, with `learner`. False: that cannot be seen. NULL:
     * there are requests for all of it. */
    bool (*look)(void *user, bool (*is_left)(void *learner, sfs_ino ino, struct sfs_range range),
                 void (*seen)(void *learner, sfs_ino ino, struct sfs_range range), void *learner);
    /* A start has ended while the mount lives on; all that is known now may be moved out. */
    void (*ended)(void *user, struct sfs_profile *known);
    void *user;
};
/* To be called before the start, if at all. */
void sfs_learner_watch(struct sfs_learner *learner, const struct sfs_learner_watcher *watcher);
/* Tells that the mount is used, where what is used may come without a request. */
void sfs_learner_wake(struct sfs_learner *learner);
/* Starts the thread that waits until the mount is quiet, and then writes. */
int sfs_learner_start(struct sfs_learner *learner, struct sfs_error *err);
/* Ends the thread, and waits for it: from now on nobody is called. */
void sfs_learner_stop(struct sfs_learner *learner);
/* At a clean end: writes what was seen, if the thread has not. Whatever fails, the mount has
 * served: only the next start knows less. */
void sfs_learner_finish(struct sfs_learner *learner);

#endif
