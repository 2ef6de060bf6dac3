/* Inside of the memory cache: one slot for each decoded span that is kept, or being made.
 *
 *   IDLE      somebody has to go on decoding; whoever needs it does
 *   RUNNING   a thread is decoding
 *   READY     decoded
 *   FAILED    unhooked from its spans: whoever still waits takes the failure, the next reader tries
 *             anew
 *
 * All fields are guarded by the cache's lock, with two exceptions: `decoder` and the bytes of
 * `data` behind `filled` belong to the running thread, and the bytes before `filled` never change.
 * Slots without references lie on the cache's list, least recently used first. */
#ifndef STAGEFS_SLOTS_H
#define STAGEFS_SLOTS_H

#include "base/pool.h"
#include "blob/blob.h"
#include "blob/readahead.h"
#include "blob/seek.h"
#include "blob/spares.h"
#include <pthread.h>
#include <stagefs/cache.h>

enum sfs_slot_state { SFS_SLOT_IDLE, SFS_SLOT_RUNNING, SFS_SLOT_READY, SFS_SLOT_FAILED };

struct sfs_slot {
    struct sfs_spans *spans;
    uint32_t span;
    enum sfs_slot_state state;
    uint32_t refs;    /* slices, waiting readers, the running thread, a queued job */
    uint32_t waiting; /* readers */
    bool has_job;
    bool is_ahead; /* nobody asked for it yet */
    bool is_spent; /* nobody will ask for it again */
    size_t size, filled;
    size_t wanted; /* by its job */
    uint8_t *data;
    size_t capacity;
    struct sfs_decoder_box *box;
    int failure;
    struct sfs_error *failure_text; /* NULL: out of memory */
    pthread_cond_t changed;
    struct sfs_slot *next, *previous;
};

struct sfs_cache {
    pthread_mutex_t lock;
    struct sfs_pool *pool;
    struct sfs_cache_stats stats; /* without budget and used: the spares have those */
    struct sfs_spares spares;
    uint64_t ahead;         /* bytes of slots with is_ahead */
    struct sfs_slot unused; /* head of the list */
};

struct sfs_spans {
    struct sfs_cache *cache;
    struct sfs_blob *blob;
    struct sfs_seek_table table;
    char *label;
    /* guarded by the cache's lock: */
    struct sfs_slot **slots; /* by span */
    uint32_t jobs;
    bool closing;
    pthread_cond_t idle; /* jobs became 0 */
    struct sfs_readahead readahead;
};

/* With the lock held, all of these. */

enum sfs_slot_reason {
    SFS_SLOT_DEMAND, /* somebody waits: beyond the budget if need be */
    SFS_SLOT_AHEAD,  /* evicts, but stays within half of what decoders leave */
    SFS_SLOT_FILL,   /* evicts nothing */
};
/* The slot of a span, referenced; made if it is not there. NULL: no memory, or none to spare. */
struct sfs_slot *sfs_slot_get(struct sfs_spans *spans, uint32_t span, enum sfs_slot_reason reason);
/* Gives a reference back. */
void sfs_slot_release(struct sfs_cache *cache, struct sfs_slot *slot);
/* Decodes until `target` bytes are there, or fails; the slot must be IDLE. Drops the lock
 * meanwhile. */
void sfs_slot_run(struct sfs_cache *cache, struct sfs_slot *slot, size_t target, bool is_demand);
/* Takes over a reference, for a job that decodes the first `wanted` bytes of the slot. */
void sfs_slot_submit(struct sfs_cache *cache, struct sfs_slot *slot, size_t wanted,
                     enum sfs_pool_priority priority);
/* Frees the slots of spans that are being closed. */
void sfs_slots_drop(struct sfs_spans *spans);

/* Gives up the slot that was not used for longest, or a spare buffer. false: there is none. */
bool sfs_slots_evict(struct sfs_cache *cache);
/* Evicts what is beyond the budget. */
void sfs_slots_trim(struct sfs_cache *cache);

#endif
