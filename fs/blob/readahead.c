/* When a reader counts as sequential, and how far ahead of it spans are decoded. */
#include "blob/readahead.h"

#include "base/banned.h"

/* The kernel sends a reader's requests in several threads, so that they come a little out of
 * order. */
#define SLACK (1u << 20)
/* Bytes in sequence that make a reader sequential; each doubling of them doubles the window. */
#define START (512u << 10)

static struct sfs_readahead_stream *find_stream(struct sfs_readahead *readahead, uint64_t offset)
{
    struct sfs_readahead_stream *oldest = &readahead->streams[0];
    for (int i = 0; i < SFS_READAHEAD_STREAMS; i++) {
        struct sfs_readahead_stream *stream = &readahead->streams[i];
        if (stream->run > 0 && offset + SLACK >= stream->next && offset <= stream->next + SLACK)
            return stream;
        if (stream->age < oldest->age)
            oldest = stream;
    }
    *oldest = (struct sfs_readahead_stream){ .next = offset };
    return oldest;
}

uint32_t sfs_readahead_note(struct sfs_readahead *readahead, uint64_t offset, uint64_t size,
                            uint32_t span, uint32_t max, uint32_t *ret_first)
{
    struct sfs_readahead_stream *stream = find_stream(readahead, offset);
    stream->age = ++readahead->clock;
    stream->run += size;
    if (offset + size > stream->next)
        stream->next = offset + size;
    if (stream->run < START || max == 0)
        return 0;
    uint64_t window = 1;
    for (uint64_t run = stream->run / (2 * START); run > 0 && window < max; run /= 2)
        window *= 2;
    if (window > max)
        window = max;
    uint64_t first = span + 1ull, end = first + window;
    if (stream->ahead_end > first && stream->ahead_end < end + max)
        first = stream->ahead_end;
    if (first >= end)
        return 0;
    stream->ahead_end = end;
    *ret_first = (uint32_t)first;
    return (uint32_t)(end - first);
}
