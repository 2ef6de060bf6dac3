/* Who reads in sequence, and which spans come next for them. Not thread-safe. */
#ifndef STAGEFS_READAHEAD_H
#define STAGEFS_READAHEAD_H

#include <stdint.h>

#define SFS_READAHEAD_STREAMS 8

struct sfs_readahead {
    struct sfs_readahead_stream {
        uint64_t next;      /* decoded offset where the next read is expected */
        uint64_t run;       /* bytes read in sequence so far */
        uint64_t ahead_end; /* first span that was not asked for ahead yet */
        uint64_t age;       /* `clock` at its last read: the oldest stream gives way to a new one */
    } streams[SFS_READAHEAD_STREAMS];
    uint64_t clock; /* counts reads */
};

/* Tells of a read of [offset, offset+size) in span `span`. Returns how many spans, from *ret_first
 * on, should be decoded ahead; at most `max` ahead of `span`. */
uint32_t sfs_readahead_note(struct sfs_readahead *readahead, uint64_t offset, uint64_t size,
                            uint32_t span, uint32_t max, uint32_t *ret_first);

#endif
