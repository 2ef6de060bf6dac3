/* The page: everything inline, no scripts, readable in light and dark, on a phone and on paper.
 * Bars are boxes with widths in percent, so that the browser does the scaling. */
#include "html.h"
#include "report.h"
#include "report_touched.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>Load times by storage</title>\n<style>\n"
    ":root{color-scheme:light dark;--ink:#1c2126;--soft:#5c6670;--line:#d9dee3;--back:#fff;"
    "--track:#eef1f4;--good:#1a7f4b;--bad:#b3261e}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa5b0;--line:#39424b;"
    "--back:#15191d;--track:#242b32;--good:#5fd39a;--bad:#ff8a80}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:60rem;padding:1.2rem;background:"
    "var(--back);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.15rem;margin:2rem 0 .6rem}"
    "h3{font-size:.95rem;margin:1.2rem 0 .3rem;overflow-wrap:anywhere}\n"
    "p{margin:.4rem 0;max-width:46rem}.soft{color:var(--soft);font-size:.88rem}\n"
    ".bar{display:grid;grid-template-columns:8.5rem 1fr 12rem;gap:.6rem;align-items:center;"
    "margin:.25rem 0;font-size:.88rem;break-inside:avoid}\n"
    ".bar>*{min-width:0;overflow-wrap:anywhere}.num{font-variant-numeric:tabular-nums}\n"
    ".track{position:relative;height:1.15rem;background:var(--track);border-radius:3px;"
    "display:flex;overflow:hidden}\n"
    ".track "
    "i{display:block;height:100%}.first{background:#3b78c3}.second{background:#7a5bb5}.warm{"
    "background:#d08a1d}\n"
    ".whisker{position:absolute;top:45%;height:10%!important;background:var(--ink);opacity:.75}\n"
    ".key{display:flex;flex-wrap:wrap;gap:.3rem 1rem;font-size:.85rem}.key b{display:inline-block;"
    "width:.8em;height:.8em;margin-right:.35em;border-radius:2px}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.88rem}"
    "th,td{text-align:left;padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line);"
    "vertical-align:top}td:first-child{overflow-wrap:anywhere;min-width:11rem}"
    "th{color:var(--soft);font-weight:600}td.num{white-space:nowrap}\n"
    ".slower,.failed{color:var(--bad)}.faster{color:var(--good)}\n"
    ".lib{margin:.7rem 0;break-inside:avoid}h4{font-size:.88rem;margin:.2rem 0;overflow-wrap:"
    "anywhere}.touch{display:grid;grid-template-columns:8.5rem 1fr 14rem;gap:.6rem;align-items:"
    "center;font-size:.85rem;margin:.15rem 0}.touch>*{min-width:0;overflow-wrap:anywhere}"
    ".strip{display:block;width:100%;height:.9rem;background:var(--track);border-radius:2px}"
    ".strip.used{fill:#2e8b6f}.strip.brought{fill:#8a63b8}.usedkey,.broughtkey{display:"
    "inline-block;width:.8em;height:.8em;margin-right:.3em;border-radius:2px;background:#2e8b6f}"
    ".broughtkey{background:#8a63b8}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem .8rem;margin:.6rem "
    "0;font-size:"
    ".88rem}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}summary{cursor:pointer}"
    ".axis{color:var(--soft);font-size:.78rem}.axis>span:nth-child(2){display:flex;"
    "justify-content:space-between;border-top:1px solid var(--line)}"
    "code{overflow-wrap:anywhere}.reference .label{font-weight:600}\n"
    /* On a phone words and figures stand side by side, and what they are of below. */
    "@media(max-width:36rem){.bar,.touch{grid-template-columns:auto auto;gap:.1rem .6rem;"
    "margin:.45rem 0}.bar>.num,.touch>.num{grid-row:1;grid-column:2;text-align:right}"
    ".bar>.track,.bar>.failed,.touch>.strip{grid-row:2;grid-column:1/3}"
    "table,tbody{display:block}thead{display:none}tr{display:flex;flex-wrap:wrap;gap:0 .8rem;"
    "padding:.4rem 0;border-bottom:1px solid var(--line)}td{border:0;padding:0}"
    "td:first-child{width:100%;font-weight:600}}\n"
    "@media print{body{max-width:none;font-size:11pt;padding:0}*{print-color-adjust:exact;"
    "-webkit-print-color-adjust:exact}h2,h3{break-after:avoid}tr{break-inside:avoid}"
    ".scroll{overflow:visible}}\n"
    "</style></head><body>\n";

