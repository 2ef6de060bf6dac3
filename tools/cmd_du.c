/* du: sizes by directory, as coreutils' du adds them up on the mount; and by layer, with what
 * layers waste and what made them; and as a report on every file. */
#include "cmd.h"
#include "device_table.h"
#include "du_why.h"
#include "history.h"
#include "listing.h"
#include "survey_out.h"

#include <stagefs/format.h>
#include <errno.h>
#include <jansson.h>
#include <stagefs/output.h>
#include <stagefs/usage.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum du_order { ORDER_TREE, ORDER_SIZE, ORDER_NAME };

struct du_sum {
    uint64_t files;    /* all but directories */
    uint64_t content;  /* bytes of regular files */
    uint64_t apparent; /* bytes of whatever has a size */
    uint64_t disk;     /* bytes that regular files fill */
};

struct du_row {
    uint64_t size;
    char *path;
};

struct du_args {
    struct session session;
    bool layers, why, device_code, all, summarize, total, human, kibi, bytes, apparent, separate;
    long depth;
    uint64_t threshold;
    const char *sort, *report;
    struct text_list profiles;
    enum du_order order;
    bool *seen; /* by node: a hard link is counted where it is met first */
    const struct sfs_tree *tree;
    struct du_row *rows;
    size_t row_count;
    struct du_sum grand;
};

/* ---- adding up ---- */

static void add(struct du_sum *sum, const struct du_sum *more)
{
    sum->files += more->files;
    sum->content += more->content;
    sum->apparent += more->apparent;
    sum->disk += more->disk;
}

static void count_node(struct du_args *args, sfs_node node, const struct sfs_attr *attr,
                       struct du_sum *sum)
{
    if (args->seen[node])
        return;
    args->seen[node] = true;
    sum->files += !S_ISDIR(attr->mode);
    sum->content += S_ISREG(attr->mode) ? attr->size : 0;
    sum->apparent += attr->size;
    sum->disk += listing_disk_size(args->tree, node);
}

static int add_row(struct du_args *args, const char *path, const struct du_sum *sum)
{
    uint64_t size = args->apparent ? sum->apparent : sum->disk;
    if (size < args->threshold)
        return 0;
    struct du_row *rows = args->rows;
    if ((args->row_count & (args->row_count - 1)) == 0) /* grown at every power of two */
        rows = reallocarray(rows, args->row_count ? 2 * args->row_count : 1, sizeof *rows);
    if (!rows)
        return -ENOMEM;
    args->rows = rows;
    rows[args->row_count] = (struct du_row){ .size = size, .path = strdup(path) };
    return rows[args->row_count++].path ? 0 : -ENOMEM;
}

static json_t *sum_json(const char *path, const struct du_sum *sum)
{
    return json_pack("{s:o, s:I, s:I, s:I, s:I}", "path", json_text(path), "bytes",
                     (json_int_t)sum->content, "files", (json_int_t)sum->files, "apparent_bytes",
                     (json_int_t)sum->apparent, "disk_bytes", (json_int_t)sum->disk);
}

static int add_up(struct du_args *args, const char *path, sfs_node node, long depth,
                  json_t *siblings, struct du_sum *total);

/* Adds up what is in a directory: *own what lies in it itself, *below what is deeper. */
static int add_children(struct du_args *args, const char *path, sfs_node dir, long depth,
                        json_t *children, struct du_sum *own, struct du_sum *below)
{
    uint32_t count;
    const struct sfs_dirent *entries = sfs_tree_list(args->tree, dir, &count);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        struct sfs_attr attr;
        sfs_tree_attr(args->tree, entries[i].node, &attr);
        AUTO(sfs_free) char *child = path_in(path, entries[i].name);
        r = child ? add_up(args, child, entries[i].node, depth - 1, children,
                           S_ISDIR(attr.mode) ? below : own)
                  : -ENOMEM;
    }
    return r;
}

/* Adds up `node`. Directories (and with -a, files) down to `depth` levels become rows, or objects
 * in `siblings`, children first. */
