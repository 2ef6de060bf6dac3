/* Places between the deflate blocks of a gzip stream, found while it is decoded: near every
 * SFS_CUT_STEP decoded bytes, the first one behind. The inflater can only be asked to stop where
 * the block ends that it is in, and it may be a good way ahead of what it has handed out; so it is
 * asked for some blocks before, and stops at each of them: two decodings that entered at different
 * points then stop at the same places. (Not where blocks have less than some 200 compressed bytes:
 * those it can pass unseen.) One thread at a time. */
#ifndef STAGEFS_CUTS_H
#define STAGEFS_CUTS_H

#include "blob/gunzip.h"

#define SFS_CUT_STEP (256u << 10)

struct sfs_cut {
    uint64_t out;   /* in the decoded stream */
    uint64_t bit;   /* in the compressed bytes, counted as deflate does: low bits first */
    bool is_joined; /* no member ended between this and the cut before, or where decoding began */
};

struct sfs_cuts {    /* all zero but `wanted` at the start */
    uint64_t wanted; /* behind this decoded byte; at first, where decoding began */
    struct sfs_cut *list;
    size_t count, capacity;
    bool member_ended; /* since the last cut */
};
/* Frees the list. Fine on an all-zero struct. */
void sfs_cuts_done(struct sfs_cuts *cuts);

/* Before a step at decoded byte `out`: makes `io` no larger than the step may be. */
void sfs_cuts_limit(const struct sfs_cuts *cuts, struct sfs_gunzip *gunzip, uint64_t out,
                    struct sfs_decoder_io *io);
/* A member has ended. */
void sfs_cuts_note_end(struct sfs_cuts *cuts, uint64_t out);
/* It has stopped. 0 or -ENOMEM. */
int sfs_cuts_note_stop(struct sfs_cuts *cuts, uint64_t out, uint64_t bit);

#endif
