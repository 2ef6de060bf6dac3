/* Numbers about samples: median, an interval that promises something, and whether two differ.
 * Nothing here assumes a distribution: start-up times have long tails. */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stdint.h>

#define BENCH_MAX_RUNS 1000u
/* Two ranges of so many samples lie apart by chance in 3 cases of 100; of three, in 10. */
#define BENCH_MIN_RUNS 4u

struct bench_summary {
    unsigned count; /* 0: no samples, the rest is 0 */
    double median;
    double low, high; /* contain the true median with probability `coverage` */
    double coverage;  /* at least 0.95 from 6 samples on; below, the range and what it is worth */
    double quartile_low, quartile_high;
};

/* The figures of samples in any order, at most BENCH_MAX_RUNS; the samples are left as they are. */
struct bench_summary bench_summarize(const double *samples, unsigned count);

enum bench_verdict {
    BENCH_NOTHING,         /* one side has no samples */
    BENCH_NOT_SIGNIFICANT, /* the intervals overlap */
    BENCH_FASTER,
    BENCH_SLOWER,
    BENCH_TOO_FEW, /* runs: fewer than BENCH_MIN_RUNS on a side */
};

struct bench_ratio {
    double ratio;     /* median over the reference's median */
    double low, high; /* from the ends of both intervals, so it holds 1 exactly when they overlap */
    enum bench_verdict verdict;
};

/* Compares the figures of one directory with the reference's. */
struct bench_ratio bench_compare(const struct bench_summary *summary,
                                 const struct bench_summary *reference);

/* The verdict's name in reports. A constant string. */
const char *bench_verdict_name(enum bench_verdict verdict);

/* Puts `count` numbers in random order; the same *state gives the same order. */
void bench_shuffle(unsigned *order, unsigned count, uint64_t *state);

#endif
