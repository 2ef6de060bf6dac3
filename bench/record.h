/* What a run touched, out of the records of a mount. Whoever started the harness may lend it such
 * mounts, on a socket (--record-fd):
 *
 *   "start\n"  is answered "ready DIR\n": a fresh mount at DIR, which records; or "failed WORDS\n"
 *   "stop\n"   is answered "done FILE\n": it is gone, and FILE tells in lines
 *              "read PATH OFFSET+SIZE ..." what was read, paths with bytes as \ooo; or "failed ..."
 *
 * A fresh mount a run, since the kernel asks a mount for a page only once. */
#ifndef BENCH_RECORD_H
#define BENCH_RECORD_H

#include "bench.h"

struct bench_range {
    uint64_t offset, size;
};

struct bench_ranges { /* ascending, apart; all-zero is empty */
    struct bench_range *items;
    size_t count;
    uint64_t bytes;
};
/* Not below the last one; joined if they touch. -1: memory is gone. */
int bench_ranges_add(struct bench_ranges *ranges, uint64_t offset, uint64_t size);
void bench_ranges_close(struct bench_ranges *ranges);

struct bench_read {
    char *path; /* relative to the root */
    struct bench_ranges ranges;
};

struct bench_reads { /* all-zero is empty */
    struct bench_read *items;
    size_t count;
};
void bench_reads_close(struct bench_reads *reads);

/* Each waits for an answer, at most timeout_s. -1: the reason; then there is no mount. */
int bench_record_start(int fd, unsigned timeout_s, char *dir, size_t size,
                       struct bench_reason *reason);
int bench_record_stop(int fd, unsigned timeout_s, struct bench_reads *reads,
                      struct bench_reason *reason);

#endif
