/* A job at a time, so that warm means warm; in it a round is one run on every directory in an order
 * that is shuffled anew, so that drift of the machine falls on all alike. */
#include "measure.h"

#include "cold.h"
#include "gpu.h"
#include "load.h"
#include "record.h"
#include "root.h"
#include "tree_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

const char *bench_state_name(enum bench_state state)
{
    static const char *const names[] = { "first", "second", "warm" };
    return names[state];
}

/* ---- jobs */

static struct bench_job *add_job(struct bench_report *report, enum bench_kind kind,
                                 const char *name)
{
    struct bench_job *jobs = reallocarray(report->jobs, report->job_count + 1, sizeof *jobs);
    if (!jobs)
        return NULL;
    report->jobs = jobs;
    struct bench_job *job = &jobs[report->job_count];
    *job = (struct bench_job){ .kind = kind, .name = strdup(name) };
    if (!job->name)
        return NULL;
    report->job_count++;
    return job;
}

static int add_failed_job(struct bench_report *report, const char *name,
                          const struct bench_reason *reason)
{
    struct bench_job *job = add_job(report, BENCH_LIB, name);
    if (!job)
        return -1;
    job->failed = true;
    job->reason = *reason;
    return 0;
}

static int add_lib_job(struct bench_report *report, const struct bench_tree *tree, const char *lib)
{
    struct bench_job *job = add_job(report, BENCH_LIB, lib);
    struct stat st;
    if (!job)
        return -1;
    job->failed = bench_tree_plan(tree, lib, &job->plan, &job->reason) < 0;
    if (fstatat(tree->fd, lib, &st, AT_SYMLINK_NOFOLLOW) == 0)
        job->size = (uint64_t)st.st_size;
    return 0;
}

static int add_glob_jobs(struct bench_report *report, const struct bench_tree *tree,
                         const char *glob)
{
    AUTO(bench_list_close) struct bench_list libs = { 0 };
    struct bench_reason reason;
    if (bench_tree_find(tree, glob, &libs, &reason) < 0)
        return add_failed_job(report, glob, &reason);
    for (size_t i = 0; i < libs.count; i++)
        if (add_lib_job(report, tree, libs.items[i]) < 0)
            return -1;
    return 0;
}

/* What is loaded is found once, in one directory, so that all load the same files. */
static int make_tree_jobs(struct bench_report *report)
{
    const struct bench_options *options = report->options;
    const char *path = options->dirs[options->found_in].path;
    AUTO(bench_tree_close) struct bench_tree tree = { .fd = -1 };
    struct bench_reason reason;
    if (bench_tree_open(&tree, path, &reason) < 0)
        return add_failed_job(report, path, &reason);
    for (size_t i = 0; i < options->libs.count; i++)
        if (add_glob_jobs(report, &tree, options->libs.items[i]) < 0)
            return -1;
    if (!options->gpu)
        return 0;
    struct bench_job *job = add_job(report, BENCH_GPU, "CUDA");
    return job ? bench_gpu_plan(&tree, &job->plan) : -1;
}

static int make_jobs(struct bench_report *report)
{
    const struct bench_options *options = report->options;
    if ((options->libs.count || options->gpu) && make_tree_jobs(report) < 0)
        return -1;
    for (size_t i = 0; i < options->execs.count; i++)
        if (!add_job(report, BENCH_EXEC, options->execs.items[i]))
            return -1;
    return 0;
}

/* ---- runs */

static struct bench_row *find_row(struct bench_job *job, const char *name)
{
    for (unsigned i = 0; i < job->row_count; i++)
        if (strcmp(job->rows[i].name, name) == 0)
            return &job->rows[i];
    if (job->row_count == BENCH_MAX_VALUES)
        return NULL;
    struct bench_row *row = &job->rows[job->row_count++];
    *row = (struct bench_row){ 0 };
    snprintf(row->name, sizeof row->name, "%.31s", name);
    return row;
}

static const char *main_row(const struct bench_job *job)
{
    return job->kind == BENCH_LIB ? "dlopen" : job->kind == BENCH_EXEC ? "total" : "start-up";
}

static void fail_samples(struct bench_samples *samples, const struct bench_reason *reason)
{
    samples->failed = true;
    samples->reason = *reason;
}

static int keep_value(struct bench_samples *samples, double seconds, unsigned runs)
{
    if (!samples->values)
        samples->values = calloc(runs, sizeof *samples->values);
    if (!samples->values)
        return -1;
    if (samples->count < runs)
        samples->values[samples->count++] = seconds;
    return 0;
}

static int keep_result(struct bench_job *job, const struct bench_result *result,
                       enum bench_state state, unsigned dir, unsigned runs)
{
    for (unsigned i = 0; i < result->count; i++) {
        struct bench_row *row = find_row(job, result->values[i].name);
        if (row && keep_value(&row->samples[state][dir], result->values[i].seconds, runs) < 0)
            return -1;
    }
    for (unsigned i = 0; i < result->left_out_count; i++) {
        struct bench_row *row = find_row(job, result->left_out[i].name);
        if (!row)
            continue;
        row->samples[state][dir].left_out = true;
        row->samples[state][dir].reason = result->left_out[i].reason;
    }
    struct bench_row *row = result->failed ? find_row(job, main_row(job)) : NULL;
    if (row)
        fail_samples(&row->samples[state][dir], &result->reason);
    return 0;
}

