/* Telling what was touched (touched.h), as part of the table, the JSON and the page. */
#ifndef BENCH_REPORT_TOUCHED_H
#define BENCH_REPORT_TOUCHED_H

#include "measure.h"

#include <jansson.h>
#include <stdio.h>

/* Below the table: what the figures are. */
extern const char bench_touched_words[];
void bench_report_touched(const struct bench_report *report, const struct bench_job *job,
                          FILE *out);
/* For the caller to free. */
json_t *bench_touched_json(const struct bench_report *report, const struct bench_job *job);
void bench_html_touched(const struct bench_report *report, FILE *out);

/* Paths and messages may be any bytes; JSON holds UTF-8. */
json_t *bench_json_text(const char *text);
/* With what HTML means something by escaped. */
void bench_html_text(FILE *out, const char *text);

#endif
