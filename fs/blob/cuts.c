/* How near to the wanted place the inflater is asked to stop, and which stops become cuts. */
#include "blob/cuts.h"

#include <errno.h>

/* So many decoded bytes before the wanted place, the inflater begins to stop at every block. Blocks
 * of zlib and libdeflate hold 20 to 100 KB. */
#define APPROACH (96u << 10)
/* Input that is given to an inflater which cannot be asked yet, so that it gets into the next
 * block: the block's header, and little more. */
#define ENTER 128u

void sfs_cuts_done(struct sfs_cuts *cuts)
{
    free(cuts->list);
    *cuts = (struct sfs_cuts){ 0 };
}

/* The first multiple of SFS_CUT_STEP behind `wanted`. */
static uint64_t target_of(const struct sfs_cuts *cuts)
{
    return (cuts->wanted / SFS_CUT_STEP + 1) * SFS_CUT_STEP;
}

void sfs_cuts_limit(const struct sfs_cuts *cuts, struct sfs_gunzip *gunzip, uint64_t out,
                    struct sfs_decoder_io *io)
{
    uint64_t start = target_of(cuts) - APPROACH;
    if (gunzip->phase != SFS_GUNZIP_DATA || sfs_gunzip_is_ending(gunzip))
        return;
    if (out < start)
        io->out_size = start - out < io->out_size ? (size_t)(start - out) : io->out_size;
    else if (!sfs_gunzip_ask_stop(gunzip))
        io->in_size = ENTER < io->in_size ? ENTER : io->in_size;
}

void sfs_cuts_note_end(struct sfs_cuts *cuts, uint64_t out)
{
    cuts->member_ended = true;
    cuts->wanted = out; /* as if decoding began here */
}

int sfs_cuts_note_stop(struct sfs_cuts *cuts, uint64_t out, uint64_t bit)
{
    if (out < target_of(cuts))
        return 0;
    if (cuts->count == cuts->capacity) {
        size_t capacity = cuts->capacity ? 2 * cuts->capacity : 16;
        struct sfs_cut *more = reallocarray(cuts->list, capacity, sizeof *more);
        if (!more)
            return -ENOMEM;
        cuts->list = more;
        cuts->capacity = capacity;
    }
    cuts->list[cuts->count++] =
        (struct sfs_cut){ .out = out, .bit = bit, .is_joined = !cuts->member_ended };
    cuts->member_ended = false;
    cuts->wanted = out;
    return 0;
}
