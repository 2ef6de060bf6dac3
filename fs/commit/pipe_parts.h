/* The inside of the pipe: what pipe.c (the caller's side) and pipe_threads.c (the threads) share.
 *
 * Block i of the stream lives in slot i % count. It goes through
 *
 *   filled      by the caller, who waits while the slot is still in use
 *   packed      by a job of the pool, in any order            } side by side
 *   digested    by the digest thread, in order                }
 *   written     by the writer thread, in order, once packed
 *
 * and its slot is free when it is digested and written. The state of all this is three counters,
 * and a flag in each slot, under one lock. A large block takes milliseconds; of small ones
 * (thousands, between files) threads take all that are ready at a time, and are woken only when
 * there is enough to do.
 *
 * Slots are many and buffers few, since those are large. A block that comes packed needs none: its
 * slot gives the memory back that was lent. A small one (the headers between two files) moves to
 * memory of its own size. So the threads need not wait for one another at each of thousands. */
#ifndef STAGEFS_PIPE_PARTS_H
#define STAGEFS_PIPE_PARTS_H

#include "base/hash.h"
#include "base/pool.h"
#include "commit/pipe.h"
#include <pthread.h>

struct buffer { /* `out` has room for what `in` becomes; NULL: nothing is compressed */
    char *in, *out;
};

struct pipe_slot {
    struct sfs_pipe *pipe;
    struct buffer buffer;
    bool is_small;            /* the buffer is one piece of memory, of the block's size */
    size_t in_size, out_size; /* bytes in the buffer, plain and compressed */
    struct sfs_packed lent;   /* if its data is not NULL: the block, instead of the buffer */
    bool packed;              /* guarded by lock: `out` is ready */
};

struct sfs_pipe {
    struct sfs_pipe_options options;
    struct sfs_pool *pool; /* NULL: nothing is compressed */
    struct pipe_slot *slots;
    size_t slot_count;
    struct buffer filling;             /* the caller's; `in` NULL: the caller has none */
    size_t fill;                       /* bytes in that buffer */
    bool has_slot;                     /* that buffer is for slots[filled % count] */
    size_t buffer_count, buffers_made; /* how many buffers there may be, and are */
    uint64_t position;                 /* bytes that the caller has written */

    pthread_mutex_t lock;
    pthread_cond_t more, room;          /* the threads wait for more blocks, the caller for room */
    uint64_t filled, digested, written; /* guarded by lock: counts of blocks */
    uint64_t told;                /* guarded by lock: `filled` when the threads were woken last */
    uint64_t untold_bytes;        /* guarded by lock: plain bytes of blocks filled since */
    bool ended;                   /* guarded by lock: no more blocks will be filled */
    int failed;                   /* guarded by lock: 0 or the first failure */
    struct sfs_error failure;     /* guarded by lock */
    uint64_t lent;                /* guarded by lock: bytes of blocks that came packed */
    struct buffer *spares;        /* guarded by lock: room for buffer_count */
    size_t spare_count;           /* guarded by lock */
    struct sfs_compressor **idle; /* guarded by lock */
    size_t idle_count;            /* guarded by lock */

    pthread_t digest_thread, write_thread;
    bool has_digest_thread, has_write_thread; /* that thread runs, and is to be joined */
    struct sfs_hash *in_hash;                 /* used by the digest thread alone */
    /* Used by the writer's thread alone: */
    struct sfs_hash *out_hash;
    struct sfs_segment *segments; /* of the blocks in the file */
    size_t segment_count, segment_capacity;
    uint64_t in_size, out_size; /* bytes written so far, plain and compressed */
    uint64_t started;           /* of out_size: what the kernel was asked to start writing */
};

/* The slot of a block, which is counted from 0. */
static inline struct pipe_slot *sfs_pipe_slot(struct sfs_pipe *pipe, uint64_t block)
{
    return &pipe->slots[block % pipe->slot_count];
}

/* Bytes of memory that were lent with a block. */
static inline uint64_t sfs_packed_size(const struct sfs_packed *lent)
{
    return (uint64_t)lent->size + lent->packed_size;
}

/* ---- pipe_threads.c ---- */

/* Starts the digest thread and the writer. */
int sfs_pipe_start_threads(struct sfs_pipe *pipe, struct sfs_error *err);
/* Tells the threads that no more blocks will be filled, and waits until they have ended. */
void sfs_pipe_join_threads(struct sfs_pipe *pipe);
/* Wakes the threads for the blocks that they were not woken for yet. The lock is held. */
void sfs_pipe_wake(struct sfs_pipe *pipe);
/* A job for the pool: compresses what the slot `arg` holds. */
void sfs_pipe_pack_slot(void *arg);
/* Adds bytes to the file and its digest. Called by the writer's thread, or, after drain, while that
 * waits. EIO, ENOSPC, ... */
int sfs_pipe_put_out(struct sfs_pipe *pipe, const void *data, size_t size, struct sfs_error *err);
/* Gives the memory of a block that came packed back to whoever lent it. Does nothing if it is
 * empty. */
void sfs_pipe_give_back(struct sfs_packed *lent);

#endif
