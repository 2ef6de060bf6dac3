/* What a mount was asked and how long it took: plain counters that any thread adds to. */
#ifndef STAGEFS_COUNTERS_H
#define STAGEFS_COUNTERS_H

#include "base/buf.h"
#include <stagefs/auto.h>
#include <stagefs/cache.h>
#include <stdatomic.h>
#include <stdint.h>

enum sfs_request {
    SFS_REQUEST_LOOKUP,
    SFS_REQUEST_GETATTR,
    SFS_REQUEST_READLINK,
    SFS_REQUEST_OPEN,
    SFS_REQUEST_READ,
    SFS_REQUEST_READDIR,
    SFS_REQUEST_READDIRPLUS,
    SFS_REQUEST_GETXATTR,
    SFS_REQUEST_LISTXATTR,
    SFS_REQUEST_STATFS,
    SFS_REQUEST_LSEEK,
    SFS_REQUEST_KINDS
};

struct sfs_guesses;

struct sfs_stats {
    struct {
        _Alignas(64) atomic_uint_least64_t count; /* each kind has a cache line of its own */
        atomic_uint_least64_t ns;                 /* time until the answer, of all of them */
    } requests[SFS_REQUEST_KINDS];
    atomic_uint_least64_t bytes_read;
    atomic_uint_least64_t bytes_stored; /* put into the kernel's cache before they were asked for */
    atomic_uint_least64_t
        libraries; /* libraries of which was fetched what their loader will touch */
    atomic_uint_least64_t pack_made; /* bytes of the pack that was made for the next start */
    atomic_uint_least64_t read_errors;
    atomic_uint_least64_t opens_through; /* opens that were answered with a backing file */
    atomic_uint_least64_t files_kept;    /* files that were written to the store for that */
    atomic_uint_least64_t bytes_kept;    /* bytes of those files */
    uint64_t started_ns;                 /* when the mount began, by the monotonic clock */
    const char *front;                   /* "fuse" or "erofs" */
    const char *why; /* why "fuse", where it was chosen; NULL: it was asked for */
    /* Of what starts use (learner.h): what was known of it when the mount began; how much of that
     * was looked at, and used, and how much was seen in all, once the start has ended. */
    atomic_uint_least64_t learned_paths, learned_bytes;
    atomic_uint_least64_t checked_paths, checked_bytes, used_paths, used_bytes, seen_paths;
    struct sfs_guesses *guesses; /* (guesses.h) of who guesses; NULL: nobody does */
};

/* Starts all counters at 0, and the clock. */
void sfs_stats_init(struct sfs_stats *stats);

/* First line of a FUSE operation: counts it at once, so that whoever has an answer finds it
 * counted, and the time until its end. */
#define SFS_TIMED(stats, kind)                                                                     \
    AUTO(sfs_timer_stop)                                                                           \
    __attribute__((unused)) struct sfs_timer sfs_timer = sfs_timer_start(stats, kind)

/* A request that is being answered. */
struct sfs_timer {
    struct sfs_stats *stats;
    enum sfs_request kind;
    uint64_t started_ns;
};
/* Counts a request, and starts its time. Use SFS_TIMED(). */
struct sfs_timer sfs_timer_start(struct sfs_stats *stats, enum sfs_request kind);
/* Adds the time since the start. */
void sfs_timer_stop(struct sfs_timer *timer);

struct sfs_pack;
/* Appends the statistics as one JSON document with a newline. cache and pack may be NULL. 0 or
 * -ENOMEM. */
int sfs_stats_print(struct sfs_stats *stats, struct sfs_cache *cache, struct sfs_pack *pack,
                    struct sfs_buf *buf);

#endif
