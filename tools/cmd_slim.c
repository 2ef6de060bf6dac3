/* slim: trace, trim, check and commit in one, and a table of what that came to. */
#include "cmd.h"
#include "committing.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stagefs/format.h>
#include <string.h>
#include <sys/stat.h>

void slim_options(struct slim_args *slim, struct option_set *set)
{
    const struct option_spec specs[] = {
        { "exec", 0, OPTION_LIST, &slim->commands, "CMD",
          "what the image is for: it is run in the whole stage, and what it uses is kept "
          "(repeatable)" },
        { "output", 'o', OPTION_PATH, &slim->profile, "PROFILE",
          "keep the profile of what is used; if it is there, add to it" },
        { "no-heal", 0, OPTION_FLAG, &slim->no_heal, NULL,
          "fail if the checks miss something, instead of keeping it" },
        { "fast", 0, OPTION_FLAG, &slim->fast, NULL,
          "leave out of the table what would be compressed for it alone" },
    };
    options_add(set, specs, sizeof specs / sizeof *specs);
}

void slim_args_done(struct slim_args *slim)
{
    if (slim->path && slim->is_temporary)
        unlink(slim->path);
    free(slim->path);
    free(slim->commands.items);
}

/* ---- tracing ---- */

static int choose_path(struct slim_args *slim, const char *work_dir, struct sfs_error *err)
{
    slim->path =
        slim->profile ? strdup(slim->profile) : sfs_format("%s/stagefs-slim-XXXXXX", work_dir);
    if (!slim->path)
        return sfs_fail_memory(err);
    if (slim->profile)
        return 0;
    int fd = mkstemp(slim->path);
    if (fd < 0)
        return sfs_fail_errno(err, errno, "%s", slim->path);
    close(fd);
    slim->is_temporary = true;
    return 0;
}

static int trace_one(struct slim_args *slim, const struct session *session,
                     struct sfs_run_request *request, const char *text, struct sfs_error *err)
{
    AUTO(sfs_free) const char **words = NULL;
    struct json_t *document = NULL;
    struct sfs_run_result result;
    int r = command_words(session->stage, text, &words, &document, err);
    if (r < 0)
        return r;
    request->args = words;
    r = sfs_sandbox.run(request, &result, err);
    json_decref(document);
    if (r < 0)
        return r;
    sfs_sandbox.discard(&result.space);
    slim->traced_bytes += result.bytes;
    return result.status == 0
               ? 0
               : sfs_fail(err, ECANCELED, "'%s' ended with %d in the whole stage%s%s", text,
                          result.status, *result.not_started.text ? ": " : "",
                          result.not_started.text);
}

/* Runs all commands in the whole stage. */
static int trace_all(struct slim_args *slim, struct commit_args *args, struct run_setup *setup,
                     struct sfs_error *err)
{
    struct sfs_run_request request;
    int r = commit_setup(args, setup, err);
    setup->gpu = args->checks.setup.gpu;
    setup->runtime = args->checks.setup.runtime;
    if (r == 0)
        r = run_setup_prepare(setup, &args->session, &request, err);
    if (r == 0)
        r = choose_path(slim, request.work_dir, err);
    const char *trace = slim->path;
    if (r == 0)
        r = run_setup_absolute(setup, &trace, err);
    request.quiet_input = true;
    request.hand_on = false;
    request.trace_append = true;
    request.trace_path = trace;
    for (size_t i = 0; r == 0 && i < slim->commands.count; i++)
        r = trace_one(slim, &args->session, &request, slim->commands.items[i], err);
    return r;
}

/* ---- narrowing ---- */

static int add_item(struct text_list *list, const char *item, struct sfs_error *err)
{
    const char **items = reallocarray(list->items, list->count + 1, sizeof *items);
    if (!items)
        return sfs_fail_memory(err);
    list->items = items;
    items[list->count++] = item;
    return 0;
}

/* The profile says what is kept, takes what is healed, and puts files in the order of use. The
 * commands are the checks where there are no others. */