void bench_html_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else if (*text == '"')
            fputs("&quot;", out);
        else
            fputc(*text, out);
    }
}

/* Of what, by which command, when: whoever started the harness says it. */
static void put_about(const struct bench_report *report, FILE *out)
{
    const struct bench_list *about = &report->options->about;
    if (!about->count)
        return;
    fputs("<dl>", out);
    for (size_t i = 0; i < about->count; i++) {
        const char *pair = about->items[i], *value = strchr(pair, '=');
        AUTO(sfs_free) char *key = strndup(pair, (size_t)(value - pair));
        fputs("<dt>", out);
        bench_html_text(out, key ? key : "");
        fputs("</dt><dd>", out);
        bench_html_text(out, value + 1);
        fputs("</dd>", out);
    }
    fputs("</dl>\n", out);
}

static void put_intro(const struct bench_report *report, FILE *out)
{
    const struct bench_options *options = report->options;
    struct utsname name;
    char memory[16];
    uname(&name);
    fputs("<h1>Load times by storage</h1>\n", out);
    put_about(report, out);
    if (report->ended_by)
        fprintf(out, "<p class=\"failed\">Ended by SIG%s before all was measured.</p>\n",
                sigabbrev_np(report->ended_by));
    fputs("<p class=\"soft\">", out);
    fprintf(
        out,
        "%u run%s of each, every run a fresh process, order shuffled. Bars are medians; the thin "
        "line is the interval that holds the median (95 %% from 6 runs on). Compared with ",
        options->runs, options->runs == 1 ? "" : "s");
    bench_html_text(out, options->dirs[options->reference].label);
    fprintf(out, ". Linux %s, %ld CPUs, %s of memory.", name.release, sysconf(_SC_NPROCESSORS_ONLN),
            bench_format_size((uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE),
                              memory, sizeof memory));
    fputs(" Cold: nothing in the page cache. Warm: run before.</p>\n", out);
    if (options->cold && !report->cold) {
        fputs("<p class=\"failed\">Cold runs were left out: ", out);
        bench_html_text(out, report->cold_reason.text);
        fputs("</p>\n", out);
    }
}

/* ---- what to do */

struct worst {
    const struct bench_job *job;
    const struct bench_row *row;
    enum bench_state state;
    unsigned dir;
    double lost; /* seconds */
};

static double seconds_lost(const struct bench_report *report, const struct bench_row *row,
                           enum bench_state state, unsigned dir)
{
    struct bench_ratio ratio = bench_row_ratio(report, row, state, dir);
    if (ratio.verdict != BENCH_SLOWER)
        return 0;
    return bench_row_summary(row, state, dir).median -
           bench_row_summary(row, state, report->options->reference).median;
}

/* The largest significant loss on `dir`. */
static struct worst find_worst(const struct bench_report *report, unsigned dir)
{
    struct worst worst = { 0 };
    for (size_t i = 0; i < report->job_count; i++)
        for (unsigned r = 0; r < report->jobs[i].row_count; r++)
            for (unsigned s = 0; s < BENCH_STATES; s++) {
                const struct bench_row *row = &report->jobs[i].rows[r];
                double lost = seconds_lost(report, row, s, dir);
                if (lost > worst.lost)
                    worst = (struct worst){ &report->jobs[i], row, s, dir, lost };
            }
    return worst;
}

/* What to type: a profile has the bytes fetched before they are asked for, in a first start too. */
static void put_cure(const struct worst *worst, FILE *out)
{
    fputs(
        "Warm it is as fast as the rest, so the time goes into fetching and decoding its bytes for "
        "the first time. The second start of a mount has them fetched before they are asked for; "
        "the "
        "first does with a profile: <code>stagefs trace IMAGE "
        "-o start.profile -- ",
        out);
    bench_html_text(out, worst->job->kind == BENCH_EXEC ? worst->job->name : "COMMAND");
    fputs(
        "</code>, then <code>stagefs mount --profile start.profile IMAGE DIR</code>. Or leave out "
        "what is never used: see below what was read.",
        out);
}

