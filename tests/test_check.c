/* Rounds of checks: what they add, and when they end. The runner and the narrowing are stand-ins: a
 * program is a list of paths that it needs, and what is left of a tree a list of names. */
#include "tree_text.h"

#include "tree/profile.h"
#include <errno.h>
#include <stagefs/check.h>
#include <string.h>

static struct sfs_tree *whole, *left[40];
static size_t left_count;
static const struct sfs_tree *ran_in;
static unsigned runs, traces;
static bool lists;          /* the program learns what is there by listing, and looks for nothing */
static const char *dropped; /* what no profile brings back */
static char warned[1024], dir[64];
static struct sfs_error error;

static bool has(const struct sfs_tree *tree, const char *path)
{
    sfs_node node;
    return sfs_tree_resolve(tree, path, 0, &node, NULL) == 0;
}

/* Each argument is a path; "?" in front: one that is not needed. */
static int run(const struct sfs_run_request *request, struct sfs_run_result *ret_result,
               struct sfs_error *err)
{
    (void)err;
    runs++;
    ran_in = request->tree;
    *ret_result = (struct sfs_run_result){ 0 };
    FILE *trace = request->trace_path ? fopen(request->trace_path, "we") : NULL;
    traces += trace != NULL;
    for (const char *const *arg = request->args; *arg && ret_result->status == 0; arg++) {
        const char *path = *arg + (**arg == '?');
        if (trace && has(request->tree, path))
            fprintf(trace, "read %s\n", path);
        if (has(request->tree, path))
            continue;
        if (request->missing && !lists)
            request->missing(request->user, path, "/bin/program");
        ret_result->status = **arg == '?' ? 0 : 1;
    }
    if (trace)
        fclose(trace);
    return 0;
}

static void discard(struct sfs_run_space **space)
{
    *space = NULL;
}

static const struct sfs_runner runner = { run, discard };

static void take_warning(void *user, const char *text)
{
    (void)user;
    snprintf(warned, sizeof warned, "%s", text);
}

static const struct sfs_progress progress = { .warn = take_warning };

static struct sfs_tree *make_tree(const char *text)
{
    struct sfs_layer *layer = tree_text_layer(text, "x");
    struct sfs_tree *tree;
    cr_assert_eq(sfs_tree_merge(&layer, 1, &tree, &error), 0, "%s", error.text);
    return tree;
}

/* What is left has "a", and whatever the profile names. */
static int narrow(void *user, const char *path, const struct sfs_tree **ret_tree,
                  struct sfs_error *err)
{
    (void)user;
    char text[1024] = "f a";
    struct sfs_profile profile = { 0 };
    cr_assert_eq(sfs_profile_read(&profile, path, err), 0, "%s", err->text);
    for (size_t i = 0; i < profile.count; i++)
        if (!dropped || strcmp(profile.uses[i].path, dropped) != 0)
            snprintf(text + strlen(text), sizeof text - strlen(text), ";f %s",
                     profile.uses[i].path + 1);
    sfs_profile_done(&profile);
    left[left_count] = make_tree(text);
    *ret_tree = left[left_count++];
    return 0;
}

