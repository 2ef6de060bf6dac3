/* cat, stat: looking at a stage without mounting it. */
#include "cmd.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <stagefs/format.h>

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
        return sfs_fail(err, EISDIR, "%s: not a regular file", *path ? path : "/");
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
        printf(" Xattr: %s (%zu byte%s)\n", xattr.name, xattr.size, sfs_plural(xattr.size));
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
