/* Which spans are likely to be asked for next by a reader that leaps: programs that start, or end,
 * come by most of a library's code and data, in pieces, forwards or backwards, in several places at
 * once. Not thread-safe. */
#ifndef STAGEFS_NEARBY_H
#define STAGEFS_NEARBY_H

#include <stdbool.h>
#include <stdint.h>

#define SFS_NEARBY_AHEAD 4u /* spans that are guessed at once */

/* All-zero before sfs_nearby_open(). */
struct sfs_nearby {
    bool *touched; /* by span: somebody has asked for some of it */
    uint32_t count;
};

/* For the spans [0, count). ENOMEM. The caller closes it. */
int sfs_nearby_open(struct sfs_nearby *nearby, uint32_t count);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_nearby_close(struct sfs_nearby *nearby);

/* Tells that some of a span (< count) is asked for. Returns how many spans, nearest first, are
 * likely to follow: none, unless it is asked for the first time, and others close to it were
 * before. */
uint32_t sfs_nearby_touch(struct sfs_nearby *nearby, uint32_t span,
                          uint32_t ret_spans[SFS_NEARBY_AHEAD]);

#endif
