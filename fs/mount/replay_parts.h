/* What the files of the replay share: replay.c (names, the front, the thread), replay_batch.c
 * (which bytes together), replay_fetch.c (what lies on another machine). */
#ifndef STAGEFS_REPLAY_PARTS_H
#define STAGEFS_REPLAY_PARTS_H

#include "mount/replay.h"
#include <pthread.h>
#include <stdatomic.h>

/* Bytes of one batch. Small batches keep to the order of use, large ones read the blobs in
 * order. */
#define SFS_REPLAY_BATCH (32u << 20)
/* The same where what is brought comes over a network, which is slower than any order: readers wait
 * for what they use first. */
#define SFS_REPLAY_REMOTE_BATCH (4u << 20)

struct sfs_replay_part {
    struct sfs_fill_part part;
    const void *blob;
    uint64_t position;
};

struct sfs_replay {
    const struct sfs_forest *forest;
    bool numbered; /* paths start with the number of a tree; else they are of the first one */
    struct sfs_profile profile;
    sfs_ino *inos;  /* of the profile's uses; 0: not in the forest, or known to be absent */
    bool *is_later; /* an earlier use is of the same file */
    size_t unknown, first_unknown;
    bool is_eager;   /* whatever else is in the blobs is fetched, too */
    bool has_remote; /* some of it lies on another machine */
    struct sfs_fill *ahead;
    const struct sfs_pack *pack; /* NULL: there is none */
    bool fills_front;            /* see sfs_replay_fill_front() */
    char path[4096];
    pthread_t thread;
    bool has_thread;
    atomic_bool stop;
    _Atomic pid_t number; /* the thread's */
    _Atomic dev_t device; /* of the mount, as the thread found it; 0: it has not yet */
};

/* How many bytes of its file the use names. */
uint64_t sfs_replay_bytes_of(const struct sfs_use *use);
/* How many bytes are fetched at most: they should still be in memory when they are used. */
uint64_t sfs_replay_most_bytes(void);
/* Where the batch ends that begins with that use. Takes its bytes from *left; where those are
 * spent, it is the last one. */
size_t sfs_replay_end_batch(const struct sfs_replay *replay, size_t first, uint64_t batch,
                            uint64_t *left);
/* The parts of some uses, in the order of their blobs; the caller frees them. NULL: none, or no
 * memory, and then they are read when they are needed. */
struct sfs_replay_part *sfs_replay_sort_parts(struct sfs_replay *replay, size_t first, size_t end,
                                              size_t *ret_count);
/* Has all that the blobs hold besides fetched, behind everything else; each blob once. */
void sfs_replay_fetch_rest(const struct sfs_replay *replay);

#endif