static void put_advice(const struct bench_report *report, const struct worst *worst, FILE *out)
{
    char lost[32];
    fputs("<p><b>", out);
    bench_html_text(out, report->options->dirs[worst->dir].label);
    fprintf(out, "</b> loses most (%s, %s) with <b>",
            bench_format_time(worst->lost, lost, sizeof lost), bench_state_name(worst->state));
    bench_html_text(out, worst->job->name);
    if (worst->job->kind == BENCH_GPU) {
        fputs(", ", out);
        bench_html_text(out, worst->row->name);
    }
    fputs("</b>. ", out);
    if (worst->state == BENCH_WARM)
        fputs(
            "It is slower even when nothing has to be fetched, so look at the work of each access "
            "(number of files opened, caching switched off), not at the storage.",
            out);
    else if (seconds_lost(report, worst->row, BENCH_WARM, worst->dir) > 0)
        fputs(
            "Some of it stays when warm. First have the file read ahead of need; then look at the "
            "work of each access.",
            out);
    else
        put_cure(worst, out);
    fputs("</p>\n", out);
}

/* Of all that could not be measured on `dir`: how many, and why the first could not. */
static unsigned count_failures(const struct bench_report *report, unsigned dir,
                               const struct bench_reason **ret_first)
{
    unsigned count = 0;
    *ret_first = NULL;
    for (size_t i = 0; i < report->job_count; i++)
        for (unsigned r = 0; r < report->jobs[i].row_count; r++) {
            const struct bench_samples *warm = &report->jobs[i].rows[r].samples[BENCH_WARM][dir];
            *ret_first = warm->failed && !*ret_first ? &warm->reason : *ret_first;
            count += warm->failed;
        }
    return count;
}

/* Directories that failed alike are told of together. */
static bool put_failures(const struct bench_report *report, FILE *out)
{
    bool told[BENCH_MAX_DIRS] = { false }, any = false;
    fputs("<h2>What to do</h2>\n", out);
    for (unsigned d = 0; d < report->options->dir_count; d++) {
        const struct bench_reason *first, *other;
        unsigned count = count_failures(report, d, &first);
        if (!count || told[d])
            continue;
        any = true;
        fputs("<p class=\"failed\"><b>", out);
        bench_html_text(out, report->options->dirs[d].label);
        for (unsigned e = d + 1; e < report->options->dir_count; e++)
            if (count_failures(report, e, &other) == count &&
                strcmp(other->text, first->text) == 0) {
                told[e] = true;
                fputs(", ", out);
                bench_html_text(out, report->options->dirs[e].label);
            }
        fprintf(out, "</b>: %u could not be measured, the first because: ", count);
        bench_html_text(out, first->text);
        fputs("</p>\n", out);
    }
    return any;
}

static void put_all_advice(const struct bench_report *report, FILE *out)
{
    bool any = put_failures(report, out);
    for (unsigned d = 0; d < report->options->dir_count; d++) {
        struct worst worst = find_worst(report, d);
        if (worst.job)
            put_advice(report, &worst, out);
        any |= worst.job != NULL;
    }
    if (!any)
        fputs("<p>Nothing: no difference to the reference's disadvantage is significant.</p>\n",
              out);
}

/* ---- the three starts */

static void put_start(const struct bench_report *report, const struct bench_row *row,
                      enum bench_state state, unsigned dir, FILE *out)
{
    struct bench_ratio ratio = bench_row_ratio(report, row, state, dir);
    char median[32];
    if (!row->samples[state][dir].count) {
        fputs("<td>&ndash;</td>", out);
        return;
    }
    fprintf(out, "<td class=\"num %s\">%s", bench_verdict_name(ratio.verdict),
            bench_format_time(bench_row_summary(row, state, dir).median, median, sizeof median));
    if (ratio.verdict != BENCH_NOTHING)
        fprintf(out, " (%.2f x)", ratio.ratio);
    fputs("</td>", out);
}

static void put_starts_of(const struct bench_report *report, const struct bench_job *job,
                          const struct bench_row *row, FILE *out)
{
    for (unsigned d = 0; d < report->options->dir_count; d++) {
        fputs("<tr><td>", out);
        bench_html_text(out, job->kind == BENCH_GPU ? row->name : job->name);
        fputs("</td><td>", out);
        bench_html_text(out, report->options->dirs[d].label);
        fputs("</td>", out);
        for (unsigned s = 0; s < BENCH_STATES; s++)
            put_start(report, row, s, d, out);
        fputs("</tr>\n", out);
    }
}

