/* The inside of a blob by ranges (together with blob_range.h): blob_range.c reads, waits and looks
 * ahead; range_fetch.c brings blocks here; range_whole.c makes a whole blob of them. All fields but
 * those set at the opening are guarded by the lock. */
#ifndef STAGEFS_RANGE_PARTS_H
#define STAGEFS_RANGE_PARTS_H

#include "base/thread.h"
#include "blob/blob_range.h"

enum {
    SFS_RANGE_LEAST = 256, /* blocks of a fetch that somebody waits for, where it wants little */
    SFS_RANGE_LITTLE = 32, /* blocks: so few */
    SFS_RANGE_MOST = 512,  /* and at most, so that several are under way */
    SFS_RANGE_READERS = 4,
    SFS_RANGE_LOOSE = 4096, /* blocks in memory for which the disk has no room */
};

enum sfs_block_state {
    SFS_BLOCK_UNKNOWN, /* not here; the file may have it, by an earlier or another process */
    SFS_BLOCK_PENDING, /* on its way, by a fetch of ours */
    SFS_BLOCK_READY,   /* in the file, and as it should be */
    SFS_BLOCK_LOOSE,   /* in memory */
    SFS_BLOCK_STATE = 3,
    SFS_BLOCK_PLANNED = 8, /* added: it is not here, and will be fetched in any case */
    SFS_BLOCK_BAD = 4, /* added: what the file had was wrong, so this process fetches it itself */
};

/* Somebody who reads on and on. */
struct sfs_range_reader {
    uint64_t begin, next; /* it has read from here, and will go on there; 0: there is none */
    uint64_t read;        /* so many bytes */
    uint64_t ahead;       /* all before is here, or on its way */
};

/* Blocks that are wanted. */
struct sfs_range_wish {
    uint32_t first, last;
    uint32_t least; /* a request asks for so many, where there is nothing yet; 1: not for more */
    enum sfs_remote_priority priority;
};

/* A reader that waits for a block. */
struct sfs_range_waiter {
    uint32_t block;
    struct sfs_range_waiter *next;
};

struct sfs_range_run;
struct sfs_range_blob {
    struct sfs_blob blob;
    struct sfs_remote *remote;
    struct sfs_range_file *file;     /* NULL: nothing is kept on the disk */
    struct sfs_range_keeper *keeper; /* NULL as `file` is */
    struct sfs_pool *pool, *demand_pool;
    const struct sfs_progress *progress;
    struct sfs_digest digest;
    char *where;
    atomic_bool *is_stalled;
    atomic_ullong *received, own_received;
    unsigned patience_ms;
    uint32_t blocks;

    pthread_mutex_t lock;
    pthread_cond_t changed;     /* the state of a block, `streams`, `closing`, or `jobs` */
    uint8_t *states;            /* for each block */
    struct sfs_range_run *runs; /* under way */
    unsigned streams;           /* of them, those that get all of the blob, though not asked to */
    unsigned jobs;              /* in the pool */
    bool closing;
    uint32_t planned;      /* blocks that are marked so */
    uint32_t gap;          /* all blocks before were in the file at some time */
    int64_t room_asked_ms; /* when it had none */
    struct {
        uint32_t block;
        char *data; /* NULL: the place is free */
    } loose[SFS_RANGE_LOOSE];
    unsigned next_loose;
    struct sfs_range_waiter *waiters;
    bool was_kept;          /* some of it was in the file before */
    bool in_pass;           /* somebody digests it */
    bool is_settling;       /* all is there: it is looked at */
    atomic_bool is_settled; /* it is a whole blob; changed under the lock */
    char *scratch;          /* room for a block */
    struct sfs_range_reader readers[SFS_RANGE_READERS];
    unsigned next_reader;
};

/* Counters of the process. */
struct sfs_range_counters {
    atomic_ullong requests, fetched, demand, kept, damaged, stalls, failed, wait_ns;
};
extern struct sfs_range_counters sfs_range_counters;

/* The vtable's `fill` and `stop` (range_fill.c). */
int sfs_range_fill(struct sfs_blob *blob, uint64_t offset, uint64_t size, struct sfs_error *err);
void sfs_range_stop(struct sfs_blob *blob);

/* The vtable's `plan` (range_fetch.c). */
void sfs_range_plan(struct sfs_blob *blob, uint64_t offset, uint64_t size);
/* These blocks could not be fetched, and will be when somebody reads them. The lock is held. */
void sfs_range_forget_plan(struct sfs_range_blob *range, uint32_t first, uint32_t last);

/* The vtable's `judge` and `distrust` (range_whole.c). */
bool sfs_range_judge(struct sfs_blob *blob, enum sfs_verdict verdict);
bool sfs_range_distrust(struct sfs_blob *blob, uint64_t offset, uint64_t size);
/* If all of it is here, has the pool compare it with its digest and keep it as a whole blob, or
 * drop it. Takes the lock. */
void sfs_range_settle(struct sfs_range_blob *range);

/* Tells the blob's progress. May be called with the lock held or not. */
void sfs_range_warn(const struct sfs_range_blob *range, const char *text);

/* Is the block here, READY or LOOSE? The lock is held, as for all below. */
bool sfs_range_has(const struct sfs_range_blob *range, uint32_t block);
/* Has the block become READY if the file has it. */
bool sfs_range_take_kept(struct sfs_range_blob *range, uint32_t block);
/* Keeps a block in memory, in the place of an older one for which nobody waits. ENOMEM. */
int sfs_range_keep_loose(struct sfs_range_blob *range, uint32_t block, const char *data);
/* Forgets what is in memory of a block. */
void sfs_range_drop_loose(struct sfs_range_blob *range, uint32_t block);
/* Fetches a run that begins with the wish's first block, which is not here.
 * The lock is given up meanwhile. 0: something came. 1: others bring it, look again. EAGAIN: the
 * other machine does not answer. ECANCELED: it is closing. Else what the remote fails with. */
int sfs_range_fetch(struct sfs_range_blob *range, const struct sfs_range_wish *wish,
                    struct sfs_error *err);
/* A reader waits for a block that is on its way: whatever brings it goes first from now on. */
void sfs_range_hurry(struct sfs_range_blob *range, uint32_t block);
/* Ends what is under way, soon. */
void sfs_range_cancel(struct sfs_range_blob *range);
/* Waits for a change, at most so long. */
void sfs_range_wait(struct sfs_range_blob *range, unsigned ms);
/* Milliseconds of the monotonic clock. */
int64_t sfs_range_now_ms(void);

#endif
