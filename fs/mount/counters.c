/* Counting requests and time, and the statistics as JSON. */
#include "mount/counters.h"

#include "blob/blob_range.h"
#include "mount/guesses.h"
#include "mount/pack.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void sfs_stats_init(struct sfs_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    stats->started_ns = now_ns();
    stats->front = "fuse";
}

struct sfs_timer sfs_timer_start(struct sfs_stats *stats, enum sfs_request kind)
{
    atomic_fetch_add_explicit(&stats->requests[kind].count, 1, memory_order_relaxed);
    return (struct sfs_timer){ .stats = stats, .kind = kind, .started_ns = now_ns() };
}

void sfs_timer_stop(struct sfs_timer *timer)
{
    uint64_t ns = now_ns() - timer->started_ns;
    atomic_fetch_add_explicit(&timer->stats->requests[timer->kind].ns, ns, memory_order_relaxed);
}

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static void print_requests(struct sfs_stats *stats, struct sfs_buf *buf)
{
    static const char *const names[SFS_REQUEST_KINDS] = {
        [SFS_REQUEST_LOOKUP] = "lookup",
        [SFS_REQUEST_GETATTR] = "getattr",
        [SFS_REQUEST_READLINK] = "readlink",
        [SFS_REQUEST_OPEN] = "open",
        [SFS_REQUEST_READ] = "read",
        [SFS_REQUEST_READDIR] = "readdir",
        [SFS_REQUEST_READDIRPLUS] = "readdirplus",
        [SFS_REQUEST_GETXATTR] = "getxattr",
        [SFS_REQUEST_LISTXATTR] = "listxattr",
        [SFS_REQUEST_STATFS] = "statfs",
        [SFS_REQUEST_LSEEK] = "lseek",
    };
    sfs_buf_add_str(buf, "\"requests\":{");
    for (unsigned i = 0; i < SFS_REQUEST_KINDS; i++)
        sfs_buf_printf(buf, "%s\"%s\":{\"count\":%" PRIu64 ",\"seconds\":%.6f}", i ? "," : "",
                       names[i], (uint64_t)atomic_load(&stats->requests[i].count),
                       seconds(atomic_load(&stats->requests[i].ns)));
    sfs_buf_add_str(buf, "}");
}

static void print_cache(struct sfs_cache *cache, struct sfs_buf *buf)
{
    struct sfs_cache_stats s;
    sfs_cache_get_stats(cache, &s);
    sfs_buf_printf(buf,
                   ",\"cache\":{\"budget\":%" PRIu64 ",\"used\":%" PRIu64 ",\"hits\":%" PRIu64
                   ",\"misses\":%" PRIu64 ",\"waits\":%" PRIu64 ",\"demand_in\":%" PRIu64
                   ",\"demand_out\":%" PRIu64 ",\"ahead_in\":%" PRIu64 ",\"ahead_out\":%" PRIu64
                   ",\"served\":%" PRIu64 ",\"evicted\":%" PRIu64 ",\"check_failures\":%" PRIu64
                   ",\"decode_seconds\":%.6f,\"read_seconds\":%.6f,\"wait_seconds\":%.6f}",
                   s.budget, s.used, s.hits, s.misses, s.waits, s.demand_in, s.demand_out,
                   s.ahead_in, s.ahead_out, s.served, s.evicted, s.check_failures,
                   seconds(s.decode_ns), seconds(s.read_ns), seconds(s.wait_ns));
}

static void print_guesses(struct sfs_stats *stats, struct sfs_cache *cache, struct sfs_buf *buf)
{
    struct sfs_cache_stats spans = { 0 };
    if (cache)
        sfs_cache_get_stats(cache, &spans);
    sfs_guesses_print(stats->guesses, &spans, buf);
}

