/* ls, cat, stat: looking at a stage without mounting it. */
#include "cmd.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* ---- ls ---- */

struct ls_args {
    struct session session;
    bool details, recursive;
    json_t *entries; /* JSON: what was listed */
};

static void print_details(const struct sfs_tree *tree, sfs_node node)
{
    struct sfs_attr attr;
    sfs_tree_attr(tree, node, &attr);
    char mode[12], time[32];
    printf("%s %3u %5u %5u ", print_mode(attr.mode, mode), attr.nlink, attr.uid, attr.gid);
    if (S_ISCHR(attr.mode) || S_ISBLK(attr.mode))
        printf("%5u, %4u", attr.rdev_major, attr.rdev_minor);
    else
        printf("%11llu", (unsigned long long)attr.size);
    printf(" %s ", print_time(attr.mtime_sec, time));
}

static void print_entry(const struct ls_args *args, const struct sfs_tree *tree, const char *name,
                        sfs_node node)
{
    if (args->details)
        print_details(tree, node);
    print_path(name);
    if (args->details && *sfs_tree_target(tree, node)) {
        printf(" -> ");
        print_path(sfs_tree_target(tree, node));
    }
    putchar('\n');
}

static void add_entry(struct ls_args *args, const struct sfs_tree *tree, const char *name,
                      sfs_node node)
{
    json_t *entry = json_attr(tree, node);
    json_object_set_new(entry, "name", json_text(name));
    json_array_append_new(args->entries, entry);
}

static void show_entry(struct ls_args *args, const struct sfs_tree *tree, const char *name,
                       sfs_node node)
{
    if (args->entries)
        add_entry(args, tree, name, node);
    else
        print_entry(args, tree, name, node);
}

static int visit_recursive(void *user, const char *path, sfs_node node)
{
    struct ls_args *args = user;
    if (*path)
        show_entry(args, sfs_stage_tree(args->session.stage), path, node);
    return 0;
}

static int list_path(struct ls_args *args, const char *path, struct sfs_error *err)
{
    const struct sfs_tree *tree = sfs_stage_tree(args->session.stage);
    sfs_node node;
    /* A link to a directory is entered; one to nothing is shown itself. */
    int r = sfs_tree_resolve(tree, path, SFS_RESOLVE_FOLLOW, &node, NULL);
    if (r < 0)
        r = sfs_tree_resolve(tree, path, 0, &node, err);
    if (r < 0)
        return r;
    struct sfs_attr attr;
    sfs_tree_attr(tree, node, &attr);
    if (!S_ISDIR(attr.mode)) {
        r = sfs_tree_resolve(tree, path, 0, &node, err);
        if (r == 0)
            show_entry(args, tree, path, node);
        return r;
    }
    if (args->recursive)
        return sfs_tree_walk(tree, node, visit_recursive, args, err);
    uint32_t count;
    const struct sfs_dirent *entries = sfs_tree_list(tree, node, &count);
    for (uint32_t i = 0; i < count; i++)
        show_entry(args, tree, entries[i].name, entries[i].node);
    return 0;
}

static int list_paths(struct ls_args *args, struct sfs_error *err)
{
    static char root[] = "/";
    char *only_root[] = { root };
    int count = args->session.rest_count;
    char **paths = args->session.rest;
    if (count == 0) {
        paths = only_root;
        count = 1;
    }
    json_t *answer = args->session.tool.json ? json_array() : NULL;
    for (int i = 0; i < count; i++) {
        args->entries = answer ? json_array() : NULL;
        if (!answer && count > 1)
            printf("%s%s:\n", i > 0 ? "\n" : "", paths[i]);
        int r = list_path(args, paths[i], err);
        if (answer)
            json_array_append_new(answer, json_pack("{s:o, s:o}", "path", json_text(paths[i]),
                                                    "entries", args->entries));
        if (r < 0) {
            json_decref(answer);
            return r;
        }
    }
    return answer ? print_json(answer) : 0;
}

int cmd_ls(const struct command *command, int argc, char **argv)
{
    struct ls_args args = { 0 };
    const struct option_spec own[] = {
        { "long", 'l', OPTION_FLAG, &args.details, NULL, "mode, links, owner, size, time" },
        { "recursive", 'R', OPTION_FLAG, &args.recursive, NULL,
          "also what is below, one path a line" },
    };
    int leave = session_parse(command, &args.session, own, sizeof own / sizeof *own, argc, argv);
    if (leave)
        return leave - 1;
    struct sfs_error err;
    int r = session_open(&args.session, false, &err);
    if (r == 0)
        r = list_paths(&args, &err);
    return session_close(&args.session, r, &err);
}

/* ---- cat ---- */

