/* Who reads in sequence, and which spans come next for them. Not thread-safe. */
#ifndef STAGEFS_READAHEAD_H
#define STAGEFS_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#define SFS_READAHEAD_STREAMS 8

struct sfs_readahead {
    struct sfs_readahead_stream {
        uint64_t next;      /* decoded offset where the next read is expected */
        uint64_t run;       /* bytes read in sequence so far */
        uint64_t ahead_end; /* first span that was not asked for ahead yet */
        uint64_t fetched;   /* decoded offset: all before was asked of another machine */
        uint64_t age;       /* `clock` at its last read: the oldest stream gives way to a new one */
    } streams[SFS_READAHEAD_STREAMS];
    uint64_t clock; /* counts reads */
};

/* Tells of a read of [offset, offset+size) in span `span`. Returns how many spans, from *ret_first
 * on, should be decoded ahead; at most `max` ahead of `span`. */
uint32_t sfs_readahead_note(struct sfs_readahead *readahead, uint64_t offset, uint64_t size,
                            uint32_t span, uint32_t max, uint32_t *ret_first);

/* How many bytes the reader that was told of last has read in a row. */
uint64_t sfs_readahead_run(struct sfs_readahead *readahead);

/* What should be fetched from another machine for the reader that was told of last: decoded bytes
 * [*ret_from, *ret_to), at most `max` ahead of it, and none from `end` on, where it will stop. As
 * much as it has read in a row, or twice that, so that it soon waits no more, and one that stops
 * has not cost much more than it read. False: nothing now. */
bool sfs_readahead_fetch(struct sfs_readahead *readahead, uint64_t max, uint64_t end,
                         uint64_t *ret_from, uint64_t *ret_to);

#endif
