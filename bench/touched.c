/* The runs that find out what is touched, and how their records become files with ranges. */
#include "touched.h"

#include "cold.h"
#include "load.h"
#include "measure.h"
#include "tree_copy.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Of a command's libraries these many are loaded alone, too: each takes a run. */
#define MAX_LOADS 12u

void bench_touched_close(struct bench_touched *touched)
{
    for (size_t i = 0; i < touched->lib_count; i++) {
        struct bench_touch *lib = &touched->libs[i];
        free(lib->path);
        bench_ranges_close(&lib->load.ranges);
        bench_ranges_close(&lib->run.ranges);
        for (unsigned d = 0; d < BENCH_MAX_DIRS; d++)
            bench_ranges_close(&lib->brought[d].ranges);
    }
    free(touched->libs);
    *touched = (struct bench_touched){ 0 };
}

static void fail(struct bench_touched *touched, const struct bench_reason *reason)
{
    touched->failed = true;
    touched->reason = *reason;
}

static bool is_library(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strstr(slash ? slash : path, ".so");
    return dot && (dot[3] == 0 || dot[3] == '.');
}

static uint64_t size_in(const char *root, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/%s", root, name);
    bool is_file = n > 0 && (size_t)n < sizeof path && lstat(path, &st) == 0 && S_ISREG(st.st_mode);
    return is_file ? (uint64_t)st.st_size : 0;
}

/* The kernel asks for whole pages; the last one ends with the file. */
static int clip(const struct bench_ranges *from, uint64_t size, struct bench_part *part)
{
    part->known = true;
    for (size_t i = 0; i < from->count; i++) {
        struct bench_range range = from->items[i];
        if (range.offset >= size)
            continue;
        uint64_t left = size - range.offset;
        if (bench_ranges_add(&part->ranges, range.offset, range.size < left ? range.size : left) <
            0)
            return -1;
    }
    return 0;
}

/* ---- one run on a mount that records */

static int record(const struct bench_options *options, const struct bench_job *job,
                  struct bench_reads *reads, struct bench_reason *reason)
{
    char path[PATH_MAX];
    struct bench_result result;
    if (bench_record_start(options->record_fd, options->timeout_s, path, sizeof path, reason) < 0)
        return -1;
    struct bench_dir dir = { .label = "recorded", .path = path };
    bench_run_once(options, job, &dir, &result);
    if (bench_record_stop(options->record_fd, options->timeout_s, reads, reason) < 0)
        return -1;
    return result.failed ? bench_fail(reason, "%s", result.reason.text) : 0;
}

static int add_lib(struct bench_touched *touched, const struct bench_read *read, uint64_t size,
                   bool is_load)
{
    struct bench_touch *libs = reallocarray(touched->libs, touched->lib_count + 1, sizeof *libs);
    if (!libs)
        return -1;
    touched->libs = libs;
    struct bench_touch *lib = &libs[touched->lib_count];
    *lib = (struct bench_touch){ .path = strdup(read->path), .size = size };
    if (!lib->path)
        return -1;
    touched->lib_count++;
    return clip(&read->ranges, size, is_load ? &lib->load : &lib->run);
}

static uint64_t used_bytes(const struct bench_touch *lib)
{
    return lib->run.known ? lib->run.ranges.bytes : lib->load.ranges.bytes;
}

static int most_first(const void *a, const void *b)
{
    uint64_t x = used_bytes(a), y = used_bytes(b);
    return (x < y) - (x > y);
}

static void take_reads(const char *root, const struct bench_reads *reads, bool is_load,
                       struct bench_touched *touched)
{
    for (size_t i = 0; i < reads->count; i++) {
        const struct bench_read *read = &reads->items[i];
        uint64_t size = is_library(read->path) ? size_in(root, read->path) : 0;
        if (!size) {
            touched->other_files++;
            touched->other_bytes += read->ranges.bytes;
        } else if (add_lib(touched, read, size, is_load) < 0) {
            fail(touched, &(struct bench_reason){ "out of memory" });
            return;
        }
    }
    if (touched->lib_count)
        qsort(touched->libs, touched->lib_count, sizeof *touched->libs, most_first);
}

