/* What each run used of its libraries, and what every back end brought for it. Runs of their own,
 * after all that is timed:
 *
 *   run      pages that the job's process touched, as a mount without read-ahead recorded them
 *   load     the same of dlopen alone, of the library with what it needs
 *   brought  pages that a cold run left in the page cache, by directory: with all read-ahead
 *
 * Belongs together with measure.h: a job holds what was touched, and its runs are made here. */
#ifndef BENCH_TOUCHED_H
#define BENCH_TOUCHED_H

#include "bench.h"
#include "record.h"

struct bench_part {
    bool known;                 /* it could be found out */
    struct bench_ranges ranges; /* bytes of the file */
};

struct bench_touch {
    char *path; /* of a library, relative to the root */
    uint64_t size;
    struct bench_part load, run; /* a library's job has no run */
    struct bench_part brought[BENCH_MAX_DIRS];
};

struct bench_touched {        /* all-zero: nothing is known */
    struct bench_touch *libs; /* most bytes first */
    size_t lib_count;
    size_t other_files;   /* how many files were touched that are no libraries */
    uint64_t other_bytes; /* bytes of those that were touched */
    bool failed;          /* it was tried in vain, as `reason` says */
    struct bench_reason reason;
};
/* Frees what is in it. Fine on an all-zero struct. */
void bench_touched_close(struct bench_touched *touched);

struct bench_report;
/* Fills `touched` of each job of the report, as far as options->record_fd and the right to drop
 * caches allow; what fails is told there. Runs the jobs again. */
void bench_touch_jobs(struct bench_report *report);

#endif
