/* Mounts for one run each: what a run touched, out of the records of a mount, and mounts that have
 * learned from earlier runs. Whoever started the harness may lend it such
 * mounts, on a socket (--record-fd):
 *
 *   "start\n"  is answered "ready DIR\n": a fresh mount at DIR, which records; or "failed WORDS\n"
 *   "stop\n"   is answered "done FILE\n": it is gone, and FILE tells in lines
 *              "read PATH OFFSET+SIZE ..." what was read, paths with bytes as \ooo; or "failed ..."
 *
 *   "learn\n"  is answered as "start\n": the fresh mount learns what is used of it, and has what
 *              earlier ones learned; "stop\n" ends it, and FILE is then without meaning
 *   "forget\n" is answered "forgot ...\n": nothing is known any more
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
/* Adds a range that is not before the last one; the two are joined if they touch. -1: out of
 * memory. */
int bench_ranges_add(struct bench_ranges *ranges, uint64_t offset, uint64_t size);
/* Frees what is in it. Fine on an all-zero struct. */
void bench_ranges_close(struct bench_ranges *ranges);

struct bench_read {
    char *path; /* relative to the root */
    struct bench_ranges ranges;
};

struct bench_reads { /* all-zero is empty */
    struct bench_read *items;
    size_t count;
};
/* Frees what is in it. Fine on an all-zero struct. */
void bench_reads_close(struct bench_reads *reads);

/* Asks for a fresh mount, and waits for it at most timeout_s; its path goes into `dir`. -1: there
 * is none, for that reason. */
int bench_record_start(int fd, unsigned timeout_s, char *dir, size_t size,
                       struct bench_reason *reason);
/* The same for a mount that learns. */
int bench_record_learning(int fd, unsigned timeout_s, char *dir, size_t size,
                          struct bench_reason *reason);
/* Ends such a mount. -1: as above. */
int bench_record_end(int fd, unsigned timeout_s, struct bench_reason *reason);
/* Has all forgotten that such mounts learned. -1: as above. */
int bench_record_forget(int fd, unsigned timeout_s, struct bench_reason *reason);
/* Ends the mount, waits at most timeout_s, and reads what was read of it; the caller closes *reads.
 * -1: the reason says why that could not be; there is no mount any more. */
int bench_record_stop(int fd, unsigned timeout_s, struct bench_reads *reads,
                      struct bench_reason *reason);

#endif
