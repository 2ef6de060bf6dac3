/* The inside of the memory cache: one slot for each decoded span that is kept, or being made.
 *
 *   IDLE      somebody has to go on decoding; whoever needs it does
 *   RUNNING   a thread is decoding
 *   READY     decoded
 *   FAILED    unhooked from its spans: whoever still waits takes the failure, unless it came long
 *             after the one that failed had begun; the next reader tries anew
 *
 * All fields are guarded by the cache's lock, with two exceptions: `decoder` and the bytes of
 * `data` behind `filled` belong to the running thread, and the bytes before `filled` never change.
 * Slots without references lie on the cache's list, least recently used first. */
#ifndef STAGEFS_SLOTS_H
#define STAGEFS_SLOTS_H

#include "base/pool.h"
#include "blob/blob.h"
#include "blob/nearby.h"
#include "blob/readahead.h"
#include "blob/seek.h"
#include "blob/spares.h"
#include <pthread.h>
#include <stagefs/cache.h>

enum sfs_slot_state { SFS_SLOT_IDLE, SFS_SLOT_RUNNING, SFS_SLOT_READY, SFS_SLOT_FAILED };

struct sfs_slot {
    struct sfs_spans *spans; /* whose span it holds */
    uint32_t span;
    enum sfs_slot_state state;
    uint32_t refs;       /* slices, waiting readers, the running thread, a queued job */
    uint32_t waiting;    /* readers that wait for its bytes */
    bool has_job;        /* a job is queued that goes on decoding */
    bool is_ahead;       /* nobody asked for it yet */
    bool is_guess;       /* the same, of a span that was guessed */
    bool is_spent;       /* nobody will ask for it again */
    size_t size, filled; /* decoded bytes of the span, and those that are there */
    size_t wanted;       /* bytes that its job is to bring */
    uint8_t *data;       /* the decoded bytes */
    size_t capacity;     /* bytes of memory at `data` */
    struct sfs_decoder_box
        *box;          /* the decoder that stands behind `filled`; NULL: none yet, or done */
    uint64_t began_ns; /* when a thread last began to decode, by the monotonic clock */
    int failure;       /* in state FAILED: negative errno */
    struct sfs_error *failure_text;   /* the words of it; NULL: out of memory */
    pthread_cond_t changed;           /* state or filled did */
    struct sfs_slot *next, *previous; /* on the cache's list; NULL: it has references */
};

struct sfs_cache {
    pthread_mutex_t lock;
    struct sfs_pool *pool;
    struct sfs_cache_stats stats; /* but budget and used are in the spares */
    struct sfs_spares spares;
    uint64_t ahead;         /* bytes of slots with is_ahead */
    struct sfs_slot unused; /* head of the list */
};

struct sfs_spans {
    struct sfs_cache *cache;
    struct sfs_blob *blob;
    struct sfs_seek_table table;
    char *label; /* the layer, in messages; owned */
    /* guarded by the cache's lock: */
    struct sfs_slot **slots; /* by span */
    uint32_t jobs;           /* queued or running */
    bool closing;            /* no job begins any more */
    pthread_cond_t idle;     /* jobs became 0 */
    struct sfs_readahead readahead;
    struct sfs_nearby nearby;
    bool is_planned; /* see sfs_spans_plan() */
};

/* All functions below are called with the cache's lock held. */

/* Why a slot is wanted, which decides what memory it may take. */
enum sfs_slot_reason {
    SFS_SLOT_DEMAND, /* somebody waits: takes memory beyond the budget if need be */
    SFS_SLOT_AHEAD,  /* evicts others, but stays within half of what decoders leave of the budget */
    SFS_SLOT_FILL,   /* evicts nothing */
};
/* The slot of a span, made if it is not there. The caller has a reference, and gives it back with
 * sfs_slot_release(). NULL: no memory, or none to spare. */
struct sfs_slot *sfs_slot_get(struct sfs_spans *spans, uint32_t span, enum sfs_slot_reason reason);
/* Gives a reference back; the slot may then be evicted. */
void sfs_slot_release(struct sfs_cache *cache, struct sfs_slot *slot);
/* Decodes until `target` bytes are there, or fails; the slot must be IDLE. Drops the lock
 * meanwhile. */
void sfs_slot_run(struct sfs_cache *cache, struct sfs_slot *slot, size_t target, bool is_demand);
/* Queues a job that decodes the first `wanted` bytes of the slot. Takes over the caller's
 * reference.
 */
void sfs_slot_submit(struct sfs_cache *cache, struct sfs_slot *slot, size_t wanted,
                     enum sfs_pool_priority priority);
/* Frees the slots of spans that are being closed. */
void sfs_slots_drop(struct sfs_spans *spans);

/* Gives up the slot that was not used for longest. False: there is none. */
bool sfs_slots_evict(struct sfs_cache *cache);
/* Evicts what is beyond the budget. */
void sfs_slots_trim(struct sfs_cache *cache);

#endif
