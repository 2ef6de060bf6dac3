/* The page's pictures of times: a bar a place for each job, and the stages of a CUDA start in a
 * row. */
#include "html.h"

#include <string.h>

/* Distinct for all kinds of eyes, and in both schemes. */
static const char *const colors[] = { "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee",
                                      "#aa3377", "#888888", "#ee8866", "#44aa99", "#997700",
                                      "#6a5acd", "#b07aa1", "#2f4b7c", "#d45087" };
#define COLORS (sizeof colors / sizeof *colors)

static double percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* ---- bars of one time */

static double longest(const struct bench_report *report, const struct bench_row *row)
{
    double longest = 0;
    for (unsigned s = 0; s < BENCH_STATES; s++)
        for (unsigned d = 0; d < report->options->dir_count; d++) {
            double high = bench_row_summary(row, s, d).high;
            longest = high > longest ? high : longest;
        }
    return longest;
}

static void put_bar(const struct bench_report *report, const struct bench_row *row,
                    enum bench_state state, unsigned dir, double scale, FILE *out)
{
    const struct bench_samples *samples = &row->samples[state][dir];
    struct bench_summary summary = bench_row_summary(row, state, dir);
    struct bench_ratio ratio = bench_row_ratio(report, row, state, dir);
    char median[32];
    bool is_reference = dir == report->options->reference;
    fprintf(out, "<div class=\"bar%s\"><span class=\"label\">", is_reference ? " reference" : "");
    bench_html_text(out, report->options->dirs[dir].label);
    fprintf(out, ", %s%s</span>", bench_state_name(state), is_reference ? " (reference)" : "");
    if (samples->count == 0) {
        fputs("<span class=\"failed\">", out);
        bench_html_text(out, samples->reason.text);
        fputs("</span></div>\n", out);
        return;
    }
    fprintf(out,
            "<span class=\"track\"><i class=\"%s\" style=\"width:%.2f%%\"></i><i class=\"whisker\" "
            "style=\"left:%.2f%%;width:%.2f%%\"></i></span><span class=\"num %s\">%s",
            bench_state_name(state), percent(summary.median, scale), percent(summary.low, scale),
            percent(summary.high - summary.low, scale), bench_verdict_name(ratio.verdict),
            bench_format_time(summary.median, median, sizeof median));
    if (ratio.verdict == BENCH_SLOWER || ratio.verdict == BENCH_FASTER)
        fprintf(out, " (%.2f x)", ratio.ratio);
    else if (ratio.verdict != BENCH_NOTHING)
        fprintf(out, " (%.2f x, %s)", ratio.ratio, bench_verdict_name(ratio.verdict));
    fputs("</span></div>\n", out);
}

static void put_axis(double scale, FILE *out)
{
    char half[32], whole[32];
    if (scale > 0)
        fprintf(out,
                "<div class=\"bar axis\"><span></span><span><span>0</span><span>%s</span>"
                "<span>%s</span></span><span></span></div>\n",
                bench_format_time(scale / 2, half, sizeof half),
                bench_format_time(scale, whole, sizeof whole));
}

static void put_bars(const struct bench_report *report, const struct bench_job *job, FILE *out)
{
    fputs("<h3>", out);
    bench_html_text(out, job->name);
    fputs("</h3>\n", out);
    if (job->failed) {
        fputs("<p class=\"failed\">", out);
        bench_html_text(out, job->reason.text);
        fputs("</p>\n", out);
    }
    for (unsigned r = 0; r < job->row_count; r++) {
        double scale = 1.03 * longest(report, &job->rows[r]); /* no line ends at the bar's end */
        for (unsigned s = 0; s < BENCH_STATES; s++)
            for (unsigned d = 0; d < report->options->dir_count; d++) {
                const struct bench_samples *samples = &job->rows[r].samples[s][d];
                if (samples->count || samples->failed)
                    put_bar(report, &job->rows[r], s, d, scale, out);
            }
        put_axis(scale, out);
    }
}

