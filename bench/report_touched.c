/* What was touched, in the table and in the JSON; html_touched.c has its part of the page. */
#include "report_touched.h"

#include <string.h>

#define MAX_TOLD 12u /* libraries of a job in the table; JSON has all */

json_t *bench_json_text(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    AUTO(sfs_free) char *copy = strdup(text);
    for (char *c = copy; c && *c; c++)
        if (*c & 0x80)
            *c = '?';
    return json_string(copy ? copy : "");
}

const char bench_touched_words[] =
    "touched: pages that the process used, recorded in a run of its own by a stagefs mount without "
    "read-ahead.\nload: by dlopen alone, with what the library needs; run: by all of the command. "
    "brought: what a cold run left\nof the file in the page cache, read-ahead included.\n";

static void print_part(const char *name, const struct bench_part *part, uint64_t size, FILE *out)
{
    char bytes[16];
    if (part->known)
        fprintf(out, "  %s %5s %5.1f %% in %zu", name,
                bench_format_size(part->ranges.bytes, bytes, sizeof bytes),
                100 * (double)part->ranges.bytes / (double)size, part->ranges.count);
}

static void print_lib(const struct bench_report *report, const struct bench_touch *lib, FILE *out)
{
    const char *slash = strrchr(lib->path, '/');
    char size[16];
    fprintf(out, "    %s, %s\n      touched", slash ? slash + 1 : lib->path,
            bench_format_size(lib->size, size, sizeof size));
    print_part("load", &lib->load, lib->size, out);
    print_part("run", &lib->run, lib->size, out);
    bool begun = false;
    for (unsigned d = 0; d < report->options->dir_count; d++) {
        if (lib->brought[d].known && !begun)
            fputs("\n      brought", out);
        begun |= lib->brought[d].known;
        print_part(report->options->dirs[d].label, &lib->brought[d], lib->size, out);
    }
    fputc('\n', out);
}

void bench_report_touched(const struct bench_report *report, const struct bench_job *job, FILE *out)
{
    const struct bench_touched *touched = &job->touched;
    char others[16];
    if (touched->failed)
        fprintf(out, "%s\n  what it touches: FAILED: %s\n", job->name, touched->reason.text);
    if (!touched->lib_count && !touched->other_files)
        return;
    fprintf(out, "%s\n  touched: %zu librar%s and %zu other files (%s)\n", job->name,
            touched->lib_count, touched->lib_count == 1 ? "y" : "ies", touched->other_files,
            bench_format_size(touched->other_bytes, others, sizeof others));
    for (size_t i = 0; i < touched->lib_count && i < MAX_TOLD; i++)
        print_lib(report, &touched->libs[i], out);
    if (touched->lib_count > MAX_TOLD)
        fprintf(out, "    and %zu with less (--json has them)\n", touched->lib_count - MAX_TOLD);
}

/* ---- JSON */

static json_t *pack_part(const struct bench_part *part, uint64_t size)
{
    if (!part->known)
        return json_null();
    json_t *ranges = json_array();
    for (size_t i = 0; i < part->ranges.count; i++)
        json_array_append_new(ranges, json_pack("[I, I]", (json_int_t)part->ranges.items[i].offset,
                                                (json_int_t)part->ranges.items[i].size));
    return json_pack("{s:I, s:f, s:o}", "bytes", (json_int_t)part->ranges.bytes, "share",
                     (double)part->ranges.bytes / (double)size, "ranges", ranges);
}

static json_t *pack_lib(const struct bench_report *report, const struct bench_touch *lib)
{
    json_t *brought = json_object();
    for (unsigned d = 0; d < report->options->dir_count; d++)
        if (lib->brought[d].known)
            json_object_set_new(brought, report->options->dirs[d].label,
                                pack_part(&lib->brought[d], lib->size));
    return json_pack("{s:o, s:I, s:o, s:o, s:o}", "path", bench_json_text(lib->path), "size",
                     (json_int_t)lib->size, "load", pack_part(&lib->load, lib->size), "run",
                     pack_part(&lib->run, lib->size), "brought", brought);
}

json_t *bench_touched_json(const struct bench_report *report, const struct bench_job *job)
{
    const struct bench_touched *touched = &job->touched;
    json_t *libs = json_array();
    for (size_t i = 0; i < touched->lib_count; i++)
        json_array_append_new(libs, pack_lib(report, &touched->libs[i]));
    json_t *json = json_pack("{s:o, s:I, s:I}", "libraries", libs, "other_files",
                             (json_int_t)touched->other_files, "other_bytes",
                             (json_int_t)touched->other_bytes);
    if (touched->failed)
        json_object_set_new(json, "failed", bench_json_text(touched->reason.text));
    return json;
}
