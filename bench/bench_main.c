/* stagefs-bench: load times of the same files in several directories. */
#include "bench.h"
#include "gpu.h"
#include "load.h"
#include "measure.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXIT_USAGE 2

static const char usage[] =
    "usage: stagefs-bench --dir LABEL=PATH... [--lib GLOB]... [--exec CMD]... [--gpu] [OPTION]...\n"
    "\n"
    "Times, in fresh processes, what loads from each directory. It runs what is in them.\n"
    "\n"
    "  --dir LABEL=PATH    a directory to measure (at most 16); all should hold the same files\n"
    "  --lib GLOB          dlopen the libraries that match; '**' crosses directories\n"
    "  --exec CMD          run CMD with the directory as its root\n"
    "  --gpu               the stages of a CUDA start with the directory's libraries\n"
    "  --cold              also with nothing in the page cache (takes root)\n"
    "  --runs N            samples of each (default 5; 6 or more for 95 % intervals)\n"
    "  --reference LABEL   what the others are compared with (default: 'dir', else the last)\n"
    "  --before-cold CMD   run before each cold run\n"
    "  --drop-extra PATH   drop these files' pages too (images' blobs) before each cold run\n"
    "  --env K=V           for --exec\n"
    "  --no-root           --exec by this machine's sh, with the directory as the current one\n"
    "  --timeout SECONDS   for one run (default 300)\n"
    "  --seed N            of the order of runs\n"
    "  --delay LABEL=MS    put a sleep into each run on LABEL, to try the harness itself\n"
    "  --record-fd N       where mounts that record can be had (bench/record.h): what is touched\n"
    "  --html FILE         write a page to look at\n"
    "  --json              one JSON document on stdout\n"
    "  --found-in LABEL    where GLOBs are looked up (default: the reference)\n"
    "  --workdir DIR       where --exec begins\n"
    "  --user UID:GID[:G]  who --exec is, with what other groups; takes root\n"
    "  --about KEY=VALUE   for whoever reads the report\n"
    "  --list-needed       measure nothing: list what the libraries need, each path ended by a "
    "NUL\n"
    "  --quiet             no progress\n"
    "\n"
    "SIGINT and SIGTERM end it: what was measured by then is told. Exit status: 1 if anything "
    "failed\n"
    "that was asked for.\n";

enum {
    OPT_DIR = 256,
    OPT_LIB,
    OPT_EXEC,
    OPT_GPU,
    OPT_COLD,
    OPT_RUNS,
    OPT_REFERENCE,
    OPT_BEFORE_COLD,
    OPT_DROP_EXTRA,
    OPT_ENV,
    OPT_NO_ROOT,
    OPT_TIMEOUT,
    OPT_SEED,
    OPT_DELAY,
    OPT_RECORD_FD,
    OPT_HTML,
    OPT_JSON,
    OPT_FOUND_IN,
    OPT_WORKDIR,
    OPT_USER,
    OPT_ABOUT,
    OPT_LIST_NEEDED,
    OPT_QUIET,
};

static const struct option long_options[] = {
    { "dir", 1, NULL, OPT_DIR },
    { "lib", 1, NULL, OPT_LIB },
    { "exec", 1, NULL, OPT_EXEC },
    { "gpu", 0, NULL, OPT_GPU },
    { "cold", 0, NULL, OPT_COLD },
    { "runs", 1, NULL, OPT_RUNS },
    { "reference", 1, NULL, OPT_REFERENCE },
    { "before-cold", 1, NULL, OPT_BEFORE_COLD },
    { "drop-extra", 1, NULL, OPT_DROP_EXTRA },
    { "env", 1, NULL, OPT_ENV },
    { "no-root", 0, NULL, OPT_NO_ROOT },
    { "timeout", 1, NULL, OPT_TIMEOUT },
    { "seed", 1, NULL, OPT_SEED },
    { "delay", 1, NULL, OPT_DELAY },
    { "record-fd", 1, NULL, OPT_RECORD_FD },
    { "html", 1, NULL, OPT_HTML },
    { "json", 0, NULL, OPT_JSON },
    { "found-in", 1, NULL, OPT_FOUND_IN },
    { "workdir", 1, NULL, OPT_WORKDIR },
    { "user", 1, NULL, OPT_USER },
    { "about", 1, NULL, OPT_ABOUT },
    { "list-needed", 0, NULL, OPT_LIST_NEEDED },
    { "quiet", 0, NULL, OPT_QUIET },
    { "help", 0, NULL, 'h' },
    { 0 },
};

struct arguments {
    struct bench_options options;
    const char *reference, *found_in;
    struct bench_list delays;
};

static void close_arguments(struct arguments *args)
{
    struct bench_options *options = &args->options;
    for (unsigned i = 0; i < options->dir_count; i++)
        free(options->dirs[i].path);
    struct bench_list *lists[] = { &options->libs,        &options->execs,      &options->env,
                                   &options->before_cold, &options->drop_extra, &options->about,
                                   &args->delays };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        bench_list_close(lists[i]);
}

