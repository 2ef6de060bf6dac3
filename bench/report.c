/* The table for people and the JSON; html.c makes the page. */
#include "report.h"

#include "report_touched.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

const char *bench_format_time(double seconds, char *buf, size_t size)
{
    if (seconds < 0.001)
        snprintf(buf, size, "%.0f us", seconds * 1e6);
    else if (seconds < 1)
        snprintf(buf, size, "%.*f ms", seconds < 0.1 ? 2 : 1, seconds * 1e3);
    else
        snprintf(buf, size, "%.*f s", seconds < 100 ? 3 : 1, seconds);
    return buf;
}

/* ---- the table */

static void print_measured(const struct bench_report *report, const struct bench_row *row,
                           enum bench_state state, unsigned dir, FILE *out)
{
    struct bench_summary summary = bench_row_summary(row, state, dir);
    struct bench_ratio ratio = bench_row_ratio(report, row, state, dir);
    char median[32], low[32], high[32], interval[72];
    snprintf(interval, sizeof interval, "%s .. %s", bench_format_time(summary.low, low, sizeof low),
             bench_format_time(summary.high, high, sizeof high));
    fprintf(out, "  %-12s %-6s %10s  %-24s ", report->options->dirs[dir].label,
            bench_state_name(state), bench_format_time(summary.median, median, sizeof median),
            interval);
    if (ratio.verdict != BENCH_NOTHING)
        fprintf(out, "%6.2f x  %s", ratio.ratio, bench_verdict_name(ratio.verdict));
    else if (dir == report->options->reference)
        fputs("reference", out);
    const struct bench_samples *samples = &row->samples[state][dir];
    if (samples->failed)
        fprintf(out, "  FAILED after %u run%s: %s", samples->count, samples->count == 1 ? "" : "s",
                samples->reason.text);
    fputc('\n', out);
}

static void print_state(const struct bench_report *report, const struct bench_row *row,
                        enum bench_state state, FILE *out)
{
    for (unsigned d = 0; d < report->options->dir_count; d++) {
        const struct bench_samples *samples = &row->samples[state][d];
        if (samples->count)
            print_measured(report, row, state, d, out);
        else if (samples->failed || samples->left_out)
            fprintf(out, "  %-12s %-6s %s: %s\n", report->options->dirs[d].label,
                    bench_state_name(state), samples->failed ? "FAILED" : "left out",
                    samples->reason.text);
    }
}

void bench_report_job(const struct bench_report *report, const struct bench_job *job, FILE *out)
{
    char size[16];
    (void)report;
    fputs(job->name, out);
    if (job->kind == BENCH_LIB && !job->failed)
        fprintf(out, " (%s, with %zu other%s)", bench_format_size(job->size, size, sizeof size),
                job->plan.count - 1, job->plan.count == 2 ? "" : "s");
    fputc('\n', out);
    if (job->failed)
        fprintf(out, "  FAILED: %s\n", job->reason.text);
    fflush(out);
}

void bench_report_rows(const struct bench_report *report, const struct bench_job *job,
                       enum bench_state state, FILE *out)
{
    for (unsigned i = 0; i < job->row_count; i++) {
        if (job->kind == BENCH_GPU)
            fprintf(out, " %s\n", job->rows[i].name);
        print_state(report, &job->rows[i], state, out);
    }
    fflush(out);
}

/* What the intervals are, if there is one that all runs went into. */
static void print_notes(const struct bench_report *report, FILE *out)
{
    const struct bench_options *options = report->options;
    double coverage = 0;
    for (size_t i = 0; i < report->job_count; i++)
        for (unsigned r = 0; r < report->jobs[i].row_count; r++) {
            struct bench_summary s = bench_row_summary(&report->jobs[i].rows[r], BENCH_WARM, 0);
            coverage = s.count == options->runs ? s.coverage : coverage;
        }
    if (coverage > 0)
        fprintf(out,
                "\nMedians of %u run%s, each in a fresh process, in shuffled order; the interval "
                "holds the median with %.0f %%%s.\nnot significant: the intervals overlap.\n",
                options->runs, options->runs == 1 ? "" : "s", coverage * 100,
                coverage < 0.95 ? " (6 runs or more give 95 %)" : "");
}