/* What came from registries; nothing where none was asked. */
static void print_registry(struct sfs_buf *buf)
{
    struct sfs_range_stats s;
    sfs_range_get_stats(&s);
    sfs_buf_printf(buf,
                   ",\"registry\":{\"requests\":%" PRIu64 ",\"fetched\":%" PRIu64
                   ",\"demand\":%" PRIu64 ",\"kept\":%" PRIu64 ",\"damaged\":%" PRIu64
                   ",\"stalls\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"wait_seconds\":%.6f}",
                   s.requests, s.fetched, s.demand, s.kept, s.damaged, s.stalls, s.failed,
                   seconds(s.wait_ns));
}

static void print_front(const struct sfs_stats *stats, struct sfs_buf *buf)
{
    json_auto_t *why = json_string(stats->why ? stats->why : "");
    AUTO(sfs_free) char *text = why ? json_dumps(why, JSON_ENCODE_ANY) : NULL;
    sfs_buf_printf(buf, "\"front\":\"%s\",\"front_why\":%s,", stats->front, text ? text : "\"\"");
}

/* What is known of starts, and how much of what was looked at was fetched for nothing. */
static void print_learned(struct sfs_stats *stats, struct sfs_buf *buf)
{
    uint64_t checked = atomic_load(&stats->checked_paths), used = atomic_load(&stats->used_paths);
    uint64_t checked_bytes = atomic_load(&stats->checked_bytes),
             used_bytes = atomic_load(&stats->used_bytes);
    sfs_buf_printf(buf,
                   ",\"learned\":{\"paths\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"seen\":%" PRIu64
                   ",\"checked\":%" PRIu64 ",\"used\":%" PRIu64 ",\"used_bytes\":%" PRIu64
                   ",\"wasted\":%" PRIu64 ",\"wasted_bytes\":%" PRIu64 "}",
                   (uint64_t)atomic_load(&stats->learned_paths),
                   (uint64_t)atomic_load(&stats->learned_bytes),
                   (uint64_t)atomic_load(&stats->seen_paths), checked, used, used_bytes,
                   checked - used, checked_bytes - used_bytes);
}

static void print_pack(struct sfs_stats *stats, struct sfs_pack *pack, struct sfs_buf *buf)
{
    struct sfs_pack_stats s;
    sfs_pack_get_stats(pack, &s);
    sfs_buf_printf(buf,
                   ",\"pack\":{\"size\":%" PRIu64 ",\"lent\":%" PRIu64 ",\"checked\":%" PRIu64
                   ",\"failed\":%" PRIu64 ",\"made\":%" PRIu64 "}",
                   s.size, s.lent, s.checked, s.failed, (uint64_t)atomic_load(&stats->pack_made));
}

int sfs_stats_print(struct sfs_stats *stats, struct sfs_cache *cache, struct sfs_pack *pack,
                    struct sfs_buf *buf)
{
    sfs_buf_printf(
        buf,
        "{\"seconds\":%.3f,\"bytes_read\":%" PRIu64 ",\"bytes_stored\":%" PRIu64
        ",\"libraries\":%" PRIu64 ",\"read_errors\":%" PRIu64 ",\"passthrough\":{\"opens\":%" PRIu64
        ",\"files_kept\":%" PRIu64 ",\"bytes_kept\":%" PRIu64 "},",
        seconds(now_ns() - stats->started_ns), (uint64_t)atomic_load(&stats->bytes_read),
        (uint64_t)atomic_load(&stats->bytes_stored), (uint64_t)atomic_load(&stats->libraries),
        (uint64_t)atomic_load(&stats->read_errors), (uint64_t)atomic_load(&stats->opens_through),
        (uint64_t)atomic_load(&stats->files_kept), (uint64_t)atomic_load(&stats->bytes_kept));
    print_front(stats, buf);
    print_requests(stats, buf);
    print_pack(stats, pack, buf);
    if (cache)
        print_cache(cache, buf);
    print_registry(buf);
    print_guesses(stats, cache, buf);
    print_learned(stats, buf);
    return sfs_buf_add_str(buf, "}\n");
}
