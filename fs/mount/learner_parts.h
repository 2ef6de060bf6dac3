/* What the two files of the learner share. */
#ifndef STAGEFS_LEARNER_PARTS_H
#define STAGEFS_LEARNER_PARTS_H

#include "base/buf.h"
#include "mount/learner.h"
#include <pthread.h>
#include <stagefs/digest.h>

/* A start has ended when nothing new was asked for in so many seconds. On a machine with ten times
 * more work than cores the longest pause in a start of PyTorch was 4.4 s, the next 1.5 s
 * (docs/starts.md). */
#define QUIET_SECONDS 5u
/* What comes later is no start any more, however busy the mount is. */
#define MOST_SECONDS 120u
/* A start asks for so much at least. */
#define SMALL (4u << 20)
/* 8 MiB of notes: `import torch` takes 13,000. */
#define MAX_NOTES (256u << 10)
/* Bytes of names that are not there. */
#define MAX_NAMES (4u << 20)
/* Bytes of what is kept of all trees. */
#define ALL_LEARNED (64u << 20)

/* A use; NONE: the name at range.offset of `names` is not in the directory. */
struct sfs_note {
    sfs_ino ino;
    enum sfs_use_kind kind;
    struct sfs_range range;
};

struct sfs_learner {
    struct sfs_learner_options options;
    char key[SFS_DIGEST_TEXT];
    struct sfs_profile known; /* until it is taken */
    bool has_known;
    unsigned turns, turn; /* of so many turns it is the one with this number */
    atomic_bool listens;
    pthread_mutex_t lock; /* guards all below, but the thread */
    pthread_cond_t changed;
    struct sfs_buf notes; /* struct sfs_note, first use first */
    struct sfs_buf names;
    uint64_t bytes;       /* that were asked for */
    atomic_bool is_awake; /* the mount is used */
    bool stop;
    pthread_t thread;
    bool has_thread;
    struct sfs_learner_watcher watcher;
    /* The thread's own. */
    uint64_t seen;    /* bytes that the last look has seen, which are not noted yet */
    unsigned seconds; /* since the first use */
    bool has_looked;  /* what was used without a request is noted, too */
};

/* Finds what the tree goes by, and reads what is kept under that. 0 or -ENOMEM. */
int sfs_learner_load(struct sfs_learner *learner);
/* Joins what was noted with what is kept, and writes it. Nobody may note any more. Gives what is
 * known now: nothing where no start was seen, or it could not be joined. */
void sfs_learner_write(struct sfs_learner *learner, struct sfs_profile *ret_known);

#endif
