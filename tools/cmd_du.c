/* du: sizes by directory, and by layer with what layers waste. */
#include "cmd.h"

#include <errno.h>
#include <jansson.h>
#include <stagefs/usage.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct du_args {
    struct session session;
    bool layers;
    long depth;
    bool *seen; /* by node: a hard link is counted where it is met first, as du does */
    const struct sfs_tree *tree;
};

struct du_total {
    uint64_t bytes, files;
};

static void print_total(const char *path, const struct du_total *total)
{
    char size[SIZE_TEXT];
    printf("%7s  ", print_size(total->bytes, size));
    print_path(path);
    putchar('\n');
}

static char *join(const char *dir, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name) < 0)
        return NULL;
    return path;
}

/* Adds up `node`, printing (or adding to `siblings`) directories down to `depth` levels, children
 * first. */
static int add_up(struct du_args *args, const char *path, sfs_node node, long depth,
                  json_t *siblings, struct du_total *total)
{
    struct sfs_attr attr;
    sfs_tree_attr(args->tree, node, &attr);
    struct du_total own = { 0 };
    if (!args->seen[node]) {
        args->seen[node] = true;
        own.files = !S_ISDIR(attr.mode);
        own.bytes = S_ISREG(attr.mode) ? attr.size : 0;
    }
    int r = 0;
    if (S_ISDIR(attr.mode)) {
        json_t *children = siblings ? json_array() : NULL;
        uint32_t count;
        const struct sfs_dirent *entries = sfs_tree_list(args->tree, node, &count);
        for (uint32_t i = 0; r == 0 && i < count; i++) {
            AUTO(sfs_free) char *child = join(path, entries[i].name);
            r = child ? add_up(args, child, entries[i].node, depth - 1, children, &own) : -ENOMEM;
        }
        if (siblings && depth >= 0)
            json_array_append_new(siblings,
                                  json_pack("{s:o, s:I, s:I, s:o}", "path", json_text(path),
                                            "bytes", (json_int_t)own.bytes, "files",
                                            (json_int_t)own.files, "directories", children));
        else
            json_decref(children);
        if (!siblings && depth >= 0)
            print_total(path, &own);
    }
    total->bytes += own.bytes;
    total->files += own.files;
    return r;
}

static int by_directory(struct du_args *args, const char *path, struct sfs_error *err)
{
    sfs_node node;
    int r = sfs_tree_resolve(args->tree, path, SFS_RESOLVE_FOLLOW, &node, err);
    if (r < 0)
        return r;
    args->seen = calloc(sfs_tree_count(args->tree), sizeof *args->seen);
    if (!args->seen)
        return sfs_fail_memory(err);
    struct du_total total = { 0 };
    json_t *answer = args->session.tool.json ? json_array() : NULL;
    r = add_up(args, path, node, args->depth, answer, &total);
    free(args->seen);
    if (r < 0)
        return sfs_fail_memory(err);
    if (!answer) {
        struct sfs_attr attr;
        sfs_tree_attr(args->tree, node, &attr);
        if (!S_ISDIR(attr.mode))
            print_total(path, &total);
        return 0;
    }
    json_t *first = json_incref(json_array_get(answer, 0));
    if (!first)
        first = json_pack("{s:o, s:I, s:I}", "path", json_text(path), "bytes",
                          (json_int_t)total.bytes, "files", (json_int_t)total.files);
    json_decref(answer);
    return print_json(first);
}

/* What a layer brings, and how much of it the layers above hide: bytes that are pulled and stored
 * for nothing. */
static int by_layer(const struct du_args *args, struct sfs_error *err)
{
    json_t *answer = args->session.tool.json ? json_array() : NULL;
    if (!answer)
        printf("%5s  %7s  %7s  %7s  %8s  %s\n", "layer", "size", "visible", "wasted", "names",
               "what");
    for (size_t i = 0; i < sfs_tree_layers(args->tree); i++) {
        struct sfs_layer_usage usage;
        int r = sfs_tree_layer_usage(args->tree, i, &usage, err);
        if (r < 0) {
            json_decref(answer);
            return r;
        }
        uint64_t wasted = usage.bytes - usage.visible_bytes;
        char size[SIZE_TEXT], visible[SIZE_TEXT], waste[SIZE_TEXT];
        if (answer)
            json_array_append_new(
                answer,
                json_pack("{s:I, s:o, s:I, s:I, s:I, s:I, s:I}", "layer", (json_int_t)i, "label",
                          json_text(sfs_tree_layer_label(args->tree, i)), "bytes",
                          (json_int_t)usage.bytes, "visible_bytes", (json_int_t)usage.visible_bytes,
                          "wasted_bytes", (json_int_t)wasted, "names", (json_int_t)usage.names,
                          "whiteouts", (json_int_t)usage.whiteouts));
        else
            printf("%5zu  %7s  %7s  %7s  %8u  %s\n", i, print_size(usage.bytes, size),
                   print_size(usage.visible_bytes, visible), print_size(wasted, waste), usage.names,
                   sfs_tree_layer_label(args->tree, i));
    }
    return answer ? print_json(answer) : 0;
}

int cmd_du(const struct command *command, int argc, char **argv)
{
    struct du_args args = { .depth = 1 };
    const struct option_spec own[] = {
        { "layers", 0, OPTION_FLAG, &args.layers, NULL,
          "by layer: what each brings, and what later ones hide" },
        { "depth", 'd', OPTION_NUMBER, &args.depth, "N",
          "show directories N levels down (default 1)" },
    };
    int leave = session_parse(command, &args.session, own, sizeof own / sizeof *own, argc, argv);
    if (leave)
        return leave - 1;
    struct sfs_error err;
    int r = session_open(&args.session, false, &err);
    if (r < 0)
        return session_close(&args.session, r, &err);
    args.tree = sfs_stage_tree(args.session.stage);
    if (args.session.rest_count > 1)
        r = tool_usage(command, "takes one PATH");
    else if (args.layers)
        r = by_layer(&args, &err);
    else
        r = by_directory(&args, args.session.rest_count > 0 ? args.session.rest[0] : "/", &err);
    return session_close(&args.session, r, &err);
}
