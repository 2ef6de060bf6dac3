/* The harness as a whole: the program, run on small directories made here. SFS_BENCH is the
 * program, SFS_BENCH_LIBS the directory with the libraries to load. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE "libbench_probe.so"
#define CRASH "libbench_crash.so"
#define NEEDS "libbench_needs.so"

static char work[64];

static void make_work(void)
{
    snprintf(work, sizeof work, "/tmp/test-bench-XXXXXX");
    cr_assert(mkdtemp(work));
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void shell(const char *format, ...)
{
    char command[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    cr_assert_eq(system(command), 0, "%s", command);
}

static void remove_work(void)
{
    shell("rm -rf %s", work);
}

static void add_lib(const char *dir, const char *lib)
{
    shell("mkdir -p %s/%s/lib && cp %s/%s %s/%s/lib/", work, dir, getenv("SFS_BENCH_LIBS"), lib,
          work, dir);
}

/* Runs the program in `work`; its stdout as JSON (NULL: none), its exit status in *ret_status. */
static json_t *run(const char *arguments, int *ret_status)
{
    char command[4096];
    snprintf(command, sizeof command, "cd %s && %s --json %s 2> err", work, getenv("SFS_BENCH"),
             arguments);
    FILE *out = popen(command, "r");
    cr_assert(out);
    json_t *json = json_loadf(out, 0, NULL);
    int status = pclose(out);
    *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return json;
}

static json_t *benchmark(json_t *json, size_t i)
{
    return json_array_get(json_object_get(json, "benchmarks"), i);
}

/* The result of benchmark `i`, first row, for directory `label`, warm. */
static json_t *result_of(json_t *json, size_t i, const char *label)
{
    json_t *rows = json_object_get(benchmark(json, i), "rows");
    json_t *results = json_object_get(json_array_get(rows, 0), "results"), *result;
    size_t k;
    json_array_foreach(results, k, result)
    {
        if (strcmp(json_string_value(json_object_get(result, "directory")), label) == 0)
            return result;
    }
    return NULL;
}

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

TestSuite(bench_run, .init = make_work, .fini = remove_work);

Test(bench_run, gives_every_directory_all_its_samples)
{
    int status;
    add_lib("a", PROBE);
    add_lib("b", PROBE);
    json_t *json = run("--dir a=a --dir b=b --lib '**/" PROBE "' --runs 6", &status);
    cr_assert_eq(status, 0);
    cr_assert_eq(json_array_size(json_object_get(result_of(json, 0, "a"), "samples")), 6);
    cr_assert_eq(json_array_size(json_object_get(result_of(json, 0, "b"), "samples")), 6);
    cr_assert_str_eq(text_of(json, "reference"), "b");
    json_decref(json);
}

Test(bench_run, finds_a_sleep_that_was_put_into_one_directory)
{
    int status;
    add_lib("a", PROBE);
    add_lib("dir", PROBE);
    json_t *json =
        run("--dir slow=a --dir dir=dir --lib '**/" PROBE "' --runs 7 --delay slow=50", &status);
    json_t *slow = result_of(json, 0, "slow"), *dir = result_of(json, 0, "dir");
    double low = json_number_value(json_array_get(json_object_get(slow, "interval"), 0));
    double high = json_number_value(json_array_get(json_object_get(dir, "interval"), 1));
    cr_assert_geq(low, 0.05);
    /* Only a machine that itself stops for 50 ms can hide it, and then it must not be claimed. */
    cr_assert_str_eq(text_of(slow, "verdict"), high < low ? "slower" : "not significant");
    json_decref(json);
}

Test(bench_run, loads_a_library_once_however_many_names_it_has)
{
    int status;
    add_lib("a", PROBE);
    shell("cd %s/a/lib && ln -s " PROBE " " PROBE ".1 && ln " PROBE
          " libbench_other.so && ln -s ../lib "
          "../lib64",
          work);
    json_t *json = run("--dir a=a --lib '**/*.so*' --runs 1", &status);
    cr_assert_eq(json_array_size(json_object_get(json, "benchmarks")), 1);
    json_decref(json);
}

Test(bench_run, follows_links_in_the_pattern_as_that_root_would)
{
    int status;
    add_lib("a", PROBE);
    shell("ln -s /lib %s/a/current", work);
    json_t *json = run("--dir a=a --lib '/current/*.so' --runs 1", &status);
    cr_assert_str_eq(text_of(benchmark(json, 0), "name"), "lib/" PROBE);
    cr_assert_eq(status, 0);
    json_decref(json);
}

Test(bench_run, loads_what_a_library_needs_from_the_same_directory)
{
    int status;
    add_lib("a", NEEDS);
    shell("mkdir -p %s/a/elsewhere && cp %s/" PROBE " %s/a/elsewhere/", work,
          getenv("SFS_BENCH_LIBS"), work);
    json_t *json = run("--dir a=a --lib '**/" NEEDS "' --runs 1", &status);
    json_t *loads = json_object_get(benchmark(json, 0), "loads");
    cr_assert_str_eq(json_string_value(json_array_get(loads, 0)), "elsewhere/" PROBE);
    cr_assert_str_eq(json_string_value(json_array_get(loads, 1)), "lib/" NEEDS);
    cr_assert_eq(status, 0);
    json_decref(json);
}