/* ---- dlopen of one library that a command used */

/* A library that does not load by itself (it wants its program's symbols) has no load. */
static void record_load(const struct bench_options *options, const struct bench_tree *tree,
                        struct bench_touch *lib)
{
    AUTO(bench_reads_close) struct bench_reads reads = { 0 };
    AUTO(sfs_free) struct bench_job *job = calloc(1, sizeof *job); /* large */
    struct bench_reason reason;
    if (!job)
        return;
    job->kind = BENCH_LIB;
    if (bench_tree_plan(tree, lib->path, &job->plan, &reason) == 0 &&
        record(options, job, &reads, &reason) == 0)
        for (size_t i = 0; i < reads.count; i++)
            if (strcmp(reads.items[i].path, lib->path) == 0)
                clip(&reads.items[i].ranges, lib->size, &lib->load);
    bench_list_close(&job->plan);
}

static void record_loads(const struct bench_options *options, struct bench_touched *touched)
{
    AUTO(bench_tree_close) struct bench_tree tree = { .fd = -1 };
    struct bench_reason reason;
    if (bench_tree_open(&tree, options->dirs[options->reference].path, &reason) < 0)
        return;
    for (size_t i = 0; i < touched->lib_count && i < MAX_LOADS && !bench_stopped(); i++)
        record_load(options, &tree, &touched->libs[i]);
}

/* ---- what a cold run leaves in the page cache */

static int add_resident(const unsigned char *pages, size_t count, uint64_t size,
                        struct bench_part *part)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < count; i++) {
        uint64_t left = size - i * page;
        if ((pages[i] & 1) &&
            bench_ranges_add(&part->ranges, i * page, left < page ? left : page) < 0)
            return -1;
    }
    part->known = true;
    return 0;
}

static void look_into_cache(const char *root, struct bench_touch *lib, unsigned dir)
{
    char path[PATH_MAX];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), count = (lib->size + page - 1) / page;
    int n = snprintf(path, sizeof path, "%s/%s", root, lib->path);
    if (n < 0 || (size_t)n >= sizeof path || size_in(root, lib->path) != lib->size)
        return;
    AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    AUTO(sfs_free) unsigned char *pages = malloc(count);
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, lib->size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return;
    if (pages && mincore(map, lib->size, pages) == 0)
        add_resident(pages, count, lib->size, &lib->brought[dir]);
    munmap(map, lib->size);
}

static void look_at_cold_runs(const struct bench_options *options, struct bench_job *job)
{
    for (unsigned d = 0; d < options->dir_count && !bench_stopped(); d++) {
        struct bench_result result = { 0 };
        if (bench_cold_make(options, &options->dirs[d], &job->plan, &result.reason) < 0)
            continue;
        bench_run_once(options, job, &options->dirs[d], &result);
        for (size_t i = 0; i < job->touched.lib_count && !result.failed; i++)
            look_into_cache(options->dirs[d].path, &job->touched.libs[i], d);
    }
}

/* ---- */

static void touch_job(struct bench_report *report, struct bench_job *job)
{
    const struct bench_options *options = report->options;
    AUTO(bench_reads_close) struct bench_reads reads = { 0 };
    struct bench_reason reason;
    bool is_load = job->kind == BENCH_LIB;
    int r = record(options, job, &reads, &reason);
    if (bench_stopped())
        return;
    if (r < 0) {
        fail(&job->touched, &reason);
        return;
    }
    take_reads(options->dirs[options->reference].path, &reads, is_load, &job->touched);
    if (!is_load)
        record_loads(options, &job->touched);
    if (report->cold)
        look_at_cold_runs(options, job);
}

void bench_touch_jobs(struct bench_report *report)
{
    if (report->options->record_fd <= 0)
        return;
    for (size_t i = 0; i < report->job_count && !bench_stopped(); i++) {
        struct bench_job *job = &report->jobs[i];
        if (!report->options->quiet)
            fprintf(stderr, "\r\033[K%.60s: what it touches", job->name);
        if (!job->failed)
            touch_job(report, job);
    }
}