static void set_up(void)
{
    snprintf(dir, sizeof dir, "/tmp/stagefs-test-check-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    whole = make_tree("f a;f b;f c;f d;f e;l l a");
    left[left_count++] = make_tree("f a");
}

static void tear_down(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(check, .init = set_up, .fini = tear_down);

static struct sfs_check_result result;

static int check_of(const char *const *const *programs, size_t count, bool heals, const char *path)
{
    struct sfs_check_command commands[4];
    for (size_t i = 0; i < count; i++)
        commands[i] = (struct sfs_check_command){ "program", programs[i] };
    const struct sfs_run_request request = { .work_dir = dir };
    const struct sfs_check_spec check = { .commands = commands,
                                          .command_count = count,
                                          .runner = &runner,
                                          .request = &request,
                                          .whole = whole,
                                          .tree = left[0],
                                          .narrow = heals ? narrow : NULL,
                                          .heal_path = path,
                                          .progress = &progress };
    return sfs_check_run(&check, &result, &error);
}

#define PROGRAM(...) ((const char *const[]){ __VA_ARGS__, NULL })

static int check_one(const char *const *program, bool heals, const char *path)
{
    return check_of(&program, 1, heals, path);
}

Test(check, that_misses_nothing_runs_once)
{
    cr_assert_eq(check_one(PROGRAM("/a"), true, NULL), 0, "%s", error.text);
    cr_assert_eq(runs, 1);
    cr_assert_eq(result.rounds, 1);
    cr_assert_eq(result.added, 0);
    cr_assert_str_eq(warned, "");
}

Test(check, that_fails_names_what_it_missed_and_who)
{
    cr_assert_eq(check_one(PROGRAM("/a", "?/b", "/c"), false, NULL), -ECANCELED);
    cr_assert_str_eq(error.text, "the check 'program' ended with 1 in the trimmed stage, where it "
                                 "looked in vain for /b, wanted by /bin/program (and for 1 more)");
}

Test(check, does_not_count_what_the_whole_stage_has_not)
{
    cr_assert_eq(check_one(PROGRAM("/a", "?/nowhere"), false, NULL), 0, "%s", error.text);
    cr_assert_eq(result.missing, 0);
    cr_assert_str_eq(warned, "");
}

Test(check, that_passes_and_misses_warns)
{
    cr_assert_eq(check_one(PROGRAM("?/b"), false, NULL), 0, "%s", error.text);
    cr_assert_eq(result.missing, 1);
    cr_assert_not_null(strstr(warned, "(1), such as /b, wanted by /bin/program: --heal"), "%s",
                       warned);
}

Test(check, heals_what_was_looked_for)
{
    cr_assert_eq(check_one(PROGRAM("?/b", "?/c", "?/l"), true, NULL), 0, "%s", error.text);
    cr_assert_eq(result.rounds, 2);
    cr_assert_eq(result.added, 3);
    cr_assert_eq(result.missing, 0);
    cr_assert_eq(traces, 0);
    cr_assert_eq(ran_in, left[1]);
}

/* A program that fails at the first file would take a round for each; it is compared with itself in
 * the whole stage. */
Test(check, heals_at_once_what_a_failing_program_needs)
{
    lists = true;
    cr_assert_eq(check_one(PROGRAM("/a", "/b", "/c", "/d"), true, NULL), 0, "%s", error.text);
    cr_assert_eq(result.rounds, 2);
    cr_assert_eq(result.added, 3);
    cr_assert_eq(traces, 1);
}

Test(check, goes_on_with_the_next_program)
{
    const char *const *programs[] = { PROGRAM("/b"), PROGRAM("/c"), PROGRAM("/a") };
    cr_assert_eq(check_of(programs, 3, true, NULL), 0, "%s", error.text);
    cr_assert_eq(result.rounds, 3);
    cr_assert_eq(result.added, 2);
}

Test(check, of_what_fails_anyway_says_so)
{
    cr_assert_eq(check_one(PROGRAM("/nowhere"), true, NULL), -ECANCELED);
    cr_assert_not_null(strstr(error.text, "ends with 1 in the whole stage, too"), "%s", error.text);
}

Test(check, ends_where_nothing_more_can_be_added)
{
    dropped = "/b";
    cr_assert_eq(check_one(PROGRAM("/b"), true, NULL), -ECANCELED);
    cr_assert_not_null(strstr(error.text, "looked in vain for /b"), "%s", error.text);
    cr_assert_eq(check_one(PROGRAM("?/b"), true, NULL), 0, "%s", error.text);
    cr_assert_not_null(strstr(warned, "which --drop leaves out"), "%s", warned);
}

Test(check, writes_what_it_added_behind_what_is_there)
{
    char path[128], text[1024] = { 0 };
    snprintf(path, sizeof path, "%s/healed", dir);
    cr_assert_eq(check_one(PROGRAM("?/b"), true, path), 0, "%s", error.text);
    cr_assert_eq(check_one(PROGRAM("?/c", "?/b", "?/l"), true, path), 0, "%s", error.text);
    FILE *file = fopen(path, "re");
    cr_assert_gt(fread(text, 1, sizeof text - 1, file), 0);
    fclose(file);
    cr_assert_str_eq(text, "# What checks of a trimmed stage missed (stagefs commit --heal).\n"
                           "open /b # wanted by /bin/program\n"
                           "# What checks of a trimmed stage missed (stagefs commit --heal).\n"
                           "open /c # wanted by /bin/program\nlink /l # wanted by /bin/program\n");
}