Test(bench_run, tells_of_a_crash_and_goes_on)
{
    int status;
    add_lib("a", CRASH);
    add_lib("a", PROBE);
    json_t *json = run("--dir a=a --lib '**/" CRASH "' --lib '**/" PROBE "' --runs 2", &status);
    cr_assert_eq(status, 1);
    cr_assert(strstr(text_of(result_of(json, 0, "a"), "failed"), "Aborted"));
    cr_assert_eq(json_array_size(json_object_get(result_of(json, 1, "a"), "samples")), 2);
    json_decref(json);
}

Test(bench_run, tells_which_directory_lacks_a_library)
{
    int status;
    add_lib("a", PROBE);
    shell("mkdir %s/b", work);
    json_t *json = run("--dir b=b --dir dir=a --lib '**/" PROBE "' --runs 2", &status);
    cr_assert_eq(status, 1);
    cr_assert(strstr(text_of(result_of(json, 0, "b"), "failed"), "No such file"));
    cr_assert_eq(json_array_size(json_object_get(result_of(json, 0, "dir"), "samples")), 2);
    json_decref(json);
}

Test(bench_run, names_a_pattern_that_matches_nothing)
{
    int status;
    add_lib("a", PROBE);
    json_t *json = run("--dir a=a --lib 'libnone.so' --runs 1", &status);
    cr_assert_eq(status, 1);
    cr_assert(strstr(text_of(benchmark(json, 0), "failed"), "libnone.so"));
    json_decref(json);
}

Test(bench_run, does_not_take_a_text_file_for_a_library)
{
    int status;
    shell("mkdir -p %s/a && echo 'GROUP ( x )' > %s/a/libtext.so", work, work);
    json_t *json = run("--dir a=a --lib 'libtext.so' --runs 1", &status);
    cr_assert_eq(status, 1);
    json_decref(json);
}

Test(bench_run, times_a_command_and_tells_how_it_failed)
{
    int status;
    shell("mkdir %s/a", work);
    json_t *json = run(
        "--no-root --dir a=a --exec 'test -d .' --exec 'echo why >&2; exit 7' --runs 3", &status);
    cr_assert_eq(status, 1);
    cr_assert_eq(json_array_size(json_object_get(result_of(json, 0, "a"), "samples")), 3);
    cr_assert_str_eq(text_of(result_of(json, 1, "a"), "failed"), "exit status 7: why");
    json_decref(json);
}

/* A shell, and what it links. */
static void add_root(const char *dir)
{
    shell("cd %s && mkdir -p %s/bin && cp -L /bin/sh %s/bin/ && for lib in $(ldd /bin/sh | grep -o "
          "'/[^ ]*'); do "
          "mkdir -p %s$(dirname $lib) && cp -L $lib %s$lib || exit 1; done",
          work, dir, dir, dir, dir);
}

Test(bench_run, lets_no_command_leave_anything_for_the_next_run)
{
    int status;
    add_root("a");
    json_t *json = run("--dir a=a --exec '! echo x >/left' --runs 2", &status);
    cr_assert_eq(status, 0);
    cr_assert_eq(json_array_size(json_object_get(result_of(json, 0, "a"), "samples")), 2);
    json_decref(json);
    shell("test ! -e %s/a/left", work);
}

Test(bench_run, ends_a_command_that_does_not_end)
{
    int status;
    shell("mkdir %s/a", work);
    json_t *json = run("--no-root --dir a=a --exec 'sleep 1000' --runs 1 --timeout 1", &status);
    cr_assert_eq(status, 1);
    cr_assert(strstr(text_of(result_of(json, 0, "a"), "failed"), "time limit"));
    json_decref(json);
}

Test(bench_run, names_what_it_leaves_out_where_there_is_no_cuda)
{
    int status;
    shell("mkdir %s/a", work);
    json_t *json = run("--dir a=a --gpu --runs 1", &status);
    cr_assert_eq(status, 0);
    size_t i;
    json_t *row, *rows = json_object_get(benchmark(json, 0), "rows");
    bool named = false;
    json_array_foreach(rows, i, row)
    {
        json_t *result = json_array_get(json_object_get(row, "results"), 0);
        if (strcmp(text_of(row, "name"), "cuBLAS-load") == 0)
            named = strcmp(text_of(result, "left_out"), "not in this directory") == 0;
    }
    cr_assert(named);
    json_decref(json);
}

Test(bench_run, writes_a_page_whose_text_is_not_taken_for_tags)
{
    int status;
    shell("mkdir %s/a", work);
    json_decref(run("--no-root --dir a=a --exec ': \"<script>\"' --runs 1 --html page", &status));
    cr_assert_eq(status, 0);
    shell("grep -q '&lt;script>' %s/page && ! grep -q '<script>' %s/page", work, work);
}

Test(bench_run, refuses_wrong_usage)
{
    static const char *const wrong[] = { "",
                                         "--dir a=a",
                                         "--dir a --lib x",
                                         "--dir a=a --dir a=b --lib x",
                                         "--dir a=a --lib x --runs 0",
                                         "--dir a=a --lib x --runs many",
                                         "--dir a=a --lib x --reference b",
                                         "--dir a=a --lib x --no-such-option",
                                         "--dir a=a --lib x more" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int status;
        json_decref(run(wrong[i], &status));
        cr_assert_eq(status, 2, "%s", wrong[i]);
    }
}
