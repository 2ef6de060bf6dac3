/* The life of a slot: made, decoded in steps by whoever needs it, used, evicted. */
#include "blob/slots.h"

#include "base/thread.h"
#include <errno.h>
#include <sys/param.h>
#include <time.h>

#define STEP (256u << 10) /* bytes decoded between looks at who waits */

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void list_remove(struct sfs_slot *slot)
{
    if (!slot->next)
        return;
    slot->next->previous = slot->previous;
    slot->previous->next = slot->next;
    slot->next = slot->previous = NULL;
}

/* Puts the slot at the list's end, to be kept longest; one that is spent at its start, to be taken
 * first. */
static void list_insert(struct sfs_cache *cache, struct sfs_slot *slot)
{
    slot->previous = slot->is_spent ? &cache->unused : cache->unused.previous;
    slot->next = slot->previous->next;
    slot->previous->next = slot;
    slot->next->previous = slot;
}

static void unhook(struct sfs_cache *cache, struct sfs_slot *slot)
{
    if (slot->spans->slots[slot->span] == slot)
        slot->spans->slots[slot->span] = NULL;
    if (slot->is_ahead)
        cache->ahead -= slot->capacity;
    slot->is_ahead = false;
}

static void free_slot(struct sfs_cache *cache, struct sfs_slot *slot)
{
    list_remove(slot);
    unhook(cache, slot);
    if (slot->box)
        sfs_spares_give_decoder(&cache->spares, slot->box);
    struct sfs_buffer buffer = { slot->data, slot->capacity };
    if (buffer.data)
        sfs_spares_give_buffer(&cache->spares, &buffer);
    pthread_cond_destroy(&slot->changed);
    free(slot->failure_text);
    free(slot);
}

/* ---- memory ---- */

bool sfs_slots_evict(struct sfs_cache *cache)
{
    struct sfs_slot *oldest = cache->unused.next;
    if (oldest == &cache->unused)
        return false;
    cache->stats.evicted += oldest->filled;
    free_slot(cache, oldest);
    return true;
}

void sfs_slots_trim(struct sfs_cache *cache)
{
    while (cache->spares.used > cache->spares.limit && sfs_slots_evict(cache))
        continue;
}

/* Memory for `size` decoded bytes. */
static bool take_buffer(struct sfs_cache *cache, size_t size, enum sfs_slot_reason reason,
                        struct sfs_buffer *ret_buffer)
{
    struct sfs_spares *spares = &cache->spares;
    size_t capacity = sfs_spares_capacity(size);
    /* With many threads and a small budget it is decoders that take most. */
    uint64_t left = spares->limit - MIN(spares->decoding, spares->limit);
    if (reason != SFS_SLOT_DEMAND && cache->ahead + capacity > left / 2)
        return false;
    while (!sfs_spares_take_buffer(spares, size, false, ret_buffer))
        if (reason == SFS_SLOT_FILL || !sfs_slots_evict(cache))
            return reason == SFS_SLOT_DEMAND &&
                   sfs_spares_take_buffer(spares, size, true, ret_buffer);
    return true;
}

/* ---- the life of one ---- */

static struct sfs_slot *make_slot(struct sfs_spans *spans, uint32_t span,
                                  enum sfs_slot_reason reason)
{
    struct sfs_cache *cache = spans->cache;
    size_t size = (size_t)sfs_seek_size(&spans->table, span);
    struct sfs_buffer buffer;
    struct sfs_slot *slot = calloc(1, sizeof *slot);
    if (!slot || !take_buffer(cache, size, reason, &buffer)) {
        free(slot);
        return NULL;
    }
    slot->spans = spans;
    slot->span = span;
    slot->size = size;
    slot->data = buffer.data;
    slot->capacity = buffer.capacity;
    pthread_cond_init(&slot->changed, NULL);
    slot->is_ahead = reason != SFS_SLOT_DEMAND;
    if (slot->is_ahead)
        cache->ahead += slot->capacity;
    spans->slots[span] = slot;
    return slot;
}