static int add_up(struct du_args *args, const char *path, sfs_node node, long depth,
                  json_t *siblings, struct du_sum *total)
{
    struct sfs_attr attr;
    struct du_sum own = { 0 }, below = { 0 };
    sfs_tree_attr(args->tree, node, &attr);
    bool is_directory = S_ISDIR(attr.mode);
    AUTO(json_decrefp) json_t *children = is_directory && siblings ? json_array() : NULL;
    bool fresh = !args->seen[node];
    count_node(args, node, &attr, &own);
    int r = is_directory ? add_children(args, path, node, depth, children, &own, &below) : 0;
    if (r < 0)
        return r;
    struct du_sum all = own;
    add(&all, &below);
    if (depth >= 0 && siblings && is_directory) {
        json_t *json = sum_json(path, &all);
        json_object_set(json, "directories", children);
        r = json_array_append_new(siblings, json) < 0 ? -ENOMEM : 0;
    } else if (depth >= 0 && !siblings && (is_directory || (args->all && fresh))) {
        r = add_row(args, path, args->separate ? &own : &all);
    }
    add(total, &all);
    return r;
}

/* ---- telling ---- */

static int compare_sizes(const void *left, const void *right)
{
    const struct du_row *a = left, *b = right;
    return a->size != b->size ? (a->size > b->size ? 1 : -1) : strcmp(a->path, b->path);
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(((const struct du_row *)left)->path, ((const struct du_row *)right)->path);
}

static void print_row(const struct du_args *args, uint64_t size, const char *path)
{
    char text[SIZE_TEXT];
    if (args->human)
        printf("%s\t", print_size(size, text));
    else if (args->bytes)
        printf("%llu\t", (unsigned long long)size);
    else
        printf("%llu\t", (unsigned long long)(size / 1024 + (size % 1024 > 0)));
    print_path(path);
    putchar('\n');
}

static void print_rows(const struct du_args *args)
{
    if (args->row_count > 0 && args->order != ORDER_TREE)
        qsort(args->rows, args->row_count, sizeof *args->rows,
              args->order == ORDER_SIZE ? compare_sizes : compare_names);
    for (size_t i = 0; i < args->row_count; i++)
        print_row(args, args->rows[i].size, args->rows[i].path);
    if (args->total)
        print_row(args, args->apparent ? args->grand.apparent : args->grand.disk, "total");
}

static int measure_path(struct du_args *args, const char *path, json_t *answer,
                        struct sfs_error *err)
{
    sfs_node node;
    struct sfs_attr attr;
    struct du_sum sum = { 0 };
    int r = sfs_tree_resolve(args->tree, path, SFS_RESOLVE_FOLLOW, &node, err);
    if (r < 0)
        return r;
    sfs_tree_attr(args->tree, node, &attr);
    bool is_directory = S_ISDIR(attr.mode);
    r = add_up(args, path, node, is_directory ? args->depth : -1, answer, &sum);
    if (r == 0 && !is_directory)
        r = answer ? json_array_append_new(answer, sum_json(path, &sum))
                   : add_row(args, path, &sum);
    add(&args->grand, &sum);
    return r < 0 ? sfs_fail_memory(err) : 0;
}

/* A PATH that is not there does not keep the others from being told. */
static int measure_paths(struct du_args *args, char **paths, int count, json_t *answer,
                         struct sfs_error *err)
{
    int status = EXIT_DONE;
    for (int i = 0; i < count; i++) {
        int r = measure_path(args, paths[i], answer, err);
        if (r < 0 && (r == -ENOMEM || answer))
            return r;
        if (r < 0)
            status = tool_fail(r, err);
    }
    return status;
}

static int by_directory(struct du_args *args, struct sfs_error *err)
{
    static char root[] = "/";
    char *only_root[] = { root };
    int count = args->session.rest_count;
    AUTO(json_decrefp) json_t *answer = args->session.tool.json ? json_array() : NULL;
    args->seen = calloc(sfs_tree_count(args->tree), sizeof *args->seen);
    if (!args->seen)
        return sfs_fail_memory(err);
    int r = measure_paths(args, count > 0 ? args->session.rest : only_root, count > 0 ? count : 1,
                          answer, err);
    if (r < 0)
        return r;
    if (!answer)
        print_rows(args);
    else
        print_json(json_incref(json_array_size(answer) == 1 ? json_array_get(answer, 0) : answer));
    return r;
}

static void free_rows(struct du_args *args)
{
    for (size_t i = 0; i < args->row_count; i++)
        free(args->rows[i].path);
    free(args->rows);
    free(args->seen);
}