/* The three starts of one directory side by side, as people ask for them. */
static void print_starts_of(const struct bench_report *report, const struct bench_row *row,
                            unsigned dir, FILE *out)
{
    fprintf(out, "  %-12s", report->options->dirs[dir].label);
    for (unsigned s = 0; s < BENCH_STATES; s++) {
        struct bench_ratio ratio = bench_row_ratio(report, row, s, dir);
        char median[32], text[64];
        if (!row->samples[s][dir].count)
            snprintf(text, sizeof text, "-");
        else if (ratio.verdict == BENCH_NOTHING)
            snprintf(
                text, sizeof text, "%s",
                bench_format_time(bench_row_summary(row, s, dir).median, median, sizeof median));
        else
            snprintf(
                text, sizeof text, "%s (%.2f x)",
                bench_format_time(bench_row_summary(row, s, dir).median, median, sizeof median),
                ratio.ratio);
        fprintf(out, "  %20s", text);
    }
    fputc('\n', out);
}

static void print_starts(const struct bench_report *report, FILE *out)
{
    fprintf(out, "\n  %-12s  %20s  %20s  %20s\n", "", "first start", "second start", "warm");
    for (size_t i = 0; i < report->job_count; i++)
        for (unsigned r = 0; r < report->jobs[i].row_count; r++) {
            const struct bench_job *job = &report->jobs[i];
            fprintf(out, "%s\n", job->kind == BENCH_GPU ? job->rows[r].name : job->name);
            for (unsigned d = 0; d < report->options->dir_count; d++)
                print_starts_of(report, &job->rows[r], d, out);
        }
}

void bench_report_end(const struct bench_report *report, FILE *out)
{
    const struct bench_options *options = report->options;
    bool has_touched = false;
    for (size_t i = 0; i < report->job_count; i++) {
        const struct bench_touched *touched = &report->jobs[i].touched;
        bench_report_touched(report, &report->jobs[i], out);
        has_touched |= touched->lib_count > 0 || touched->other_files > 0;
    }
    if (report->second)
        print_starts(report, out);
    print_notes(report, out);
    if (report->second)
        fputs("first: nothing is cached or known. second: nothing is cached, but the mount has "
              "learned from one start\nwhat is used. warm: again.\n",
              out);
    if (has_touched)
        fputs(bench_touched_words, out);
    if (options->cold && !report->cold)
        fprintf(out, "Left out: cold runs: %s\n", report->cold_reason.text);
    if (report->ended_by)
        fprintf(out, "Ended by SIG%s: what is above had been measured by then.\n",
                sigabbrev_np(report->ended_by));
}

/* ---- JSON */

static json_t *pair(double low, double high)
{
    return json_pack("[f, f]", low, high);
}

static json_t *pack_samples(const struct bench_report *report, const struct bench_row *row,
                            enum bench_state state, unsigned dir)
{
    const struct bench_samples *samples = &row->samples[state][dir];
    json_t *json =
        json_pack("{s:o, s:s}", "directory", bench_json_text(report->options->dirs[dir].label),
                  "state", bench_state_name(state));
    json_t *values = json_array();
    for (unsigned i = 0; i < samples->count; i++)
        json_array_append_new(values, json_real(samples->values[i]));
    json_object_set_new(json, "samples", values);
    if (samples->failed || samples->left_out)
        json_object_set_new(json, samples->failed ? "failed" : "left_out",
                            bench_json_text(samples->reason.text));
    if (!samples->count)
        return json;
    struct bench_summary summary = bench_row_summary(row, state, dir);
    struct bench_ratio ratio = bench_row_ratio(report, row, state, dir);
    json_object_set_new(json, "median", json_real(summary.median));
    json_object_set_new(json, "interval", pair(summary.low, summary.high));
    json_object_set_new(json, "coverage", json_real(summary.coverage));
    json_object_set_new(json, "quartiles", pair(summary.quartile_low, summary.quartile_high));
    if (ratio.verdict != BENCH_NOTHING) {
        json_object_set_new(json, "ratio", json_real(ratio.ratio));
        json_object_set_new(json, "ratio_interval", pair(ratio.low, ratio.high));
        json_object_set_new(json, "verdict", json_string(bench_verdict_name(ratio.verdict)));
    }
    return json;
}