void bench_html_bars(const struct bench_report *report, enum bench_kind kind, const char *title,
                     FILE *out)
{
    bool begun = false;
    for (size_t i = 0; i < report->job_count; i++) {
        if (report->jobs[i].kind != kind)
            continue;
        if (!begun)
            fprintf(out, "<h2>%s</h2>\n", title);
        begun = true;
        put_bars(report, &report->jobs[i], out);
    }
}

/* ---- the stages of a CUDA start, stacked */

/* Not a stage, but the sum of some. */
static bool is_sum(const struct bench_row *row)
{
    return strcmp(row->name, "start-up") == 0;
}

static double sum_of_stages(const struct bench_job *job, enum bench_state state, unsigned dir)
{
    double sum = 0;
    for (unsigned r = 0; r < job->row_count; r++)
        if (!is_sum(&job->rows[r]))
            sum += bench_row_summary(&job->rows[r], state, dir).median;
    return sum;
}

static void put_stack(const struct bench_report *report, const struct bench_job *job,
                      enum bench_state state, unsigned dir, double scale, FILE *out)
{
    char text[32];
    double sum = sum_of_stages(job, state, dir);
    if (sum <= 0)
        return;
    fputs("<div class=\"bar\"><span class=\"label\">", out);
    bench_html_text(out, report->options->dirs[dir].label);
    fprintf(out, ", %s</span><span class=\"track\">", bench_state_name(state));
    for (unsigned r = 0; r < job->row_count; r++) {
        double median = bench_row_summary(&job->rows[r], state, dir).median;
        if (!is_sum(&job->rows[r]) && median > 0)
            fprintf(out, "<i title=\"%s: %s\" style=\"background:%s;width:%.2f%%\"></i>",
                    job->rows[r].name, bench_format_time(median, text, sizeof text),
                    colors[r % COLORS], percent(median, scale));
    }
    fprintf(out, "</span><span class=\"num\">%s</span></div>\n",
            bench_format_time(sum, text, sizeof text));
}

static bool has_samples(const struct bench_report *report, const struct bench_row *row)
{
    for (unsigned s = 0; s < BENCH_STATES; s++)
        for (unsigned d = 0; d < report->options->dir_count; d++)
            if (row->samples[s][d].count)
                return true;
    return false;
}

/* The key of colours, and what has none because it was left out. */
static void put_key(const struct bench_report *report, const struct bench_job *job, FILE *out)
{
    fputs("<p class=\"key\">", out);
    for (unsigned r = 0; r < job->row_count; r++)
        if (!is_sum(&job->rows[r]) && has_samples(report, &job->rows[r]))
            fprintf(out, "<span><b style=\"background:%s\"></b>%s</span>", colors[r % COLORS],
                    job->rows[r].name);
    fputs("</p>\n<p class=\"soft\">", out);
    bool begun = false;
    for (unsigned r = 0; r < job->row_count; r++) {
        if (has_samples(report, &job->rows[r]))
            continue;
        fputs(begun ? "; " : "Left out: ", out);
        begun = true;
        fprintf(out, "%s (", job->rows[r].name);
        bench_html_text(out, job->rows[r].samples[BENCH_WARM][0].reason.text);
        fputs(")", out);
    }
    fputs(begun ? ".</p>\n" : "</p>\n", out);
}

void bench_html_stacks(const struct bench_report *report, const struct bench_job *job, FILE *out)
{
    double scale = 0;
    fputs("<h2>Stages of a CUDA start</h2>\n", out);
    put_key(report, job, out);
    for (unsigned s = 0; s < BENCH_STATES; s++)
        for (unsigned d = 0; d < report->options->dir_count; d++) {
            double sum = sum_of_stages(job, s, d);
            scale = sum > scale ? sum : scale;
        }
    for (unsigned s = 0; s < BENCH_STATES; s++)
        for (unsigned d = 0; d < report->options->dir_count; d++)
            put_stack(report, job, s, d, scale, out);
}
