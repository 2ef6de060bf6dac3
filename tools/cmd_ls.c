/* ls: names without mounting. In text as coreutils' ls has it, so that what it prints for a stage
 * is what `ls --time-style=long-iso` prints on the mount. */
#include "cmd.h"
#include "colors.h"
#include "listing.h"

#include <stagefs/format.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct ls_args {
    struct session session;
    struct listing_options options;
    bool all, almost_all, recursive, directory;
    const char *color;
    const struct sfs_tree *tree;
    struct owners owners;
    int status;   /* EXIT_FAILED: a PATH was not there */
    bool printed; /* something stands above: a blank line goes between */
    /* Standard output is a terminal: with totals, and with -R each directory under its name. For
     * programs -R tells a path a line. */
    bool for_people;
    bool headings; /* a directory's names stand below its own */
};

/* ---- text ---- */

static void fill_directory(const struct ls_args *args, sfs_node dir, struct listing *list)
{
    uint32_t count;
    const struct sfs_dirent *entries = sfs_tree_list(args->tree, dir, &count);
    if (args->all) {
        listing_add(list, args->tree, ".", dir);
        listing_add(list, args->tree, "..", sfs_tree_parent(args->tree, dir));
    }
    for (uint32_t i = 0; i < count; i++)
        if (args->all || args->almost_all || entries[i].name[0] != '.')
            listing_add(list, args->tree, entries[i].name, entries[i].node);
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

struct ls_paths { /* what is gathered of a whole tree */
    const struct sfs_tree *tree;
    struct listing list; /* of names on the heap */
};

static int gather_path(void *user, const char *path, sfs_node node)
{
    struct ls_paths *paths = user;
    if (!*path)
        return 0;
    char *name = strdup(path);
    if (!name)
        return -ENOMEM;
    listing_add(&paths->list, paths->tree, name, node);
    if (paths->list.failed)
        free(name);
    return paths->list.failed ? -ENOMEM : 0;
}

/* For programs: every name below the directory, a path a line. */
static int list_tree(struct ls_args *args, sfs_node dir)
{
    struct ls_paths paths = { .tree = args->tree };
    const struct listing_options *options = &args->options;
    int r = sfs_tree_walk(args->tree, dir, gather_path, &paths, NULL);
    if (options->by_size || options->by_time || options->reverse)
        listing_sort(&paths.list, options);
    if (r == 0)
        r = listing_print(&paths.list, options);
    for (size_t i = 0; i < paths.list.count; i++)
        free((void *)(uintptr_t)paths.list.items[i].name);
    listing_close(&paths.list);
    return r;
}

static int list_directory(struct ls_args *args, const char *path, sfs_node dir)
{
    AUTO(listing_close) struct listing list = { 0 };
    if (args->recursive && !args->for_people)
        return list_tree(args, dir);
    fill_directory(args, dir, &list);
    if (list.failed)
        return -ENOMEM;
    if (args->printed)
        putchar('\n');
    args->printed = true;
    if (args->headings) {
        print_path(path);
        puts(":");
    }
    listing_sort(&list, &args->options);
    if (args->options.details && args->for_people)
        listing_print_total(&list, &args->options);
    int r = listing_print(&list, &args->options);
    for (size_t i = 0; r == 0 && args->recursive && i < list.count; i++) {
        const struct listing_item *item = &list.items[i];
        if (!S_ISDIR(item->attr.mode) || is_dot(item->name))
            continue;
        AUTO(sfs_free) char *child = path_in(path, item->name);
        r = child ? list_directory(args, child, item->node) : -ENOMEM;
    }
    return r;
}

/* As ls: a link to a directory is entered if nothing is asked of the link itself. */
static int find_path(const struct ls_args *args, const char *path, sfs_node *ret_node,
                     struct sfs_error *err)
{
    struct sfs_attr attr;
    if (!args->options.details && !args->directory &&
        sfs_tree_resolve(args->tree, path, SFS_RESOLVE_FOLLOW, ret_node, NULL) == 0) {
        sfs_tree_attr(args->tree, *ret_node, &attr);
        if (S_ISDIR(attr.mode))
            return 0;
    }
    return sfs_tree_resolve(args->tree, path, 0, ret_node, err);
}

/* What stands on the command line: files come first, then each directory with what is in it. */
static void sort_paths(struct ls_args *args, char **paths, int count, struct listing *files,
                       struct listing *directories)
{
    for (int i = 0; i < count; i++) {
        sfs_node node;
        struct sfs_attr attr;
        struct sfs_error err;
        int found = find_path(args, paths[i], &node, &err);
        if (found < 0) {
            args->status = tool_fail(found, &err);
            continue;
        }
        sfs_tree_attr(args->tree, node, &attr);
        bool enters = S_ISDIR(attr.mode) && !args->directory;
        listing_add(enters ? directories : files, args->tree, paths[i], node);
    }
    listing_sort(files, &args->options);
    listing_sort(directories, &args->options);
}

static int list_paths(struct ls_args *args, char **paths, int count)
{
    AUTO(listing_close) struct listing files = { 0 };
    AUTO(listing_close) struct listing directories = { 0 };
    sort_paths(args, paths, count, &files, &directories);
    args->headings = (args->recursive && args->for_people) || count > 1;
    args->printed = files.count > 0;
    int r = directories.failed ? -ENOMEM : listing_print(&files, &args->options);
    for (size_t i = 0; r == 0 && i < directories.count; i++)
        r = list_directory(args, directories.items[i].name, directories.items[i].node);
    return r;
}

/* Names are looked up as far as they can be read: sizes and times are worth having without them. */
static void read_owners(struct ls_args *args)
{
    struct sfs_error err;
    if (args->options.details && !args->options.numeric &&
        owners_read(&args->owners, args->tree, &err) < 0 && !args->session.tool.quiet)
        fprintf(stderr, "stagefs: warning: owners are shown by number: %s\n", err.text);
    args->options.owners = &args->owners;
}

static int show_text(struct ls_args *args, char **paths, int count, struct sfs_error *err)
{
    args->for_people = isatty(STDOUT_FILENO);
    read_owners(args);
    int r = list_paths(args, paths, count);
    owners_close(&args->owners);
    return r < 0 ? sfs_fail_memory(err) : args->status;
}

/* ---- JSON: all names, links that are given are followed ---- */

struct ls_answer {
    const struct sfs_tree *tree;
    json_t *entries;
};

static int add_entry(struct ls_answer *answer, const char *name, sfs_node node)
{
    json_t *entry = json_attr(answer->tree, node);
    json_object_set_new(entry, "name", json_text(name));
    return json_array_append_new(answer->entries, entry) < 0 ? -ENOMEM : 0;
}

static int visit_recursive(void *user, const char *path, sfs_node node)
{
    return *path ? add_entry(user, path, node) : 0;
}

static int add_directory(const struct ls_args *args, struct ls_answer *answer, sfs_node dir)
{
    AUTO(listing_close) struct listing list = { 0 };
    uint32_t count;
    const struct sfs_dirent *entries = sfs_tree_list(args->tree, dir, &count);
    for (uint32_t i = 0; i < count; i++)
        listing_add(&list, args->tree, entries[i].name, entries[i].node);
    listing_sort(&list, &args->options);
    int r = list.failed ? -ENOMEM : 0;
    for (size_t i = 0; r == 0 && i < list.count; i++)
        r = add_entry(answer, list.items[i].name, list.items[i].node);
    return r;
}

static int add_path(const struct ls_args *args, struct ls_answer *answer, const char *path,
                    struct sfs_error *err)
{
    sfs_node node;
    struct sfs_attr attr;
    int r = args->directory ? -ENOENT
                            : sfs_tree_resolve(args->tree, path, SFS_RESOLVE_FOLLOW, &node, NULL);
    if (r == 0) {
        sfs_tree_attr(args->tree, node, &attr);
        if (S_ISDIR(attr.mode) && args->recursive)
            return sfs_tree_walk(args->tree, node, visit_recursive, answer, err);
        if (S_ISDIR(attr.mode))
            return add_directory(args, answer, node) < 0 ? sfs_fail_memory(err) : 0;
    }
    r = sfs_tree_resolve(args->tree, path, 0, &node, err);
    if (r == 0 && add_entry(answer, path, node) < 0)
        r = sfs_fail_memory(err);
    return r;
}

static int show_json(const struct ls_args *args, char **paths, int count, struct sfs_error *err)
{
    json_t *answer = json_array();
    for (int i = 0; i < count; i++) {
        struct ls_answer one = { .tree = args->tree, .entries = json_array() };
        int r = add_path(args, &one, paths[i], err);
        json_array_append_new(
            answer, json_pack("{s:o, s:o}", "path", json_text(paths[i]), "entries", one.entries));
        if (r < 0) {
            json_decref(answer);
            return r;
        }
    }
    return print_json(answer);
}

/* ---- the command ---- */

static int show(struct ls_args *args, struct sfs_error *err)
{
    static char root[] = "/";
    char *only_root[] = { root };
    int count = args->session.rest_count;
    char **paths = count > 0 ? args->session.rest : only_root;
    count += count == 0;
    args->tree = sfs_stage_tree(args->session.stage);
    return args->session.tool.json ? show_json(args, paths, count, err)
                                   : show_text(args, paths, count, err);
}

static void settle_options(struct ls_args *args)
{
    struct listing_options *options = &args->options;
    options->details |= options->numeric;
    options->width = isatty(STDOUT_FILENO) && !options->one ? print_columns(STDOUT_FILENO) : 0;
}

int cmd_ls(const struct command *command, int argc, char **argv)
{
    struct ls_args args = { 0 };
    struct listing_options *options = &args.options;
    const struct option_spec own[] = {
        { "all", 'a', OPTION_FLAG, &args.all, NULL,
          "also names that begin with '.', and . and .." },
        { "almost-all", 'A', OPTION_FLAG, &args.almost_all, NULL, "the same without . and .." },
        { "long", 'l', OPTION_FLAG, &options->details, NULL, "mode, links, owner, size, time" },
        { "human-readable", 'h', OPTION_FLAG, &options->human, NULL, "sizes as 1.5K, 23M, 4.0G" },
        { "numeric-uid-gid", 'n', OPTION_FLAG, &options->numeric, NULL,
          "as -l, with numbers of owners" },
        { "recursive", 'R', OPTION_FLAG, &args.recursive, NULL,
          "also what is below; not on a terminal: one path a line" },
        { "directory", 'd', OPTION_FLAG, &args.directory, NULL,
          "a directory itself, not what is in it" },
        { "reverse", 'r', OPTION_FLAG, &options->reverse, NULL, "in reverse order" },
        { NULL, 'S', OPTION_FLAG, &options->by_size, NULL, "largest first" },
        { NULL, 't', OPTION_FLAG, &options->by_time, NULL, "newest first" },
        { NULL, '1', OPTION_FLAG, &options->one, NULL, "one name a line, on a terminal too" },
        { "color", 0, OPTION_WHEN, &args.color, "WHEN", "always, auto (default) or never" },
    };
    int leave = session_parse(command, &args.session, own, sizeof own / sizeof *own, argc, argv);
    if (leave)
        return leave - 1;
    if (options->human && session_is_empty(&args.session)) {
        help_print(command, &args.session.set);
        return tool_finish(EXIT_DONE);
    }
    settle_options(&args);
    struct sfs_error err;
    int r = colors_choose(args.color, &options->color, &err);
    if (r == 0)
        r = session_open(&args.session, options->details && !options->numeric, &err);
    if (r == 0)
        r = show(&args, &err);
    return session_close(&args.session, r, &err);
}