/* ---- layers ---- */

struct layer_history {
    struct sfs_image *opened; /* closed by us; NULL: borrowed from the stage, or there is none */
    const json_t *config;     /* NULL: no history */
    size_t count;
};

static void history_close(struct layer_history *history)
{
    sfs_image_close(&history->opened);
}

/* The image's own, or the base's: a stage's own layers say themselves what makes them. */
static void history_open(const struct du_args *args, struct layer_history *history)
{
    struct sfs_image *image = sfs_stage_base_image(args->session.stage);
    if (!image && args->session.image &&
        tool_open_image(&args->session.tool, args->session.image, &history->opened, NULL) == 0)
        image = history->opened;
    if (!image)
        return;
    history->config = sfs_image_config(image);
    history->count = sfs_image_layer_count(image);
}

static json_t *usage_json(const struct sfs_tree *tree, size_t i,
                          const struct sfs_layer_usage *usage, const char *created_by)
{
    json_t *json =
        json_pack("{s:I, s:o, s:I, s:I, s:I, s:I, s:I}", "layer", (json_int_t)i, "label",
                  json_text(sfs_tree_layer_label(tree, i)), "bytes", (json_int_t)usage->bytes,
                  "visible_bytes", (json_int_t)usage->visible_bytes, "wasted_bytes",
                  (json_int_t)(usage->bytes - usage->visible_bytes), "names",
                  (json_int_t)usage->names, "whiteouts", (json_int_t)usage->whiteouts);
    json_object_set_new(json, "created_by", created_by ? json_text(created_by) : json_null());
    return json;
}

/* Returns the columns that are filled. */
static unsigned print_usage(const char *layer, const struct sfs_layer_usage *usage)
{
    char size[SIZE_TEXT], visible[SIZE_TEXT], wasted[SIZE_TEXT];
    return (unsigned)printf("%5s  %7s  %7s  %7s  %8u", layer, print_size(usage->bytes, size),
                            print_size(usage->visible_bytes, visible),
                            print_size(usage->bytes - usage->visible_bytes, wasted), usage->names);
}

/* "sha256:0123456789ab" of "layer 3 (sha256:0123456789ab)": the number stands in front already. */
static void short_label(const char *label, char *text, size_t size)
{
    unsigned layer;
    int length = 0;
    if (sscanf(label, "layer %u (%n", &layer, &length) == 1 && length > 0)
        snprintf(text, size, "%.*s", (int)strcspn(label + length, ")"), label + length);
    else
        snprintf(text, size, "%s", label);
}

static void print_layer(const struct du_args *args, size_t i, const struct sfs_layer_usage *usage,
                        const char *created_by)
{
    char number[24], label[64];
    snprintf(number, sizeof number, "%zu", i);
    unsigned used = print_usage(number, usage);
    short_label(sfs_tree_layer_label(args->tree, i), label, sizeof label);
    AUTO(sfs_free) char *words = created_by ? history_words(created_by) : NULL;
    if (words)
        used += (unsigned)printf("  %-19s  ", label);
    else
        used += (unsigned)printf("  ");
    history_print(words ? words : sfs_tree_layer_label(args->tree, i), used);
}

/* What each layer brings, and how much of it the layers above hide: bytes that are pulled and
 * stored for nothing. To `answer`, or as lines. */
static int tell_layers(const struct du_args *args, json_t *answer, struct sfs_error *err)
{
    AUTO(history_close) struct layer_history history = { 0 };
    struct sfs_layer_usage sum = { 0 };
    history_open(args, &history);
    for (size_t i = 0; i < sfs_tree_layers(args->tree); i++) {
        struct sfs_layer_usage usage;
        int r = sfs_tree_layer_usage(args->tree, i, &usage, err);
        if (r < 0)
            return r;
        const char *created_by = history_created_by(history.config, history.count, i);
        sum.bytes += usage.bytes;
        sum.visible_bytes += usage.visible_bytes;
        sum.names += usage.names;
        if (answer)
            json_array_append_new(answer, usage_json(args->tree, i, &usage, created_by));
        else
            print_layer(args, i, &usage, created_by);
    }
    if (!answer) {
        print_usage("total", &sum);
        putchar('\n');
    }
    return 0;
}

