/* Telling what was found: a table for people, JSON for machines, a page for both to look at. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "measure.h"

#include <stdio.h>

/* The table is printed as it grows. First a job's name, before it is measured. */
void bench_report_job(const struct bench_report *report, const struct bench_job *job, FILE *out);
/* Its rows of one state, once they are measured. */
void bench_report_rows(const struct bench_report *report, const struct bench_job *job,
                       enum bench_state state, FILE *out);
/* At the end: what was touched, and what the figures mean. */
void bench_report_end(const struct bench_report *report, FILE *out);
/* Writes the JSON. 0; -1: out of memory, or `out` failed. */
int bench_report_json(const struct bench_report *report, FILE *out);
/* Writes the page, one self-contained file. As bench_report_json(). */
int bench_report_html(const struct bench_report *report, FILE *out);

/* Writes a time into buf, such as "1.23 ms", and returns buf. */
const char *bench_format_time(double seconds, char *buf, size_t size);

#endif
