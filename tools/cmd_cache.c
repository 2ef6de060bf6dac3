/* cache ls, cache prune. */
#include "cmd.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <stagefs/format.h>

static const char *kind_name(enum sfs_store_kind kind)
{
    static const char *const names[] = {
        [SFS_STORE_INDEX] = "index",       [SFS_STORE_COPY] = "copy",
        [SFS_STORE_FILE] = "file",         [SFS_STORE_SEEN] = "seen",
        [SFS_STORE_RESULT] = "result",     [SFS_STORE_FILTER] = "filter",
        [SFS_STORE_BLOB] = "blob",         [SFS_STORE_PART] = "part",
        [SFS_STORE_DOCUMENT] = "document", [SFS_STORE_NAME] = "name",
        [SFS_STORE_FINDINGS] = "findings", [SFS_STORE_START] = "start",
        [SFS_STORE_PACK] = "pack",
    };
    return names[kind];
}

static int print_item(void *user, const struct sfs_store_item *item)
{
    (void)user;
    char size[SIZE_TEXT], used[32];
    printf("%-8s  %-71s  %7s  %s%s\n", kind_name(item->kind), item->key,
           print_size(item->size, size), print_time(item->used, used),
           item->in_use ? "  in use" : "");
    return 0;
}

static int add_item(void *user, const struct sfs_store_item *item)
{
    json_array_append_new(user,
                          json_pack("{s:s, s:s, s:I, s:I, s:b}", "kind", kind_name(item->kind),
                                    "key", item->key, "size", (json_int_t)item->size, "used",
                                    (json_int_t)item->used, "in_use", item->in_use));
    return 0;
}

static int list_items(const struct tool *tool, struct sfs_error *err)
{
    if (!tool->json) {
        print_path(sfs_store_dir(tool->store));
        putchar('\n');
        return sfs_store_list(tool->store, print_item, NULL, err);
    }
    json_t *items = json_array();
    int r = sfs_store_list(tool->store, add_item, items, err);
    if (r < 0) {
        json_decref(items);
        return r;
    }
    return print_json(
        json_pack("{s:s, s:o}", "directory", sfs_store_dir(tool->store), "items", items));
}

static int prune(const struct tool *tool, uint64_t keep, struct sfs_error *err)
{
    uint64_t freed, items;
    int r = sfs_store_prune(tool->store, keep, &freed, &items, err);
    if (r < 0)
        return r;
    if (tool->json)
        return print_json(
            json_pack("{s:I, s:I}", "freed", (json_int_t)freed, "items", (json_int_t)items));
    char size[SIZE_TEXT];
    printf("removed %llu file%s, freed %s\n", (unsigned long long)items, sfs_plural(items),
           print_size(freed, size));
    return 0;
}

int cmd_cache(const struct command *command, int argc, char **argv)
{
    struct tool tool = { 0 };
    uint64_t keep = 0;
    const struct option_spec own[] = {
        { "keep", 0, OPTION_SIZE, &keep, "SIZE",
          "prune: keep that much, what was used last (default: nothing)" },
        { "json", 0, OPTION_FLAG, &tool.json, NULL, "print one JSON document on stdout" },
    };
    char **rest;
    int count;
    int leave = tool_plain_arguments(command, &tool, own, sizeof own / sizeof *own, argc, argv,
                                     &rest, &count);
    if (leave)
        return leave - 1;
    bool list = count == 1 && strcmp(rest[0], "ls") == 0;
    if (!list && !(count == 1 && strcmp(rest[0], "prune") == 0))
        return tool_usage(command, "needs 'ls' or 'prune'");
    struct sfs_error err;
    int r = tool_open(&tool, false, &err);
    if (r == 0)
        r = list ? list_items(&tool, &err) : prune(&tool, keep, &err);
    int status = r < 0 ? tool_fail(r, &err) : tool_finish(r);
    tool_close(&tool);
    return status;
}