static int use_profile(struct slim_args *slim, struct commit_args *args, struct sfs_error *err)
{
    struct check_args *checks = &args->checks;
    bool are_checks = checks->commands.count == 0;
    int r = add_item(&args->session.stage_args.trims, slim->path, err);
    if (r == 0)
        r = add_item(&args->profiles, slim->path, err);
    for (size_t i = 0; r == 0 && are_checks && i < slim->commands.count; i++)
        r = add_item(&checks->commands, slim->commands.items[i], err);
    return r;
}

int slim_prepare(struct slim_args *slim, struct commit_args *args, struct sfs_error *err)
{
    struct session *session = &args->session;
    struct check_args *checks = &args->checks;
    AUTO(run_setup_done) struct run_setup setup = { 0 };
    bool has_trims = session->stage_args.trims.count > 0;
    if (slim->commands.count == 0 && !has_trims)
        return sfs_fail(err, EINVAL,
                        "slim needs --exec CMD, or --trim PROFILE of an earlier trace");
    progress_close();
    int r = slim->commands.count > 0 ? trace_all(slim, args, &setup, err) : 0;
    if (r == 0 && slim->path)
        r = use_profile(slim, args, err);
    checks->heal = !slim->no_heal && checks->commands.count > 0;
    if (!checks->heal_profile && checks->heal)
        checks->heal_profile = slim->path;
    return r < 0 ? r
                 : stage_narrow(&session->stage_args, session->stage,
                                session->tool.context.progress, err);
}

/* ---- the table ---- */

struct slim_row {
    const char *name;
    uint64_t compressed, unpacked, files, reads; /* UINT64_MAX: not known */
};

#define UNKNOWN UINT64_MAX

static void count_files(const struct sfs_tree *tree, struct slim_row *row)
{
    row->unpacked = row->files = 0;
    for (sfs_node node = 0; node < sfs_tree_count(tree); node++) {
        struct sfs_attr attr;
        sfs_tree_attr(tree, node, &attr);
        if (S_ISREG(attr.mode)) {
            row->files++;
            row->unpacked += attr.size;
        }
    }
}

/* What the stage was taken from: its blobs, and if it is one image also its files. */
static void measure_builder(const struct commit_args *args, struct slim_row *row)
{
    const struct session *session = &args->session;
    const char *image = session->image ? session->image : session->stage_args.from;
    const struct sfs_stage_spec spec = { .image = image };
    AUTO(sfs_stage_close) struct sfs_stage *stage = NULL;
    uint64_t size = commit_builder_size(args);
    *row = (struct slim_row){ "builder", size ? size : UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN };
    if (image && sfs_stage_open(&spec, &session->tool.context, &stage, NULL) == 0)
        count_files(sfs_stage_tree(stage), row);
}

/* Measures the stage, narrowed by `spec`. */
static int measure_narrowed(struct commit_args *args, struct slim_args *slim,
                            const struct sfs_slim_spec *spec, struct slim_row *row,
                            struct sfs_error *err)
{
    AUTO(sfs_slim_close) struct sfs_slim *narrowed = NULL;
    struct sfs_commit_result result;
    int r = sfs_slim_open(args->session.stage, spec, args->session.tool.context.progress, &narrowed,
                          err);
    if (r < 0)
        return r;
    count_files(sfs_stage_tree(args->session.stage), row);
    if (slim->fast)
        return 0;
    r = commit_stage(args, true, &result, err);
    row->compressed = result.base_size + result.layer_size;
    return r;
}

