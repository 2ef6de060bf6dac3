/* push: an image into a registry. */
#include "cmd.h"

#include <errno.h>
#include <jansson.h>
#include <stagefs/format.h>
#include <stagefs/push.h>
#include <stdio.h>

static int print_result(const struct tool *tool, const struct sfs_push_result *result)
{
    char text[SFS_DIGEST_TEXT], size[SIZE_TEXT], sent[SIZE_TEXT];
    if (tool->json)
        return print_json(json_pack(
            "{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "manifest", json_digest(&result->manifest),
            "manifests", (json_int_t)result->manifests, "blobs", (json_int_t)result->blobs, "there",
            (json_int_t)result->there, "mounted", (json_int_t)result->mounted, "sent",
            (json_int_t)result->sent, "size", (json_int_t)result->size, "sent_size",
            (json_int_t)result->sent_size));
    puts(sfs_digest_print(&result->manifest, text));
    if (!tool->quiet)
        fprintf(stderr, "%llu blob%s, %s: %llu sent (%s), %llu mounted, %llu there already\n",
                (unsigned long long)result->blobs, sfs_plural(result->blobs),
                print_size(result->size, size), (unsigned long long)result->sent,
                print_size(result->sent_size, sent), (unsigned long long)result->mounted,
                (unsigned long long)result->there);
    return EXIT_DONE;
}

int cmd_push(const struct command *command, int argc, char **argv)
{
    struct tool tool = { 0 };
    bool all = false;
    char **rest;
    int count;
    const struct option_spec own[] = {
        { "all", 'a', OPTION_FLAG, &all, NULL, "an index with all its images, not one of them" },
    };
    int leave =
        tool_arguments(command, &tool, own, sizeof own / sizeof *own, argc, argv, &rest, &count);
    if (leave)
        return leave - 1;
    if (count != 2)
        return tool_usage(command, "needs an IMAGE and docker://HOST/NAME:TAG");
    struct sfs_error err;
    struct sfs_push_result result;
    int r = tool_open(&tool, false, &err);
    const struct sfs_push_options options = { .destination = rest[1],
                                              .store = tool.store,
                                              .platform = tool.platform,
                                              .all = all,
                                              .registry = &tool.registry,
                                              .progress = &tool.progress };
    if (r == 0)
        r = sfs_push(rest[0], &options, &result, &err);
    progress_close();
    int status = r < 0 ? tool_fail(r, &err) : tool_finish(print_result(&tool, &result));
    tool_close(&tool);
    return status;
}