static void put_starts(const struct bench_report *report, FILE *out)
{
    fputs(
        "<h2>Starts</h2>\n<p class=\"soft\">First: nothing is cached or known. Second: nothing is "
        "cached, but the mount has learned from one start what is used. Warm: again.</p>\n"
        "<div class=\"scroll\"><table><thead><tr><th>What</th><th>From</th><th>First start</th>"
        "<th>Second start</th><th>Warm</th></tr></thead><tbody>\n",
        out);
    for (size_t i = 0; i < report->job_count; i++)
        for (unsigned r = 0; r < report->jobs[i].row_count; r++)
            put_starts_of(report, &report->jobs[i], &report->jobs[i].rows[r], out);
    fputs("</tbody></table></div>\n", out);
}

/* ---- the table */

static void put_cell(const struct bench_report *report, const struct bench_row *row,
                     enum bench_state state, unsigned dir, FILE *out)
{
    const struct bench_samples *samples = &row->samples[state][dir];
    struct bench_summary summary = bench_row_summary(row, state, dir);
    struct bench_ratio ratio = bench_row_ratio(report, row, state, dir);
    char median[32], low[32], high[32];
    if (samples->count)
        fprintf(
            out, "<td class=\"num\">%s</td><td class=\"num\">%s &ndash; %s</td><td class=\"%s\">",
            bench_format_time(summary.median, median, sizeof median),
            bench_format_time(summary.low, low, sizeof low),
            bench_format_time(summary.high, high, sizeof high), bench_verdict_name(ratio.verdict));
    else
        fputs("<td colspan=\"3\">", out);
    if (samples->failed || samples->left_out) {
        fputs(samples->failed ? "<span class=\"failed\">failed: " : "<span>left out: ", out);
        bench_html_text(out, samples->reason.text);
        fputs("</span>", out);
    } else if (ratio.verdict != BENCH_NOTHING) {
        fprintf(out, "%.2f x, %s", ratio.ratio, bench_verdict_name(ratio.verdict));
    } else if (dir == report->options->reference) {
        fputs("reference", out);
    }
    fputs("</td></tr>\n", out);
}

static void put_table_rows(const struct bench_report *report, const struct bench_job *job,
                           const struct bench_row *row, FILE *out)
{
    for (unsigned s = 0; s < BENCH_STATES; s++)
        for (unsigned d = 0; d < report->options->dir_count; d++) {
            const struct bench_samples *samples = &row->samples[s][d];
            if (!samples->count && !samples->failed && !samples->left_out)
                continue;
            fputs("<tr><td>", out);
            bench_html_text(out, job->kind == BENCH_GPU ? row->name : job->name);
            fputs("</td><td>", out);
            bench_html_text(out, report->options->dirs[d].label);
            fprintf(out, "</td><td>%s</td>", bench_state_name(s));
            put_cell(report, row, s, d, out);
        }
}

static void put_table(const struct bench_report *report, FILE *out)
{
    fputs("<h2>All figures</h2>\n<div class=\"scroll\"><table><thead><tr><th>What</th><th>From</th>"
          "<th>State</th><th>Median</th><th>Interval</th><th>Compared</th></tr></thead><tbody>\n",
          out);
    for (size_t i = 0; i < report->job_count; i++)
        for (unsigned r = 0; r < report->jobs[i].row_count; r++)
            put_table_rows(report, &report->jobs[i], &report->jobs[i].rows[r], out);
    fputs("</tbody></table></div>\n", out);
}

int bench_report_html(const struct bench_report *report, FILE *out)
{
    fputs(head, out);
    put_intro(report, out);
    if (report->second)
        put_starts(report, out);
    put_all_advice(report, out);
    for (size_t i = 0; i < report->job_count; i++)
        if (report->jobs[i].kind == BENCH_GPU)
            bench_html_stacks(report, &report->jobs[i], out);
    bench_html_bars(report, BENCH_EXEC, "Commands", out);
    bench_html_bars(report, BENCH_LIB, "Libraries", out);
    bench_html_touched(report, out);
    put_table(report, out);
    fputs("</body></html>\n", out);
    return ferror(out) ? -1 : 0;
}
