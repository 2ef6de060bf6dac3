/* Which buffers and decoders are kept for the next span, and what they count in the budget. */
#include "blob/spares.h"

#include <sys/mman.h>
#include <sys/param.h>

#define HUGE_PAGE (2u << 20)
/* A share of the budget is for what is not counted: stacks, malloc's gaps, input of small spans. */
#define UNCHARGED_SHARE 16u
/* A decoder with the input of a span takes no more, unless its window is large. */
#define DECODER_MAX (2u << 20)

static void free_buffer(struct sfs_spares *spares, struct sfs_buffer *buffer)
{
    if (buffer->data)
        munmap(buffer->data, buffer->capacity);
    spares->used -= buffer->capacity;
    *buffer = (struct sfs_buffer){ 0 };
}

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
}

void sfs_spares_done(struct sfs_spares *spares)
{
    while (spares->boxes) {
        struct sfs_decoder_box *box = spares->boxes;
        spares->boxes = box->next;
        free_box(spares, box);
    }
    while (sfs_spares_drop_buffer(spares))
        continue;
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
    return (size + 65535) & ~(size_t)65535;
}

bool sfs_spares_find_buffer(struct sfs_spares *spares, size_t size, struct sfs_buffer *ret_buffer)
{
    size_t capacity = sfs_spares_capacity(size);
    for (int i = 0; i < SFS_FREE_BUFFERS; i++) {
        struct sfs_buffer *buffer = &spares->buffers[i];
        if (buffer->capacity >= capacity && buffer->capacity <= 2 * capacity) {
            *ret_buffer = *buffer;
            *buffer = (struct sfs_buffer){ 0 };
            return true;
        }
    }
    return false;
}

/* Mapped, not from malloc: buffers of a megabyte of many sizes left a third as much again in its
 * arenas' gaps, and the budget is meant for the whole process. Whole huge pages are asked for: a
 * fault for each small one costs as much as decoding a tenth of it. */
bool sfs_spares_make_buffer(struct sfs_spares *spares, size_t size, struct sfs_buffer *ret_buffer)
{
    size_t capacity = sfs_spares_capacity(size);
    void *data = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return false;
    if (capacity >= HUGE_PAGE)
        madvise(data, capacity / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    *ret_buffer = (struct sfs_buffer){ data, capacity };
    spares->used += capacity;
    return true;
}

void sfs_spares_give_buffer(struct sfs_spares *spares, struct sfs_buffer *buffer)
{
    for (int i = 0; i < SFS_FREE_BUFFERS && spares->used <= spares->limit; i++) {
        if (!spares->buffers[i].data) {
            spares->buffers[i] = *buffer;
            return;
        }
    }
    free_buffer(spares, buffer);
}

bool sfs_spares_drop_buffer(struct sfs_spares *spares)
{
    for (int i = 0; i < SFS_FREE_BUFFERS; i++) {
        if (spares->buffers[i].data) {
            free_buffer(spares, &spares->buffers[i]);
            return true;
        }
    }
    return false;
}