struct sfs_slot *sfs_slot_get(struct sfs_spans *spans, uint32_t span, enum sfs_slot_reason reason)
{
    struct sfs_cache *cache = spans->cache;
    struct sfs_slot *slot = spans->slots[span];
    if (!slot)
        slot = make_slot(spans, span, reason);
    if (!slot)
        return NULL;
    slot->is_spent = false;
    if (slot->is_ahead && reason == SFS_SLOT_DEMAND) {
        cache->ahead -= slot->capacity;
        slot->is_ahead = false;
    }
    if (slot->is_guess && reason == SFS_SLOT_DEMAND) {
        cache->stats.guessed_used += slot->size;
        slot->is_guess = false;
    }
    list_remove(slot);
    slot->refs++;
    return slot;
}

void sfs_slot_release(struct sfs_cache *cache, struct sfs_slot *slot)
{
    if (--slot->refs > 0)
        return;
    if (slot->state == SFS_SLOT_FAILED)
        free_slot(cache, slot);
    else
        list_insert(cache, slot);
    sfs_slots_trim(cache);
}

static int check_digest(const struct sfs_slot *slot, struct sfs_error *err)
{
    const struct sfs_seek_table *table = &slot->spans->table;
    struct sfs_digest digest;
    if (sfs_digest_of(slot->data, slot->size, &digest) < 0)
        return sfs_fail(err, ENOMEM, "digesting");
    if (memcmp(digest.bytes, table->tags + (size_t)slot->span * 32, 32) != 0)
        return sfs_fail(err, EKEYREJECTED, "does not match its digest in the table of contents");
    return 0;
}

static void note_failure(struct sfs_cache *cache, struct sfs_slot *slot, int r,
                         const struct sfs_error *words)
{
    if (r == -EKEYREJECTED)
        cache->stats.check_failures++;
    slot->state = SFS_SLOT_FAILED;
    slot->failure = r == -ENOMEM ? r : -EIO;
    slot->failure_text = malloc(sizeof *words);
    if (slot->failure_text)
        sfs_fail(slot->failure_text, EIO, "%s: span %u: %s", slot->spans->label, slot->span,
                 words->text);
    unhook(cache, slot);
    pthread_cond_broadcast(&slot->changed);
}

/* Reads and checks the slot's input. The caller has the lock (by LOCK); it is dropped meanwhile. */
static int start(struct sfs_cache *cache, struct sfs_slot *slot, bool is_demand,
                 struct sfs_error *err)
{
    const struct sfs_spans *spans = slot->spans;
    if (!slot->box)
        slot->box = sfs_spares_take_decoder(&cache->spares);
    if (!slot->box)
        return sfs_fail_memory(err);
    pthread_mutex_unlock(&cache->lock);
    uint64_t begin = now_ns(), in_start, in_end;
    int r = sfs_span_decoder_start(slot->box->decoder, spans->blob, &spans->table, slot->span, err);
    sfs_seek_input(&spans->table, slot->span, &in_start, &in_end);
    uint64_t end = now_ns();
    pthread_mutex_lock(&cache->lock);
    sfs_spares_charge_decoder(&cache->spares, slot->box);
    cache->stats.read_ns += end - begin;
    *(is_demand ? &cache->stats.demand_in : &cache->stats.ahead_in) += in_end - in_start;
    return r;
}

/* Decodes the next `size` bytes, in the same manner. */
static int step(struct sfs_cache *cache, struct sfs_slot *slot, size_t size, bool is_demand,
                struct sfs_error *err)
{
    uint8_t *place = slot->data + slot->filled;
    bool is_last = slot->filled + size == slot->size;
    pthread_mutex_unlock(&cache->lock);
    uint64_t begin = now_ns();
    int r = sfs_span_decoder_run(slot->box->decoder, place, size, err);
    if (r == 0 && is_last && slot->spans->table.check == SFS_CHECK_SHA256)
        r = check_digest(slot, err);
    uint64_t end = now_ns();
    pthread_mutex_lock(&cache->lock);
    cache->stats.decode_ns += end - begin;
    *(is_demand ? &cache->stats.demand_out : &cache->stats.ahead_out) += size;
    return r;
}

