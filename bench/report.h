/* Telling what was found: a table for people, JSON for machines, a page for both to look at. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "measure.h"

#include <stdio.h>

/* The table, as it grows: a job's name before it is measured, its rows of one state once they are,
 * and at the end what is touched and what the figures are. */
void bench_report_job(const struct bench_report *report, const struct bench_job *job, FILE *out);
void bench_report_rows(const struct bench_report *report, const struct bench_job *job,
                       enum bench_state state, FILE *out);
void bench_report_end(const struct bench_report *report, FILE *out);
/* Both: 0, or -1 when memory is gone or `out` does not take it. */
int bench_report_json(const struct bench_report *report, FILE *out);
/* One self-contained file. */
int bench_report_html(const struct bench_report *report, FILE *out);

/* "1.23 ms" into buf. */
const char *bench_format_time(double seconds, char *buf, size_t size);

#endif
