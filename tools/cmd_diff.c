/* diff: what the second stage adds, removes and changes. */
#include "cmd.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct diff_args {
    struct session session; /* options, and the second stage */
    struct sfs_stage *first;
    const struct sfs_tree *a, *b;
    json_t *changes; /* NULL: print lines */
    uint64_t added, removed, changed, added_bytes, removed_bytes;
};

static const struct {
    unsigned what;
    const char *name;
} whats[] = {
    { SFS_CHANGE_TYPE, "type" },   { SFS_CHANGE_CONTENT, "content" },
    { SFS_CHANGE_MODE, "mode" },   { SFS_CHANGE_OWNER, "owner" },
    { SFS_CHANGE_MTIME, "mtime" }, { SFS_CHANGE_XATTRS, "xattrs" },
    { SFS_CHANGE_LINK, "link" },
};

/* Directories have no size of their own here. */
static uint64_t size_of(const struct sfs_tree *tree, sfs_node node)
{
    struct sfs_attr attr;
    sfs_tree_attr(tree, node, &attr);
    return S_ISREG(attr.mode) ? attr.size : 0;
}

static void add_change(struct diff_args *args, const struct sfs_change *change, uint64_t before,
                       uint64_t after)
{
    static const char *const kinds[] = {
        [SFS_ADDED] = "added", [SFS_REMOVED] = "removed", [SFS_CHANGED] = "changed"
    };
    json_t *json =
        json_pack("{s:s, s:o}", "kind", kinds[change->kind], "path", json_text(change->path));
    if (change->kind != SFS_ADDED)
        json_object_set_new(json, "size_before", json_integer((json_int_t)before));
    if (change->kind != SFS_REMOVED)
        json_object_set_new(json, "size_after", json_integer((json_int_t)after));
    json_t *what = json_array();
    for (size_t i = 0; i < sizeof whats / sizeof *whats; i++)
        if (change->kind == SFS_CHANGED && (change->what & whats[i].what))
            json_array_append_new(what, json_string(whats[i].name));
    json_object_set_new(json, "what", what);
    json_array_append_new(args->changes, json);
}

static void print_change(const struct sfs_change *change, uint64_t before, uint64_t after)
{
    char size[SIZE_TEXT];
    printf("%c %7s  /", "ADC"[change->kind],
           print_size(change->kind == SFS_REMOVED ? before : after, size));
    print_path(change->path);
    const char *separator = "  (";
    for (size_t i = 0; change->kind == SFS_CHANGED && i < sizeof whats / sizeof *whats; i++)
        if (change->what & whats[i].what) {
            printf("%s%s", separator, whats[i].name);
            separator = ", ";
        }
    puts(*separator == ',' ? ")" : "");
}

static int show_change(void *user, const struct sfs_change *change)
{
    struct diff_args *args = user;
    uint64_t before = change->kind == SFS_ADDED ? 0 : size_of(args->a, change->a);
    uint64_t after = change->kind == SFS_REMOVED ? 0 : size_of(args->b, change->b);
    uint64_t *counts[] = {
        [SFS_ADDED] = &args->added, [SFS_REMOVED] = &args->removed, [SFS_CHANGED] = &args->changed
    };
    ++*counts[change->kind];
    args->added_bytes += after > before ? after - before : 0;
    args->removed_bytes += before > after ? before - after : 0;
    if (args->changes)
        add_change(args, change, before, after);
    else
        print_change(change, before, after);
    return 0;
}

static int compare(struct diff_args *args, struct sfs_error *err)
{
    args->a = sfs_stage_tree(args->first);
    args->b = sfs_stage_tree(args->session.stage);
    args->changes = args->session.tool.json ? json_array() : NULL;
    int r = sfs_tree_diff(args->a, args->b, SFS_DIFF_CONTENT, show_change, args, err);
    if (r < 0) {
        json_decref(args->changes);
        return r;
    }
    if (args->changes)
        return print_json(json_pack("{s:o, s:I, s:I, s:I, s:I, s:I}", "changes", args->changes,
                                    "added", (json_int_t)args->added, "removed",
                                    (json_int_t)args->removed, "changed", (json_int_t)args->changed,
                                    "added_bytes", (json_int_t)args->added_bytes, "removed_bytes",
                                    (json_int_t)args->removed_bytes));
    char more[SIZE_TEXT], less[SIZE_TEXT];
    printf("%llu added, %llu removed, %llu changed; +%s -%s\n", (unsigned long long)args->added,
           (unsigned long long)args->removed, (unsigned long long)args->changed,
           print_size(args->added_bytes, more), print_size(args->removed_bytes, less));
    return 0;
}

int cmd_diff(const struct command *command, int argc, char **argv)
{
    struct diff_args args = { 0 };
    int leave = session_parse(command, &args.session, NULL, 0, argc, argv);
    if (leave)
        return leave - 1;
    int wanted = stage_is_given(&args.session.stage_args) ? 1 : 2;
    if (args.session.rest_count != wanted)
        return tool_usage(command,
                          wanted == 1 ? "needs one more STAGE, an IMAGE" : "needs two STAGEs");
    const char *first = args.session.rest[0];
    args.session.rest++;
    args.session.rest_count--;
    struct sfs_error err;
    int r = session_open(&args.session, true, &err);
    if (r == 0)
        r = sfs_stage_open(&(struct sfs_stage_spec){ .image = first }, &args.session.tool.context,
                           &args.first, &err);
    if (r == 0)
        r = compare(&args, &err);
    sfs_stage_close(&args.first);
    return session_close(&args.session, r, &err);
}
