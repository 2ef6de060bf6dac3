/* Rounds of runs, and all that they found. Belongs together with touched.h, whose runs come
 * last. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "bench.h"
#include "stats.h"
#include "touched.h"
#include <stdio.h>

/* FIRST: with nothing in the page cache, and nothing known of what is loaded. SECOND: the same once
 * a mount has learned from one start; elsewhere nothing is learned, so it is as FIRST. WARM: again,
 * with all caches as the run before left them. */
enum bench_state { BENCH_FIRST, BENCH_SECOND, BENCH_WARM, BENCH_STATES };

/* "first", "second" or "warm". A constant string. */
const char *bench_state_name(enum bench_state state);

/* The times of one row, in one state, in one directory. */
struct bench_samples {
    double *values; /* seconds, in the order they were taken; NULL: never run */
    unsigned count;
    bool failed, left_out;
    struct bench_reason reason; /* why it failed, or was left out */
};

struct bench_row {
    char name[32]; /* of the value: "dlopen", "total", "cuInit", ... */
    struct bench_samples samples[BENCH_STATES][BENCH_MAX_DIRS];
};

enum bench_kind { BENCH_LIB, BENCH_EXEC, BENCH_GPU };

/* One thing that is run; a run of it gives a time for each of its rows. */
struct bench_job {
    enum bench_kind kind;
    char *name;             /* the library's path, the command, or "CUDA" */
    struct bench_list plan; /* what is loaded, in order */
    uint64_t size;          /* bytes of the library, in the reference's directory */
    bool failed;            /* it could not be tried at all, as `reason` says */
    struct bench_reason reason;
    struct bench_row rows[BENCH_MAX_VALUES];
    unsigned row_count;
    struct bench_touched touched;
};

struct bench_report {
    const struct bench_options *options;
    struct bench_job *jobs;
    size_t job_count;
    bool cold;                       /* first runs were measured */
    bool second;                     /* and second ones, too */
    struct bench_reason cold_reason; /* if not: why not */
    int ended_by;                    /* a signal; 0: all was measured */
};

/* Calls as the work goes on; both may be NULL. */
struct bench_watcher {
    void (*job_begins)(const struct bench_report *report, const struct bench_job *job);
    void (*state_ends)(const struct bench_report *report, const struct bench_job *job,
                       enum bench_state state);
};

/* Measures everything; whatever fails is a row that says so. If bench_stopped(), the report holds
 * what was measured until then. The caller closes *report. -1: out of memory. */
int bench_measure(const struct bench_options *options, const struct bench_watcher *watcher,
                  struct bench_report *report);
/* Writes the paths of all that the libraries of the options need, relative to their root, each
 * ended by a NUL. -1: memory is gone, or `out` fails. */
int bench_list_needed(const struct bench_options *options, FILE *out);
/* Frees what is in it. */
void bench_report_close(struct bench_report *report);

/* Does one run of the job on `dir`, which need not be one of the options'. */
void bench_run_once(const struct bench_options *options, const struct bench_job *job,
                    const struct bench_dir *dir, struct bench_result *result);

/* Has anything failed that was asked for? What is left out for a good reason has not. */
bool bench_report_has_failed(const struct bench_report *report);

/* The figures of one state and directory of a row. */
struct bench_summary bench_row_summary(const struct bench_row *row, enum bench_state state,
                                       unsigned dir);
/* The same compared with the reference, which itself has the verdict BENCH_NOTHING. */
struct bench_ratio bench_row_ratio(const struct bench_report *report, const struct bench_row *row,
                                   enum bench_state state, unsigned dir);

#endif
