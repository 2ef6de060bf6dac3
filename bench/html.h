/* What the files of the page (html.c, html_bars.c, html_touched.c) share. All write to `out`, and
 * leave it to the page's end to look for errors. */
#ifndef BENCH_HTML_H
#define BENCH_HTML_H

#include "report.h"

/* Prints a text, with the characters escaped that mean something to HTML. */
void bench_html_text(FILE *out, const char *text);
/* Writes the bars of all jobs of a kind, below that title; nothing if there are none. */
void bench_html_bars(const struct bench_report *report, enum bench_kind kind, const char *title,
                     FILE *out);
/* Writes the stages of a CUDA start, one job's, with the key of their colours. */
void bench_html_stacks(const struct bench_report *report, const struct bench_job *job, FILE *out);

#endif