static int by_layer(const struct du_args *args, struct sfs_error *err)
{
    AUTO(json_decrefp) json_t *answer = args->session.tool.json ? json_array() : NULL;
    if (!answer)
        printf("%5s  %7s  %7s  %7s  %8s  %-19s  %s\n", "layer", "size", "visible", "wasted",
               "names", "what", "made by");
    int r = tell_layers(args, answer, err);
    return r == 0 && answer ? print_json(json_incref(answer)) : r;
}

/* ---- the report ---- */

/* What people call the stage. The caller frees. */
static char *stage_words(const struct session *session)
{
    const struct stage_args *stage = &session->stage_args;
    if (session->image)
        return strdup(session->image);
    if (stage->dockerfile)
        return sfs_format("%s%s%s", stage->dockerfile, stage->target ? ", stage " : "",
                          stage->target ? stage->target : "");
    return sfs_format("%s%s%s of %s", stage->base ? stage->base : "", stage->base ? " with " : "",
                      stage->copies.count == 1 ? stage->copies.items[0] : "copies", stage->from);
}

static int write_report(const struct du_args *args, const struct survey_view *view,
                        struct sfs_error *err)
{
    AUTO(sfs_free) char *page = NULL;
    size_t size;
    if (survey_page(view, &page, &size) < 0)
        return sfs_fail_memory(err);
    return sfs_io_write_output(args->report, page, size, 0644, err);
}

static int report(struct du_args *args, struct sfs_error *err)
{
    AUTO(sfs_survey_close) struct sfs_survey *survey = NULL;
    AUTO(json_decrefp) json_t *layers = json_array();
    AUTO(sfs_free) char *words = stage_words(&args->session);
    const struct text_list *profiles =
        args->profiles.count > 0 ? &args->profiles : &args->session.stage_args.trims;
    const struct sfs_survey_spec spec = { .profiles = profiles->items,
                                          .profile_count = profiles->count };
    if (!words)
        return sfs_fail_memory(err);
    int r = sfs_survey_open(args->session.stage, &spec, &args->session.tool.progress, &survey, err);
    if (r == 0)
        r = tell_layers(args, layers, err);
    if (r < 0)
        return r;
    const struct survey_view view = { survey, words, layers };
    r = write_report(args, &view, err);
    if (r < 0 || !args->session.tool.json)
        return r;
    json_t *json = survey_json(&view);
    return json ? print_json(json) : sfs_fail_memory(err);
}

/* ---- the command ---- */

static int choose_order(struct du_args *args, struct sfs_error *err)
{
    static const char *const names[] = {
        [ORDER_TREE] = "none", [ORDER_SIZE] = "size", [ORDER_NAME] = "name"
    };
    bool is_terminal = isatty(STDOUT_FILENO);
    args->order = is_terminal ? ORDER_SIZE : ORDER_TREE;
    args->human |= is_terminal && !args->bytes && !args->kibi;
    args->apparent |= args->bytes;
    for (size_t i = 0; args->sort && i < sizeof names / sizeof *names; i++)
        if (strcmp(args->sort, names[i]) == 0) {
            args->order = (enum du_order)i;
            return 0;
        }
    return args->sort ? sfs_fail(err, EINVAL, "--sort is size, name or none, not '%s'", args->sort)
                      : 0;
}

/* Options that do not go together. Returns 0 or EXIT_USAGE. */
static int check(const struct command *command, const struct du_args *args)
{
    if ((args->layers || args->why) && args->device_code)
        return tool_usage(command, "--device-code is a table of its own: use it without --%s",
                          args->layers ? "layers" : "why");
    if (args->layers && args->why)
        return tool_usage(command, "--layers is of layers, and --why of names: use one");
    if (args->all && args->summarize)
        return tool_usage(command, "-a shows every file, and -s none: use one");
    if (args->profiles.count > 0 && !args->report)
        return tool_usage(command, "--profile goes with --report FILE");
    if (!args->report)
        return 0;
    size_t size = strlen(args->report);
    if (args->why)
        return tool_usage(command, "--report and --why are two things to tell: use one");
    if (args->layers || args->device_code)
        return tool_usage(command, "--report tells of %s, too: leave out --%s",
                          args->layers ? "layers" : "device code",
                          args->layers ? "layers" : "device-code");
    if (size > 5 && strcmp(args->report + size - 5, ".json") == 0)
        return tool_usage(command, "--report writes a page of HTML; --json prints JSON on stdout");
    if (strcmp(args->report, "-") == 0 && args->session.tool.json)
        return tool_usage(command, "--report - and --json both write to stdout");
    return 0;
}