/* Rows of all steps; returns how many, or -errno. */
static int measure_all(struct slim_args *slim, struct commit_args *args,
                       const struct sfs_commit_result *written, struct slim_row rows[4],
                       struct sfs_error *err)
{
    static const struct sfs_slim_spec whole;
    const struct check_args *checks = &args->checks;
    struct text_list *trims = &args->session.stage_args.trims;
    struct sfs_slim_spec spec = args->session.stage_args.slim_spec;
    bool is_pruned = spec.gpu_archs || spec.strip;
    int count = is_pruned ? 4 : 3, r;
    struct slim_row *last = &rows[count - 1];
    measure_builder(args, &rows[0]);
    for (int i = 1; i < count; i++)
        rows[i] = (struct slim_row){ args->session.image ? "one layer" : "plain COPY", UNKNOWN,
                                     UNKNOWN, UNKNOWN, UNKNOWN };
    last->name = is_pruned ? "pruned" : "trimmed";
    last->compressed = written->base_size + written->layer_size;
    count_files(sfs_stage_tree(args->session.stage), last);
    if (checks->commands.count > 0)
        last->reads = checks->result.bytes;
    if (slim->commands.count > 0)
        rows[1].reads = slim->traced_bytes;
    r = checks->result.added > 0 && checks->heal_profile != slim->path
            ? add_item(trims, checks->heal_profile, err) /* the others hold it already */
            : 0;
    if (r == 0)
        r = measure_narrowed(args, slim, &whole, &rows[1], err);
    if (r == 0 && count == 4) {
        rows[2].name = "trimmed";
        spec.gpu_archs = NULL;
        spec.strip = false;
        spec.profiles = trims->items;
        spec.profile_count = trims->count;
        r = measure_narrowed(args, slim, &spec, &rows[2], err);
    }
    return r < 0 ? r : count;
}

static const char *print_cell(uint64_t bytes, char text[SIZE_TEXT])
{
    return bytes == UNKNOWN ? "-" : print_size(bytes, text);
}

static void print_table(const struct slim_row *rows, int count)
{
    printf("%-12s %10s %10s %10s %11s\n", "", "compressed", "unpacked", "files", "start reads");
    for (int i = 0; i < count; i++) {
        char compressed[SIZE_TEXT], unpacked[SIZE_TEXT], reads[SIZE_TEXT], files[24] = "-";
        if (rows[i].files != UNKNOWN)
            snprintf(files, sizeof files, "%" PRIu64, rows[i].files);
        printf("%-12s %10s %10s %10s %11s\n", rows[i].name,
               print_cell(rows[i].compressed, compressed), print_cell(rows[i].unpacked, unpacked),
               files, print_cell(rows[i].reads, reads));
    }
}

static json_t *number_or_null(uint64_t number)
{
    return number == UNKNOWN ? json_null() : json_integer((json_int_t)number);
}

static json_t *make_json(const struct slim_args *slim, const struct commit_args *args,
                         const struct sfs_commit_result *written, const struct slim_row *rows,
                         int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o, s:o}", "name", rows[i].name,
                                              "compressed", number_or_null(rows[i].compressed),
                                              "unpacked", number_or_null(rows[i].unpacked), "files",
                                              number_or_null(rows[i].files), "start_reads",
                                              number_or_null(rows[i].reads)));
    return json_pack("{s:o, s:o, s:I, s:I, s:s?, s:b}", "manifest",
                     written->has_manifest ? json_digest(&written->manifest) : json_null(),
                     "images", list, "rounds", (json_int_t)args->checks.result.rounds, "healed",
                     (json_int_t)args->checks.result.added, "profile", slim->profile, "dry_run",
                     args->dry_run);
}

int slim_report(struct slim_args *slim, struct commit_args *args,
                const struct sfs_commit_result *written, struct sfs_error *err)
{
    struct slim_row rows[4];
    char text[SFS_DIGEST_TEXT];
    int count = measure_all(slim, args, written, rows, err);
    if (count < 0)
        return count;
    if (args->session.tool.json)
        return print_json(make_json(slim, args, written, rows, count));
    print_table(rows, count);
    if (written->has_manifest)
        puts(sfs_digest_print(&written->manifest, text));
    return EXIT_DONE;
}

int cmd_slim(const struct command *command, int argc, char **argv)
{
    struct slim_args slim = { 0 };
    int status = commit_command(command, &slim, argc, argv);
    slim_args_done(&slim);
    return status;
}
