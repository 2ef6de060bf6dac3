/* Telling what was touched (touched.h), as part of the table, the JSON and the page. */
#ifndef BENCH_REPORT_TOUCHED_H
#define BENCH_REPORT_TOUCHED_H

#include "measure.h"

#include <jansson.h>
#include <stdio.h>

/* The text below the table that says what the figures are. */
extern const char bench_touched_words[];
/* Prints the table of one job. */
void bench_report_touched(const struct bench_report *report, const struct bench_job *job,
                          FILE *out);
/* The same as JSON, which the caller json_decref()s. NULL: out of memory. */
json_t *bench_touched_json(const struct bench_report *report, const struct bench_job *job);
/* Writes that part of the page. */
void bench_html_touched(const struct bench_report *report, FILE *out);

/* Makes a JSON string of a path or message, which may be any bytes: those that are not UTF-8 are
 * replaced. */
json_t *bench_json_text(const char *text);
#endif
