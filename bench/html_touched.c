/* A strip a part: the file from its first byte at the left to its last at the right, dark where it
 * was touched. Drawn in cells, as wide as a pixel on a large screen, so that a file of thousands of
 * ranges is no larger a picture than one of a few. */
#include "html.h"
#include "report_touched.h"

#include <string.h>

#define CELLS    600u
#define MAX_LIBS 12u /* of a job */

/* Marks the cells that hold a byte of the part. */
static void mark(const struct bench_part *part, uint64_t size, bool *cells)
{
    for (size_t i = 0; i < part->ranges.count; i++) {
        const struct bench_range *range = &part->ranges.items[i];
        uint64_t last = range->offset + range->size - 1;
        unsigned from = (unsigned)((double)range->offset / (double)size * CELLS);
        unsigned to = (unsigned)((double)last / (double)size * CELLS);
        for (unsigned c = from; c <= to && c < CELLS; c++)
            cells[c] = true;
    }
}

static void put_strip(const struct bench_part *part, uint64_t size, const char *kind, FILE *out)
{
    bool cells[CELLS + 1] = { false };
    mark(part, size, cells);
    fprintf(out,
            "<svg class=\"strip %s\" viewBox=\"0 0 %u 10\" preserveAspectRatio=\"none\" "
            "aria-hidden=\"true\"><path d=\"",
            kind, CELLS);
    for (unsigned from = 0; from < CELLS;) {
        unsigned to = from;
        while (cells[to])
            to++;
        if (to > from)
            fprintf(out, "M%u 0h%uv10H%uz", from, to - from, from);
        from = to + 1;
    }
    fputs("\"/></svg>", out);
}

static void put_part(const char *name, const char *kind, const struct bench_part *part,
                     uint64_t size, FILE *out)
{
    char bytes[16];
    if (!part->known)
        return;
    fputs("<div class=\"touch\"><span class=\"label\">", out);
    bench_html_text(out, name);
    fputs("</span>", out);
    put_strip(part, size, kind, out);
    fprintf(out, "<span class=\"num\">%s, %.1f %%, %zu range%s</span></div>\n",
            bench_format_size(part->ranges.bytes, bytes, sizeof bytes),
            100 * (double)part->ranges.bytes / (double)size, part->ranges.count,
            part->ranges.count == 1 ? "" : "s");
}

static void put_lib(const struct bench_report *report, const struct bench_touch *lib, FILE *out)
{
    const char *slash = strrchr(lib->path, '/');
    char size[16];
    fputs("<div class=\"lib\"><h4>", out);
    bench_html_text(out, slash ? slash + 1 : lib->path);
    fprintf(out, " <span class=\"soft\">%s</span></h4>\n",
            bench_format_size(lib->size, size, sizeof size));
    put_part("dlopen", "used", &lib->load, lib->size, out);
    put_part("whole run", "used", &lib->run, lib->size, out);
    for (unsigned d = 0; d < report->options->dir_count; d++) {
        char name[80];
        snprintf(name, sizeof name, "brought by %s", report->options->dirs[d].label);
        put_part(name, "brought", &lib->brought[d], lib->size, out);
    }
    fputs("</div>\n", out);
}

/* Used from end to end: nothing is to be seen in its strip. */
static bool is_whole(const struct bench_touch *lib)
{
    const struct bench_part *used = lib->run.known ? &lib->run : &lib->load;
    return used->known && used->ranges.bytes >= lib->size / 100 * 95;
}

static void put_whole_ones(const struct bench_report *report, const struct bench_touched *touched,
                           FILE *out)
{
    size_t count = 0;
    for (size_t i = 0; i < touched->lib_count && i < MAX_LIBS; i++)
        count += is_whole(&touched->libs[i]);
    if (!count)
        return;
    fprintf(out, "<details><summary class=\"soft\">Used whole: %zu.</summary>\n", count);
    for (size_t i = 0; i < touched->lib_count && i < MAX_LIBS; i++)
        if (is_whole(&touched->libs[i]))
            put_lib(report, &touched->libs[i], out);
    fputs("</details>\n", out);
}

static void put_job(const struct bench_report *report, const struct bench_job *job, FILE *out)
{
    const struct bench_touched *touched = &job->touched;
    char others[16];
    fputs("<h3>", out);
    bench_html_text(out, job->name);
    fputs("</h3>\n", out);
    if (touched->failed) {
        fputs("<p class=\"failed\">", out);
        bench_html_text(out, touched->reason.text);
        fputs("</p>\n", out);
        return;
    }
    fprintf(out, "<p class=\"soft\">Libraries: %zu. Other files: %zu, %s of them.</p>\n",
            touched->lib_count, touched->other_files,
            bench_format_size(touched->other_bytes, others, sizeof others));
    for (size_t i = 0; i < touched->lib_count && i < MAX_LIBS; i++)
        if (!is_whole(&touched->libs[i]))
            put_lib(report, &touched->libs[i], out);
    put_whole_ones(report, touched, out);
    if (touched->lib_count > MAX_LIBS)
        fprintf(out, "<p class=\"soft\">And %zu with less.</p>\n", touched->lib_count - MAX_LIBS);
}

void bench_html_touched(const struct bench_report *report, FILE *out)
{
    if (!report->options->record_fd)
        return;
    fputs("<h2>What was read</h2>\n<p class=\"soft\">A strip is a file, its first byte at the "
          "left. Touched (<b class=\"usedkey\"></b>dlopen: by loading alone; whole run: by the "
          "command): pages that the process used, recorded in a run of its own by a stagefs mount "
          "without read-ahead. <b class=\"broughtkey\"></b>Brought: what a cold run left of it in "
          "the page cache, read-ahead included.</p>\n",
          out);
    for (size_t i = 0; i < report->job_count; i++)
        if (!report->jobs[i].failed)
            put_job(report, &report->jobs[i], out);
}