void bench_run_once(const struct bench_options *options, const struct bench_job *job,
                    const struct bench_dir *dir, struct bench_result *result)
{
    if (job->kind == BENCH_LIB)
        bench_load_run(dir, &job->plan, options->timeout_s, result);
    else if (job->kind == BENCH_EXEC)
        bench_root_run(options, dir, job->name, result);
    else
        bench_gpu_run(dir, &job->plan, options->timeout_s, result);
}

/* A mount whose process is dead goes on with what the kernel has cached, and that is no time of
 * the mount. Only statvfs() asks it every time. */
static void run_alive(const struct bench_options *options, const struct bench_job *job,
                      unsigned dir, struct bench_result *result)
{
    struct statvfs fs;
    bench_run_once(options, job, &options->dirs[dir], result);
    if (result->failed || statvfs(options->dirs[dir].path, &fs) == 0)
        return;
    *result = (struct bench_result){ .failed = true };
    bench_fail(&result->reason, "the mount has died: %s", strerror(errno));
}

/* Runs on a fresh mount that has what earlier ones learned. */
static void run_learned(const struct bench_options *options, const struct bench_job *job,
                        struct bench_result *result)
{
    char path[4096];
    struct bench_dir dir = options->dirs[options->found_in];
    if (bench_record_learning(options->record_fd, options->timeout_s, path, sizeof path,
                              &result->reason) < 0) {
        result->failed = true;
        return;
    }
    dir.path = path;
    bench_run_once(options, job, &dir, result);
    struct bench_reason reason;
    if (bench_record_end(options->record_fd, options->timeout_s, &reason) < 0 && !result->failed) {
        result->failed = true;
        result->reason = reason;
    }
}

/* The first start is what all second ones learn from, so it is done once, and does not count. */
static void teach(const struct bench_options *options, struct bench_job *job)
{
    struct bench_result result = { 0 };
    if (bench_record_forget(options->record_fd, options->timeout_s, &result.reason) < 0 ||
        bench_cold_make(options, &options->dirs[options->found_in], &job->plan, &result.reason) < 0)
        result.failed = true;
    else
        run_learned(options, job, &result);
    struct bench_row *row = result.failed && !bench_stopped() ? find_row(job, main_row(job)) : NULL;
    if (row)
        fail_samples(&row->samples[BENCH_SECOND][options->found_in], &result.reason);
}

/* One run that counts. A directory on which the job failed is not tried again. */
static int sample(struct bench_report *report, struct bench_job *job, enum bench_state state,
                  unsigned dir)
{
    const struct bench_options *options = report->options;
    struct bench_result result = { 0 };
    if (state != BENCH_WARM &&
        bench_cold_make(options, &options->dirs[dir], &job->plan, &result.reason) < 0)
        result.failed = true;
    else if (state == BENCH_SECOND && dir == options->found_in)
        run_learned(options, job, &result);
    else
        run_alive(options, job, dir, &result);
    if (bench_stopped())
        return 0;
    return keep_result(job, &result, state, dir, options->runs);
}

static bool has_failed(struct bench_job *job, enum bench_state state, unsigned dir)
{
    for (unsigned i = 0; i < job->row_count; i++)
        if (job->rows[i].samples[state][dir].failed)
            return true;
    return false;
}

/* The warm-up is not counted, but a failure in it is told. */
static void warm_up(const struct bench_options *options, struct bench_job *job, unsigned dir)
{
    struct bench_result result;
    run_alive(options, job, dir, &result);
    bool counts = result.failed && !bench_stopped();
    struct bench_row *row = counts ? find_row(job, main_row(job)) : NULL;
    if (row)
        fail_samples(&row->samples[BENCH_WARM][dir], &result.reason);
}

static void show_progress(const struct bench_options *options, const struct bench_job *job,
                          enum bench_state state, unsigned round)
{
    if (!options->quiet)
        fprintf(stderr, "\r\033[K%.60s: %s %u/%u", job->name, bench_state_name(state), round + 1,
                options->runs);
}

static int measure_state(struct bench_report *report, struct bench_job *job, enum bench_state state,
                         uint64_t *random)
{
    const struct bench_options *options = report->options;
    unsigned order[BENCH_MAX_DIRS];
    if (state == BENCH_SECOND)
        teach(options, job);
    for (unsigned i = 0; i < options->dir_count; i++) {
        order[i] = i;
        if (state == BENCH_WARM && !bench_stopped())
            warm_up(options, job, i);
    }
    for (unsigned round = 0; round < options->runs && !bench_stopped(); round++) {
        show_progress(options, job, state, round);
        bench_shuffle(order, options->dir_count, random);
        for (unsigned i = 0; i < options->dir_count; i++)
            if (!bench_stopped() && !has_failed(job, state, order[i]) &&
                sample(report, job, state, order[i]) < 0)
                return -1;
    }
    return 0;
}