/* Are bytes that do not hold what the table says worth fetching again? (Those with a tag of their
 * own were judged by span_decoder.c before they were decoded.) The lock is held. */
static bool distrusts(struct sfs_slot *slot, int r)
{
    const struct sfs_spans *spans = slot->spans;
    uint64_t start, end;
    sfs_seek_input(&spans->table, slot->span, &start, &end);
    return (r == -EKEYREJECTED || r == -EBADMSG) &&
           sfs_blob_distrust(spans->blob, start, end - start);
}

void sfs_slot_run(struct sfs_cache *cache, struct sfs_slot *slot, size_t target, bool is_demand)
{
    struct sfs_error err;
    slot->state = SFS_SLOT_RUNNING;
    slot->began_ns = now_ns();
    int r = slot->box ? 0 : start(cache, slot, is_demand, &err);
    bool all_at_once = slot->spans->table.check == SFS_CHECK_SHA256;
    while (r == 0 && slot->filled < target) {
        size_t part = (all_at_once ? slot->size : target) - slot->filled;
        if (part > STEP && !all_at_once)
            part = STEP;
        r = step(cache, slot, part, is_demand, &err);
        if (r < 0 && all_at_once && distrusts(slot, r)) {
            r = start(cache, slot, is_demand, &err);
            continue;
        }
        if (r == 0)
            slot->filled += part;
        if (slot->waiting > 0)
            pthread_cond_broadcast(&slot->changed);
    }
    if (r == -EINTR) { /* whoever else waits goes on by itself */
        sfs_spares_give_decoder(&cache->spares, slot->box);
        slot->box = NULL;
        slot->state = SFS_SLOT_IDLE;
        pthread_cond_broadcast(&slot->changed);
        return;
    }
    if (r < 0) {
        note_failure(cache, slot, r, &err);
    } else {
        slot->state = slot->filled == slot->size ? SFS_SLOT_READY : SFS_SLOT_IDLE;
        pthread_cond_broadcast(&slot->changed);
    }
    if (!slot->box)
        return;
    if (slot->state == SFS_SLOT_IDLE) {
        sfs_spares_charge_decoder(&cache->spares, slot->box); /* zstd's window came while it ran */
        sfs_slots_trim(cache);
    } else {
        sfs_spares_give_decoder(&cache->spares, slot->box);
        slot->box = NULL;
    }
}

static void run_job(void *arg)
{
    struct sfs_slot *slot = arg;
    struct sfs_spans *spans = slot->spans;
    struct sfs_cache *cache = spans->cache;
    LOCK(&cache->lock);
    slot->has_job = false;
    if (slot->state == SFS_SLOT_IDLE && !spans->closing)
        sfs_slot_run(cache, slot, slot->wanted, false);
    sfs_slot_release(cache, slot);
    if (--spans->jobs == 0)
        pthread_cond_broadcast(&spans->idle);
}

void sfs_slot_submit(struct sfs_cache *cache, struct sfs_slot *slot, size_t wanted,
                     enum sfs_pool_priority priority)
{
    if (slot->wanted < wanted)
        slot->wanted = wanted;
    if (slot->state != SFS_SLOT_IDLE || slot->has_job ||
        sfs_pool_submit(cache->pool, priority, run_job, slot) < 0) {
        sfs_slot_release(cache, slot);
        return;
    }
    slot->has_job = true;
    slot->spans->jobs++;
}

void sfs_slots_drop(struct sfs_spans *spans)
{
    for (uint32_t i = 0; i < spans->table.count; i++) {
        struct sfs_slot *slot = spans->slots[i];
        if (slot && slot->refs == 0)
            free_slot(spans->cache, slot);
    }
}