static json_t *pack_row(const struct bench_report *report, const struct bench_row *row)
{
    json_t *results = json_array();
    for (unsigned s = 0; s < BENCH_STATES; s++)
        for (unsigned d = 0; d < report->options->dir_count; d++) {
            const struct bench_samples *samples = &row->samples[s][d];
            if (samples->count || samples->failed || samples->left_out)
                json_array_append_new(results, pack_samples(report, row, s, d));
        }
    return json_pack("{s:s, s:o}", "name", row->name, "results", results);
}

static json_t *pack_job(const struct bench_report *report, const struct bench_job *job)
{
    static const char *const kinds[] = { "library", "command", "gpu" };
    json_t *plan = json_array(), *rows = json_array();
    for (size_t i = 0; i < job->plan.count; i++)
        json_array_append_new(plan, bench_json_text(job->plan.items[i]));
    for (unsigned i = 0; i < job->row_count; i++)
        json_array_append_new(rows, pack_row(report, &job->rows[i]));
    json_t *json = json_pack("{s:s, s:o, s:o, s:o}", "kind", kinds[job->kind], "name",
                             bench_json_text(job->name), "loads", plan, "rows", rows);
    if (job->kind == BENCH_LIB && !job->failed)
        json_object_set_new(json, "size", json_integer((json_int_t)job->size));
    if (job->failed)
        json_object_set_new(json, "failed", bench_json_text(job->reason.text));
    if (report->options->record_fd && !job->failed)
        json_object_set_new(json, "touched", bench_touched_json(report, job));
    return json;
}

/* What a reader of the figures would ask about the machine first. */
static json_t *pack_machine(void)
{
    static const char *const names[] = { "NCCL_NVLS_ENABLE", "CUDA_MODULE_LOADING",
                                         "CUDA_CACHE_DISABLE", "CUDA_CACHE_PATH",
                                         "CUDA_VISIBLE_DEVICES" };
    struct utsname name;
    uname(&name);
    json_t *environment = json_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        json_object_set_new(environment, names[i], value ? json_string(value) : json_null());
    }
    return json_pack("{s:s, s:s, s:I, s:I, s:o}", "kernel", name.release, "architecture",
                     name.machine, "cpus", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN),
                     "memory_bytes",
                     (json_int_t)sysconf(_SC_PHYS_PAGES) * (json_int_t)sysconf(_SC_PAGESIZE),
                     "environment", environment);
}

/* What whoever started the harness says of itself: the image, its digest, the command. */
static json_t *pack_about(const struct bench_report *report)
{
    json_t *about = json_object();
    for (size_t i = 0; i < report->options->about.count; i++) {
        const char *pair = report->options->about.items[i], *value = strchr(pair, '=');
        char key[32];
        snprintf(key, sizeof key, "%.*s", (int)(value - pair), pair);
        json_object_set_new(about, key, bench_json_text(value + 1));
    }
    return about;
}

int bench_report_json(const struct bench_report *report, FILE *out)
{
    const struct bench_options *options = report->options;
    json_t *directories = json_array(), *jobs = json_array(), *left_out = json_array();
    for (unsigned i = 0; i < options->dir_count; i++)
        json_array_append_new(
            directories, json_pack("{s:o, s:o}", "label", bench_json_text(options->dirs[i].label),
                                   "path", bench_json_text(options->dirs[i].path)));
    for (size_t i = 0; i < report->job_count; i++)
        json_array_append_new(jobs, pack_job(report, &report->jobs[i]));
    if (options->cold && !report->cold)
        json_array_append_new(left_out, json_pack("{s:s, s:s}", "name", "cold runs", "reason",
                                                  report->cold_reason.text));
    json_t *json =
        json_pack("{s:i, s:o, s:i, s:I, s:o, s:o, s:o, s:o}", "version", 1, "reference",
                  bench_json_text(options->dirs[options->reference].label), "runs",
                  (int)options->runs, "seed", (json_int_t)options->seed, "machine", pack_machine(),
                  "directories", directories, "benchmarks", jobs, "left_out", left_out);
    json_object_set_new(json, "about", pack_about(report));
    if (report->ended_by)
        json_object_set_new(json, "ended_by",
                            json_sprintf("SIG%s", sigabbrev_np(report->ended_by)));
    int r = json ? json_dumpf(json, out, JSON_INDENT(2)) : -1;
    json_decref(json);
    fputc('\n', out);
    return r;
}