static void clear_progress(const struct bench_options *options)
{
    if (!options->quiet)
        fputs("\r\033[K", stderr);
}

static int measure_and_tell_state(struct bench_report *report, struct bench_job *job,
                                  enum bench_state state, const struct bench_watcher *watcher,
                                  uint64_t *random)
{
    if (bench_stopped())
        return 0;
    int r = measure_state(report, job, state, random);
    clear_progress(report->options);
    if (r == 0 && watcher->state_ends)
        watcher->state_ends(report, job, state);
    return r;
}

static int measure_job(struct bench_report *report, struct bench_job *job,
                       const struct bench_watcher *watcher, uint64_t *random)
{
    if (watcher->job_begins)
        watcher->job_begins(report, job);
    if (job->failed)
        return 0;
    int r = 0;
    if (report->cold)
        r = measure_and_tell_state(report, job, BENCH_FIRST, watcher, random);
    if (r == 0 && report->second)
        r = measure_and_tell_state(report, job, BENCH_SECOND, watcher, random);
    return r < 0 ? r : measure_and_tell_state(report, job, BENCH_WARM, watcher, random);
}

int bench_measure(const struct bench_options *options, const struct bench_watcher *watcher,
                  struct bench_report *report)
{
    *report = (struct bench_report){ .options = options };
    uint64_t random = options->seed;
    report->cold = options->cold && bench_cold_check(&report->cold_reason) == 0;
    report->second = report->cold && options->record_fd;
    if (make_jobs(report) < 0)
        return -1;
    for (size_t i = 0; i < report->job_count && !bench_stopped(); i++)
        if (measure_job(report, &report->jobs[i], watcher, &random) < 0)
            return -1;
    bench_touch_jobs(report);
    clear_progress(options);
    report->ended_by = bench_stopped();
    return 0;
}

static bool is_repeated(const struct bench_report *report, size_t job, size_t at)
{
    const char *path = report->jobs[job].plan.items[at];
    for (size_t i = 0; i <= job; i++)
        for (size_t k = 0; k < (i == job ? at : report->jobs[i].plan.count); k++)
            if (strcmp(report->jobs[i].plan.items[k], path) == 0)
                return true;
    return false;
}

int bench_list_needed(const struct bench_options *options, FILE *out)
{
    AUTO(bench_report_close) struct bench_report report = { .options = options };
    if (make_jobs(&report) < 0)
        return -1;
    for (size_t i = 0; i < report.job_count; i++)
        for (size_t k = 0; k < report.jobs[i].plan.count; k++)
            if (!is_repeated(&report, i, k) &&
                fwrite(report.jobs[i].plan.items[k], strlen(report.jobs[i].plan.items[k]) + 1, 1,
                       out) != 1)
                return -1;
    return fflush(out) == 0 ? 0 : -1;
}

/* ---- what was found */

void bench_report_close(struct bench_report *report)
{
    for (size_t i = 0; i < report->job_count; i++) {
        struct bench_job *job = &report->jobs[i];
        for (unsigned r = 0; r < job->row_count; r++)
            for (unsigned s = 0; s < BENCH_STATES; s++)
                for (unsigned d = 0; d < BENCH_MAX_DIRS; d++)
                    free(job->rows[r].samples[s][d].values);
        bench_list_close(&job->plan);
        bench_touched_close(&job->touched);
        free(job->name);
    }
    sfs_free(&report->jobs);
    report->job_count = 0;
}

bool bench_report_has_failed(const struct bench_report *report)
{
    for (size_t i = 0; i < report->job_count; i++) {
        const struct bench_job *job = &report->jobs[i];
        if (job->failed)
            return true;
        for (unsigned r = 0; r < job->row_count; r++)
            for (unsigned s = 0; s < BENCH_STATES; s++)
                for (unsigned d = 0; d < BENCH_MAX_DIRS; d++)
                    if (job->rows[r].samples[s][d].failed)
                        return true;
    }
    return false;
}

struct bench_summary bench_row_summary(const struct bench_row *row, enum bench_state state,
                                       unsigned dir)
{
    const struct bench_samples *samples = &row->samples[state][dir];
    return bench_summarize(samples->values, samples->count);
}

struct bench_ratio bench_row_ratio(const struct bench_report *report, const struct bench_row *row,
                                   enum bench_state state, unsigned dir)
{
    unsigned reference = report->options->reference;
    struct bench_summary mine = bench_row_summary(row, state, dir);
    struct bench_summary theirs = bench_row_summary(row, state, reference);
    if (dir == reference)
        return (struct bench_ratio){ .verdict = BENCH_NOTHING };
    return bench_compare(&mine, &theirs);
}