static int answer(const struct command *command, struct du_args *args, struct sfs_error *err)
{
    const char *whole = args->report        ? "report"
                        : args->layers      ? "layers"
                        : args->device_code ? "device-code"
                                            : NULL;
    if (whole && args->session.rest_count > 0)
        return tool_usage(command, "--%s is of the whole stage: it takes no PATH", whole);
    if (args->report)
        return report(args, err);
    if (args->device_code)
        return device_table_print(&args->session, err);
    if (args->why)
        return du_why(&args->session, args->human, err);
    return args->layers ? by_layer(args, err) : by_directory(args, err);
}

static int run(const struct command *command, struct du_args *args)
{
    struct sfs_error err;
    int usage = check(command, args);
    if (usage)
        return usage;
    if (args->summarize)
        args->depth = 0;
    int r = choose_order(args, &err);
    if (r == 0)
        r = session_open(&args->session, args->report || args->device_code, &err);
    if (r < 0)
        return session_close(&args->session, r, &err);
    args->tree = sfs_stage_tree(args->session.stage);
    r = answer(command, args, &err);
    return session_close(&args->session, r, &err);
}

int cmd_du(const struct command *command, int argc, char **argv)
{
    struct du_args args = { .depth = 1 };
    const struct option_spec own[] = {
        { "layers", 0, OPTION_FLAG, &args.layers, NULL,
          "by layer: what each brings, what later ones hide, what made it" },
        { "device-code", 0, OPTION_FLAG, &args.device_code, NULL,
          "by GPU: device code in libraries; with --gpu-arch, what goes of it" },
        { "why", 0, OPTION_FLAG, &args.why, NULL,
          "of a trimmed stage: why each name at or below PATH is kept; without PATH, by reason" },
        { "report", 0, OPTION_TEXT, &args.report, "FILE",
          "write a page to look at: what takes the space, what is there twice, what may go" },
        { "profile", 0, OPTION_LIST, &args.profiles, "FILE",
          "with --report: what this trace used, and what not (repeatable)" },
        { "depth", 'd', OPTION_NUMBER, &args.depth, "N",
          "show directories N levels down (default 1)" },
        { "max-depth", 0, OPTION_NUMBER, &args.depth, "N", "the same" },
        { "all", 'a', OPTION_FLAG, &args.all, NULL, "files too, not only directories" },
        { "summarize", 's', OPTION_FLAG, &args.summarize, NULL, "one line for each PATH: -d 0" },
        { "total", 'c', OPTION_FLAG, &args.total, NULL, "at the end, the sum" },
        { "human-readable", 'h', OPTION_FLAG, &args.human, NULL,
          "sizes as 1.5K, 23M, 4.0G (default on a terminal)" },
        { NULL, 'k', OPTION_FLAG, &args.kibi, NULL, "sizes in 1024 bytes (default elsewhere)" },
        { "bytes", 'b', OPTION_FLAG, &args.bytes, NULL, "--apparent-size, in bytes" },
        { "apparent-size", 0, OPTION_FLAG, &args.apparent, NULL,
          "how long files are, with holes, not what they fill" },
        { "separate-dirs", 'S', OPTION_FLAG, &args.separate, NULL,
          "a directory without those in it" },
        { "threshold", 't', OPTION_SIZE, &args.threshold, "SIZE", "only what is that large" },
        { "sort", 0, OPTION_TEXT, &args.sort, "ORDER",
          "size (smallest first; default on a terminal), name or none" },
    };
    int leave = session_parse(command, &args.session, own, sizeof own / sizeof *own, argc, argv);
    if (leave)
        return leave - 1;
    if (args.human && session_is_empty(&args.session)) {
        help_print(command, &args.session.set);
        return tool_finish(EXIT_DONE);
    }
    int status = run(command, &args);
    free_rows(&args);
    free(args.profiles.items);
    return status;
}
