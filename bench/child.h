/* One fresh process a sample. A child tells what it measured in lines on descriptor 3:
 *
 *   value NAME SECONDS     a time that it took itself
 *   left NAME REASON       what cannot be measured here
 *   failed REASON          the end of this child's work
 *   start NANOSECONDS      CLOCK_MONOTONIC; its parent takes the time from here to its end */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include "bench.h"

#define BENCH_REPORT_FD 3

/* The child's side: each writes one of those lines. They cannot fail: a parent that is gone needs
 * no report. */

/* A time that the child took. */
void bench_tell_value(const char *name, double seconds);
/* Something that cannot be measured here. */
void bench_tell_left_out(const char *name, const char *reason);
/* The end of the child's work. */
void bench_tell_failed(const char *reason);
/* The parent takes the time from here on. */
void bench_tell_start(void);
/* Seconds of CLOCK_MONOTONIC. */
double bench_now(void);

struct bench_child {
    char *const *argv;
    const struct bench_list *env; /* NULL: as ours; else the whole environment */
    /* Runs in the child before exec. Returns 0, or -1 with a reason, which is reported. */
    int (*prepare)(const void *user, struct bench_reason *reason);
    const void *user;
    unsigned timeout_s;
};

/* Runs a child to its end, and fills `result`. A signal, a status other than 0, a time-out and what
 * it said last on stderr become result->reason. Ends early if bench_stopped(): the result is then
 * of no use. For a child that told `start` there is a value "total". */
void bench_child_run(const struct bench_child *child, struct bench_result *result);

#endif