static int add_dir(struct bench_options *options, char *text, struct bench_reason *reason)
{
    char *path = strchr(text, '=');
    if (!path || path == text || !path[1])
        return bench_fail(reason, "--dir wants LABEL=PATH, not '%s'", text);
    *path++ = 0;
    for (unsigned i = 0; i < options->dir_count; i++)
        if (strcmp(options->dirs[i].label, text) == 0)
            return bench_fail(reason, "two directories are called '%s'", text);
    if (options->dir_count == BENCH_MAX_DIRS)
        return bench_fail(reason, "more than %u directories", BENCH_MAX_DIRS);
    /* A dead mount has no real path, and is a row that says so. */
    char *real = realpath(path, NULL);
    if (!real)
        real = strdup(path);
    options->dirs[options->dir_count++] = (struct bench_dir){ .label = text, .path = real };
    return real ? 0 : bench_fail(reason, "out of memory");
}

static int find_dir(const struct bench_options *options, const char *label)
{
    for (unsigned i = 0; i < options->dir_count; i++)
        if (strcmp(options->dirs[i].label, label) == 0)
            return (int)i;
    return -1;
}

static int parse_number(const char *text, unsigned min, unsigned max, unsigned *ret_number,
                        struct bench_reason *reason)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno || *end || end == text || *text == '-' || number < min || number > max)
        return bench_fail(reason, "'%s' is not a number from %u to %u", text, min, max);
    *ret_number = (unsigned)number;
    return 0;
}

static int apply_delays(struct arguments *args, struct bench_reason *reason)
{
    for (size_t i = 0; i < args->delays.count; i++) {
        char *text = args->delays.items[i], *value = strchr(text, '=');
        if (!value)
            return bench_fail(reason, "--delay wants LABEL=MS, not '%s'", text);
        *value++ = 0;
        int dir = find_dir(&args->options, text);
        if (dir < 0)
            return bench_fail(reason, "no directory is called '%s'", text);
        if (parse_number(value, 0, 60000, &args->options.dirs[dir].delay_ms, reason) < 0)
            return -1;
    }
    return 0;
}

static int take_user(struct bench_options *options, char *text, struct bench_reason *reason)
{
    unsigned count = 0;
    for (char *rest = text, *one; (one = strsep(&rest, ":")); count++)
        if (count == BENCH_MAX_IDS ||
            parse_number(one, 0, UINT32_MAX - 1, &options->user.ids[count], reason) < 0)
            return -1;
    options->user.count = count;
    return count < 2 ? bench_fail(reason, "--user wants UID:GID, not '%s'", text) : 0;
}

static int add_text(struct bench_list *list, const char *text, struct bench_reason *reason)
{
    return bench_list_add(list, text) < 0 ? bench_fail(reason, "out of memory") : 0;
}

static int take_flag(struct arguments *args, int option)
{
    struct bench_options *options = &args->options;
    options->gpu |= option == OPT_GPU;
    options->cold |= option == OPT_COLD;
    options->no_root |= option == OPT_NO_ROOT;
    options->json |= option == OPT_JSON;
    options->quiet |= option == OPT_QUIET;
    options->list_needed |= option == OPT_LIST_NEEDED;
    return 0;
}

/* Those whose value is kept as it is. False: it is none of them. */
static bool take_text(struct arguments *args, int option, const char *text)
{
    struct bench_options *options = &args->options;
    const char **target = option == OPT_REFERENCE  ? &args->reference
                          : option == OPT_FOUND_IN ? &args->found_in
                          : option == OPT_WORKDIR  ? &options->workdir
                          : option == OPT_HTML     ? &options->html
                                                   : NULL;
    if (target)
        *target = text;
    return target != NULL;
}

static int take_option(struct arguments *args, int option, char *text, struct bench_reason *reason)
{
    struct bench_options *options = &args->options;
    unsigned seed, fd;
    switch (option) {
    case OPT_DIR:
        return add_dir(options, text, reason);
    case OPT_LIB:
        return add_text(&options->libs, text, reason);
    case OPT_EXEC:
        return add_text(&options->execs, text, reason);
    case OPT_BEFORE_COLD:
        return add_text(&options->before_cold, text, reason);
    case OPT_DROP_EXTRA:
        return add_text(&options->drop_extra, text, reason);
    case OPT_ENV:
        return strchr(text, '=') ? add_text(&options->env, text, reason)
                                 : bench_fail(reason, "--env wants K=V, not '%s'", text);
    case OPT_ABOUT:
        return strchr(text, '=') ? add_text(&options->about, text, reason)
                                 : bench_fail(reason, "--about wants KEY=VALUE, not '%s'", text);
    case OPT_USER:
        return take_user(options, text, reason);
    case OPT_DELAY:
        return add_text(&args->delays, text, reason);
    case OPT_RUNS:
        return parse_number(text, 1, BENCH_MAX_RUNS, &options->runs, reason);
    case OPT_TIMEOUT:
        return parse_number(text, 1, 86400, &options->timeout_s, reason);
    case OPT_SEED:
        if (parse_number(text, 0, UINT_MAX, &seed, reason) < 0)
            return -1;
        options->seed = seed;
        return 0;
    case OPT_RECORD_FD:
        if (parse_number(text, 3, 1000000, &fd, reason) < 0)
            return -1;
        options->record_fd = (int)fd;
        return 0;
    default:
        return take_text(args, option, text) ? 0 : take_flag(args, option);
    }
}

