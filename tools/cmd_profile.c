/* profile push, ls, merge: start profiles, beside images at registries. */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stagefs/artifact.h>
#include <stagefs/format.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct profile_args {
    struct tool tool;
    const char *output, *workload;
    char **rest;
    int count;
};

static struct sfs_image_options image_options(const struct tool *tool)
{
    return (struct sfs_image_options){ .platform = tool->platform,
                                       .store = tool->store,
                                       .registry = &tool->registry,
                                       .progress = &tool->progress };
}

static int push(const struct profile_args *args, struct sfs_error *err)
{
    const struct sfs_artifact_place place = { .ref = args->rest[2],
                                              .options = image_options(&args->tool) };
    const struct sfs_profile_note note = { .workload = args->workload };
    struct sfs_digest digest;
    char text[SFS_DIGEST_TEXT];
    int r = sfs_profile_push(args->rest[1], &place, &note, &digest, err);
    if (r < 0)
        return r;
    if (args->tool.json)
        return print_json(json_pack("{s:o}", "artifact", json_digest(&digest)));
    puts(sfs_digest_print(&digest, text));
    return EXIT_DONE;
}

/* ---- ls */

static int add_item(void *user, const struct sfs_profile_item *item)
{
    const struct sfs_profile_note *note = &item->note;
    json_array_append_new(user, json_pack("{s:o, s:o, s:I}", "artifact", json_digest(&item->digest),
                                          "workload",
                                          note->workload ? json_text(note->workload) : json_null(),
                                          "runs", (json_int_t)note->runs));
    return 0;
}

static int print_item(void *user, const struct sfs_profile_item *item)
{
    char text[SFS_DIGEST_TEXT];
    (void)user;
    printf("%s", sfs_digest_print(&item->digest, text));
    if (item->note.runs)
        printf("  %llu run%s", (unsigned long long)item->note.runs, sfs_plural(item->note.runs));
    if (item->note.workload) {
        printf("  ");
        print_path(item->note.workload);
    }
    putchar('\n');
    return 0;
}

static int list(const struct profile_args *args, struct sfs_error *err)
{
    const struct sfs_artifact_place place = { .ref = args->rest[1],
                                              .options = image_options(&args->tool) };
    if (!args->tool.json)
        return sfs_profile_list(&place, print_item, NULL, err);
    json_t *items = json_array();
    int r = sfs_profile_list(&place, add_item, items, err);
    if (r == 0)
        return print_json(json_pack("{s:o}", "profiles", items));
    json_decref(items);
    return r;
}

/* ---- merge */

static int merge_into(const struct profile_args *args, int fd, struct sfs_error *err)
{
    const struct sfs_image_options options = image_options(&args->tool);
    uint64_t runs;
    int r = sfs_profile_merge_all((const char *const *)args->rest + 1, (size_t)args->count - 1,
                                  &options, fd, &runs, err);
    if (r == 0 && args->output && args->tool.json)
        return print_json(json_pack("{s:I}", "profiles", (json_int_t)runs));
    return r;
}

/* The file appears whole, or stays as it is: it may be one of those that are read. */
static int merge(const struct profile_args *args, struct sfs_error *err)
{
    if (!args->output)
        return merge_into(args, STDOUT_FILENO, err);
    AUTO(sfs_free) char *temporary = sfs_format("%s.XXXXXX", args->output);
    if (!temporary)
        return sfs_fail_memory(err);
    AUTO(sfs_close_fd) int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return sfs_fail_errno(err, errno, "%s", args->output);
    int r = merge_into(args, fd, err);
    if (r >= 0 && (fchmod(fd, 0644) < 0 || fsync(fd) < 0 || rename(temporary, args->output) < 0))
        r = sfs_fail_errno(err, errno, "%s", args->output);
    if (r < 0)
        unlink(temporary);
    return r;
}

static int run(const struct profile_args *args, struct sfs_error *err)
{
    switch (args->rest[0][0]) {
    case 'p':
        return push(args, err);
    case 'l':
        return list(args, err);
    default:
        return merge(args, err);
    }
}

static const char *find_fault(const struct profile_args *args)
{
    const char *word = args->count > 0 ? args->rest[0] : "";
    if (strcmp(word, "push") == 0)
        return args->count == 3 ? NULL : "push needs a FILE and docker://HOST/NAME:TAG";
    if (strcmp(word, "ls") == 0)
        return args->count == 2 ? NULL : "ls needs docker://HOST/NAME:TAG";
    if (strcmp(word, "merge") == 0)
        return args->count >= 2 ? NULL : "merge needs at least one profile";
    return "needs 'push', 'ls' or 'merge'";
}

int cmd_profile(const struct command *command, int argc, char **argv)
{
    struct profile_args args = { 0 };
    const struct option_spec own[] = {
        { "output", 'o', OPTION_PATH, &args.output, "FILE",
          "merge: where to write (default: standard output)" },
        { "workload", 0, OPTION_PATH, &args.workload, "NAME", "push: what was run, for ls" },
    };
    int leave = tool_arguments(command, &args.tool, own, sizeof own / sizeof *own, argc, argv,
                               &args.rest, &args.count);
    if (leave)
        return leave - 1;
    const char *fault = find_fault(&args);
    if (fault)
        return tool_usage(command, "%s", fault);
    struct sfs_error err;
    int r = tool_open(&args.tool, false, &err);
    if (r == 0)
        r = run(&args, &err);
    int status = r < 0 ? tool_fail(r, &err) : tool_finish(r);
    tool_close(&args.tool);
    return status;
}
