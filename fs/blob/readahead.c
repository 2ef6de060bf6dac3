/* When a reader counts as sequential, and how far ahead of it spans are decoded. */
#include "blob/readahead.h"

#include "base/banned.h"

/* The kernel sends a reader's requests in several threads, so that they come a little out of
 * order. */
#define SLACK (1u << 20)
/* Bytes in sequence that make a reader sequential; each doubling of them doubles the window. */
#define START (512u << 10)
/* So many make it one that hardly stops soon. */
#define LONG (2 * START)

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

static struct sfs_readahead_stream *find_last(struct sfs_readahead *readahead)
{
    struct sfs_readahead_stream *last = &readahead->streams[0];
    for (int i = 1; i < SFS_READAHEAD_STREAMS; i++)
        if (readahead->streams[i].age > last->age)
            last = &readahead->streams[i];
    return last;
}

uint64_t sfs_readahead_run(struct sfs_readahead *readahead)
{
    return find_last(readahead)->run;
}

bool sfs_readahead_fetch(struct sfs_readahead *readahead, uint64_t max, uint64_t end,
                         uint64_t *ret_from, uint64_t *ret_to)
{
    struct sfs_readahead_stream *stream = find_last(readahead);
    uint64_t window = stream->run < LONG ? stream->run : 2 * stream->run;
    window = window < max ? window : max;
    if (stream->run < START || stream->next >= end)
        return false;
    *ret_from = stream->fetched > stream->next ? stream->fetched : stream->next;
    *ret_to = end - stream->next > window ? stream->next + window : end;
    /* By whole requests, but for the end. */
    if (*ret_to <= *ret_from || (*ret_to < end && *ret_to - *ret_from < window / 4))
        return false;
    stream->fetched = *ret_to;
    return true;
}
