/* Cuts: places between the deflate blocks of a gzip stream, found while it is decoded. Behind each
 * multiple of SFS_CUT_STEP decoded bytes, the first such place is a cut.
 *
 * The inflater can only be asked to stop at the end of the block that it is in, and it may have
 * read a good way ahead of what it has handed out. So it is asked some blocks before the wanted
 * place, and stops at each block's end: two decodings that entered at different points then stop at
 * the same places. (This does not hold for blocks of less than some 200 compressed bytes, which the
 * inflater can pass unseen.) One thread at a time. */
#ifndef STAGEFS_CUTS_H
#define STAGEFS_CUTS_H

#include "blob/gunzip.h"

#define SFS_CUT_STEP (256u << 10)

struct sfs_cut {
    uint64_t out;   /* its offset in the decoded stream */
    uint64_t bit;   /* its bit in the compressed bytes, counted as deflate does: low bits first */
    bool is_joined; /* no member ended between this and the cut before, or where decoding began */
};

struct sfs_cuts { /* all zero but `wanted` at the start */
    uint64_t
        wanted; /* decoded offset of the last cut, or member's end; first: where decoding began */
    struct sfs_cut *list; /* owned */
    size_t count, capacity;
    bool member_ended; /* a member has ended since the last cut */
};
/* Frees the list. Fine on an all-zero struct. */
void sfs_cuts_done(struct sfs_cuts *cuts);

/* To be called before each step of the inflater, which is at decoded byte `out`: asks it to stop
 * where a cut is near, and makes `io` no larger than the step may be. */
void sfs_cuts_limit(const struct sfs_cuts *cuts, struct sfs_gunzip *gunzip, uint64_t out,
                    struct sfs_decoder_io *io);
/* To be called when a member has ended, at decoded byte `out`. */
void sfs_cuts_note_end(struct sfs_cuts *cuts, uint64_t out);
/* To be called when the inflater has stopped between two blocks: makes a cut if one is wanted. 0 or
 * -ENOMEM. */
int sfs_cuts_note_stop(struct sfs_cuts *cuts, uint64_t out, uint64_t bit);

#endif
