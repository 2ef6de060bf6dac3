/* Which buffers and decoders are kept for the next span, and what they count in the budget. */
#include "blob/spares.h"

#include <sys/mman.h>
#include <sys/param.h>

/* A share of the budget is for what is not counted: stacks, malloc's gaps, input of small spans,
 * and what is free of huge pages that are in use. */
#define UNCHARGED_SHARE 8u
/* A decoder with the input of a span takes no more, unless its window is large. */
#define DECODER_MAX (2u << 20)

static void free_box(struct sfs_spares *spares, struct sfs_decoder_box *box)
{
    spares->used -= box->charged;
    spares->decoding -= box->charged;
    sfs_span_decoder_close(&box->decoder);
    free(box);
}

void sfs_spares_init(struct sfs_spares *spares, uint64_t budget, unsigned threads)
{
    spares->budget = budget;
    spares->limit = budget - budget / UNCHARGED_SHARE;
    spares->threads = threads;
    sfs_arena_open(&spares->arena, spares->limit);
}

void sfs_spares_done(struct sfs_spares *spares)
{
    while (spares->boxes) {
        struct sfs_decoder_box *box = spares->boxes;
        spares->boxes = box->next;
        free_box(spares, box);
    }
    sfs_arena_close(&spares->arena);
}

struct sfs_decoder_box *sfs_spares_take_decoder(struct sfs_spares *spares)
{
    struct sfs_decoder_box *box = spares->boxes;
    if (box) {
        spares->boxes = box->next;
        spares->box_count--;
        spares->resting -= box->charged;
        return box;
    }
    box = calloc(1, sizeof *box);
    if (box)
        box->decoder = sfs_span_decoder_open();
    if (!box || !box->decoder) {
        free(box);
        return NULL;
    }
    sfs_spares_charge_decoder(spares, box);
    return box;
}

void sfs_spares_charge_decoder(struct sfs_spares *spares, struct sfs_decoder_box *box)
{
    size_t memory = sfs_span_decoder_memory(box->decoder);
    spares->used += memory - box->charged;
    spares->decoding += memory - box->charged;
    box->charged = memory;
}

void sfs_spares_give_decoder(struct sfs_spares *spares, struct sfs_decoder_box *box)
{
    sfs_spares_charge_decoder(spares, box); /* zstd's window came while it ran */
    bool is_large = box->charged > MAX(spares->budget / 32, DECODER_MAX);
    bool are_many =
        spares->resting + box->charged > spares->budget / 4 || spares->box_count > spares->threads;
    if (is_large || are_many) {
        free_box(spares, box);
        return;
    }
    spares->resting += box->charged;
    box->next = spares->boxes;
    spares->boxes = box;
    spares->box_count++;
}

size_t sfs_spares_capacity(size_t size)
{
    return (size + SFS_ARENA_UNIT - 1) / SFS_ARENA_UNIT * SFS_ARENA_UNIT;
}

/* Mapped where the arena has no room, not from malloc: buffers of a megabyte of many sizes left a
 * third as much again in its gaps, and the budget is meant for the whole process. */
static uint8_t *map_buffer(size_t capacity)
{
    void *data = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return data == MAP_FAILED ? NULL : data;
}

bool sfs_spares_take_buffer(struct sfs_spares *spares, size_t size, bool is_beyond,
                            struct sfs_buffer *ret_buffer)
{
    size_t capacity = sfs_spares_capacity(size);
    bool is_within = spares->used + capacity <= spares->limit;
    uint8_t *data = is_within ? sfs_arena_take(&spares->arena, capacity) : NULL;
    if (!data && (is_beyond || (is_within && spares->arena.pages == 0)))
        data = map_buffer(capacity);
    if (!data)
        return false;
    *ret_buffer = (struct sfs_buffer){ data, capacity };
    spares->used += capacity;
    return true;
}

void sfs_spares_give_buffer(struct sfs_spares *spares, struct sfs_buffer *buffer)
{
    if (!sfs_arena_give(&spares->arena, buffer->data, buffer->capacity))
        munmap(buffer->data, buffer->capacity);
    spares->used -= buffer->capacity;
}