static int copy_out(const struct sfs_tree *tree, const char *path, struct sfs_error *err)
{
    sfs_node node;
    int r = sfs_tree_resolve(tree, path, SFS_RESOLVE_FOLLOW, &node, err);
    if (r < 0)
        return r;
    struct sfs_attr attr;
    sfs_tree_attr(tree, node, &attr);
    if (!S_ISREG(attr.mode))
        return sfs_fail(err, EISDIR, "%s: not a regular file", path);
    AUTO(sfs_free) char *buf = malloc(1 << 20);
    if (!buf)
        return sfs_fail_memory(err);
    for (uint64_t offset = 0; offset < attr.size;) {
        ssize_t n = sfs_tree_read(tree, node, buf, 1 << 20, offset, err);
        if (n < 0)
            return sfs_fail_while(err, (int)n, "%s", path);
        if (n == 0)
            break;
        if (fwrite(buf, 1, (size_t)n, stdout) != (size_t)n)
            return sfs_fail_errno(err, errno, "writing to stdout");
        offset += (uint64_t)n;
    }
    return 0;
}

int cmd_cat(const struct command *command, int argc, char **argv)
{
    struct session session = { 0 };
    int leave = session_parse(command, &session, NULL, 0, argc, argv);
    if (leave)
        return leave - 1;
    struct sfs_error err;
    if (session.rest_count < (stage_is_given(&session.stage_args) ? 1 : 2))
        return tool_usage(command, "needs STAGE and PATH");
    if (session.tool.json)
        return tool_usage(command,
                          "a file's bytes are not JSON; 'stagefs stat --json' tells about it");
    int r = session_open(&session, true, &err);
    for (int i = 0; r == 0 && i < session.rest_count; i++)
        r = copy_out(sfs_stage_tree(session.stage), session.rest[i], &err);
    return session_close(&session, r, &err);
}

/* ---- stat ---- */

static void print_stat(const struct sfs_tree *tree, const char *path, sfs_node node)
{
    struct sfs_attr attr;
    sfs_tree_attr(tree, node, &attr);
    char mode[12], time[32];
    printf("  Path: ");
    print_path(path);
    if (S_ISLNK(attr.mode)) {
        printf(" -> ");
        print_path(sfs_tree_target(tree, node));
    }
    printf("\n  Size: %-15llu Inode: %-10u Links: %u\n", (unsigned long long)attr.size, node + 1,
           attr.nlink);
    printf("  Mode: %04o %s  Uid: %u  Gid: %u", attr.mode & 07777, print_mode(attr.mode, mode),
           attr.uid, attr.gid);
    if (S_ISCHR(attr.mode) || S_ISBLK(attr.mode))
        printf("  Device: %u,%u", attr.rdev_major, attr.rdev_minor);
    printf("\nModify: %s (%lld.%09u)\n", print_time(attr.mtime_sec, time),
           (long long)attr.mtime_sec, attr.mtime_nsec);
    for (uint32_t i = 0; i < sfs_tree_xattr_count(tree, node); i++) {
        struct sfs_xattr xattr = sfs_tree_xattr(tree, node, i);
        printf(" Xattr: %s (%zu bytes)\n", xattr.name, xattr.size);
    }
    size_t layer;
    uint32_t inode;
    if (sfs_tree_origin(tree, node, &layer, &inode))
        printf(" Layer: %s\n", sfs_tree_layer_label(tree, layer));
}

static int stat_path(const struct sfs_tree *tree, const char *path, json_t *answer,
                     struct sfs_error *err)
{
    sfs_node node;
    int r = sfs_tree_resolve(tree, path, 0, &node, err);
    if (r < 0)
        return r;
    if (!answer) {
        print_stat(tree, path, node);
        return 0;
    }
    json_t *entry = json_attr(tree, node);
    json_object_set_new(entry, "path", json_text(path));
    size_t layer;
    uint32_t inode;
    if (sfs_tree_origin(tree, node, &layer, &inode)) {
        json_object_set_new(entry, "layer", json_integer((json_int_t)layer));
        json_object_set_new(entry, "layer_label", json_text(sfs_tree_layer_label(tree, layer)));
    }
    json_array_append_new(answer, entry);
    return 0;
}

int cmd_stat(const struct command *command, int argc, char **argv)
{
    struct session session = { 0 };
    int leave = session_parse(command, &session, NULL, 0, argc, argv);
    if (leave)
        return leave - 1;
    if (session.rest_count < (stage_is_given(&session.stage_args) ? 1 : 2))
        return tool_usage(command, "needs STAGE and PATH");
    struct sfs_error err;
    int r = session_open(&session, false, &err);
    json_t *answer = session.tool.json ? json_array() : NULL;
    for (int i = 0; r == 0 && i < session.rest_count; i++)
        r = stat_path(sfs_stage_tree(session.stage), session.rest[i], answer, &err);
    if (r == 0 && answer)
        r = print_json(json_incref(answer));
    json_decref(answer);
    return session_close(&session, r, &err);
}