/* After all options: what they mean together. */
static int settle(struct arguments *args, struct bench_reason *reason)
{
    struct bench_options *options = &args->options;
    if (options->dir_count == 0)
        return bench_fail(reason, "needs --dir LABEL=PATH");
    if (!options->libs.count && !options->execs.count && !options->gpu)
        return bench_fail(reason, "needs --lib GLOB, --exec CMD or --gpu");
    int reference = find_dir(options, args->reference ? args->reference : "dir");
    if (reference < 0 && args->reference)
        return bench_fail(reason, "no directory is called '%s'", args->reference);
    options->reference = reference < 0 ? options->dir_count - 1 : (unsigned)reference;
    int found_in = args->found_in ? find_dir(options, args->found_in) : (int)options->reference;
    if (found_in < 0)
        return bench_fail(reason, "no directory is called '%s'", args->found_in);
    options->found_in = (unsigned)found_in;
    options->quiet |= !isatty(STDERR_FILENO);
    /* Not where children report, and none of theirs. */
    if (options->record_fd &&
        (options->record_fd = fcntl(options->record_fd, F_DUPFD_CLOEXEC, 10)) < 0)
        return bench_fail(reason, "--record-fd: %s", strerror(errno));
    return apply_delays(args, reason);
}

/* 0; EXIT_USAGE with the reason; -1: help was asked for. */
static int parse(int argc, char **argv, struct arguments *args, struct bench_reason *reason)
{
    args->options.runs = 5;
    args->options.timeout_s = 300;
    args->options.seed = (uint64_t)time(NULL);
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "h", long_options, NULL)) != -1;) {
        if (c == 'h')
            return -1;
        if (c == '?') {
            bench_fail(reason, "unknown option, or one without its value: %s", argv[optind - 1]);
            return EXIT_USAGE;
        }
        if (take_option(args, c, optarg, reason) < 0)
            return EXIT_USAGE;
    }
    if (optind < argc) {
        bench_fail(reason, "does not take '%s'", argv[optind]);
        return EXIT_USAGE;
    }
    return settle(args, reason) < 0 ? EXIT_USAGE : 0;
}

static int write_html(const struct bench_report *report, const char *path)
{
    AUTO(sfs_close_file) FILE *file = fopen(path, "we");
    if (!file || bench_report_html(report, file) < 0 || fflush(file) != 0) {
        fprintf(stderr, "stagefs-bench: %s: %s\n", path, strerror(errno));
        return -1;
    }
    return 0;
}

static void tell_job(const struct bench_report *report, const struct bench_job *job)
{
    bench_report_job(report, job, stdout);
}

static void tell_rows(const struct bench_report *report, const struct bench_job *job,
                      enum bench_state state)
{
    bench_report_rows(report, job, state, stdout);
}

/* Exit status: 128 and the signal for one that was ended, as a shell tells it. */
static int measure_and_tell(const struct bench_options *options)
{
    static const struct bench_watcher table = { tell_job, tell_rows }, nobody = { NULL, NULL };
    AUTO(bench_report_close) struct bench_report report;
    struct bench_reason reason;
    if (bench_stop_watch(&reason) < 0) {
        fprintf(stderr, "stagefs-bench: %s\n", reason.text);
        return EXIT_FAILURE;
    }
    if (bench_measure(options, options->json ? &nobody : &table, &report) < 0) {
        fputs("stagefs-bench: out of memory\n", stderr);
        return EXIT_FAILURE;
    }
    bool told = true;
    if (options->json)
        told = bench_report_json(&report, stdout) == 0 && fflush(stdout) == 0;
    else
        bench_report_end(&report, stdout);
    if (options->html)
        told &= write_html(&report, options->html) == 0;
    if (report.ended_by)
        return 128 + report.ended_by;
    return told && !bench_report_has_failed(&report) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--child-load") == 0)
        return bench_load_child(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], "--child-gpu") == 0)
        return bench_gpu_child(argc - 2, argv + 2);
    signal(SIGPIPE, SIG_IGN);
    /* Two things that change how CUDA starts; both are in the report. Without the cache every run
     * compiles the kernel, not only the first. */
    setenv("CUDA_MODULE_LOADING", "LAZY", 0);
    setenv("CUDA_CACHE_DISABLE", "1", 0);
    AUTO(close_arguments) struct arguments args = { 0 };
    struct bench_reason reason;
    int r = parse(argc, argv, &args, &reason);
    if (r < 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (r == EXIT_USAGE) {
        fprintf(stderr, "stagefs-bench: %s\n", reason.text);
        return EXIT_USAGE;
    }
    if (args.options.list_needed)
        return bench_list_needed(&args.options, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    return measure_and_tell(&args.options);
}
