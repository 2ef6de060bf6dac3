/* commit: writes a stage as one layer on its base. */
#include "cmd.h"
#include "committing.h"
#include "device_table.h"

#include <stagefs/format.h>
#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Files are read once, from front to back: decoding ahead is all that the memory cache is for. More
 * is no faster (docs/benchmarks-archive.md). */
#define MEMORY_A_THREAD (8u << 20)
#define MEMORY_MAX      (128u << 20)
#define MMAP_FROM       (128 << 10) /* bytes: glibc's own first threshold */

static uint64_t choose_memory(const struct commit_args *args)
{
    long threads = args->session.tool.threads;
    uint64_t memory = MEMORY_A_THREAD * (uint64_t)(threads > 0 ? threads : (long)sfs_cpus());
    if (memory < 2 * MEMORY_A_THREAD)
        return 2 * MEMORY_A_THREAD;
    return memory < MEMORY_MAX ? memory : MEMORY_MAX;
}

/* A directory has no manifest, and none but itself. */
static json_t *digest_or_null(const struct sfs_digest *digest)
{
    static const struct sfs_digest none;
    return sfs_digest_equal(digest, &none) ? json_null() : json_digest(digest);
}

/* ---- sizes before and after ---- */

/* Bytes of an image's blobs; 0: it cannot be told, as of a directory. */
static uint64_t size_of_image(const struct commit_args *args, const char *ref)
{
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    uint64_t size = 0;
    if (tool_open_image(&args->session.tool, ref, &image, NULL) < 0)
        return 0;
    for (size_t i = 0; i < sfs_image_layer_count(image); i++)
        size += sfs_image_layer(image, i)->size;
    return size;
}

/* What the selection was taken from: the image of --from, the image alone, or those that stand for
 * stages of a Dockerfile, but for the one that is the base. */
uint64_t commit_builder_size(const struct commit_args *args)
{
    const struct session *session = &args->session;
    const struct sfs_image *base = sfs_stage_base_image(session->stage);
    const struct stage_args *stage = &session->stage_args;
    if (session->image || stage->from)
        return size_of_image(args, session->image ? session->image : stage->from);
    const struct sfs_stage_pair *contexts =
        stage->pairs + stage->copies.count + stage->build_args.count;
    uint64_t size = 0;
    for (size_t i = 0; i < stage->build_contexts.count; i++)
        if (contexts[i].right && !(base && strcmp(contexts[i].right, sfs_image_ref(base)) == 0))
            size += size_of_image(args, contexts[i].right);
    return size;
}

/* "wrote oci:out:x: ", where it is said what follows is the size of. */
static void tell_destination(const struct commit_args *args)
{
    fprintf(stderr, "%s %s: ", args->dry_run ? "would write" : "wrote",
            strcmp(args->destination, "-") == 0 ? "a tar" : args->destination);
}

/* "base 164M + new 269M = 433M (builder 1.3G)", in bytes that are stored and pulled. */
static void tell_sizes(const struct commit_args *args, const struct sfs_commit_result *result)
{
    char base[SIZE_TEXT], layer[SIZE_TEXT], sum[SIZE_TEXT], builder[SIZE_TEXT];
    uint64_t before = commit_builder_size(args);
    tell_destination(args);
    if (result->base_size > 0)
        fprintf(stderr, "base %s + ", print_size(result->base_size, base));
    fprintf(stderr, "new %s", print_size(result->layer_size, layer));
    if (result->base_size > 0)
        fprintf(stderr, " = %s", print_size(result->base_size + result->layer_size, sum));
    if (before > 0 && args->session.image)
        fprintf(stderr, " (%s has %s)", args->session.image, print_size(before, builder));
    else if (before > 0)
        fprintf(stderr, " (builder %s)", print_size(before, builder));
    fputc('\n', stderr);
}

/* "device code 2.0G, of which 1.4G is for other GPUs than sm_90 and became zeros". */
static void tell_device_code(const struct commit_args *args)
{
    const struct stage_args *stage = &args->session.stage_args;
    char all[SIZE_TEXT], gone[SIZE_TEXT];
    uint64_t bytes, zeros;
    if (device_code_sums(stage, &bytes, &zeros))
        fprintf(stderr, "device code %s, of which %s is for other GPUs than %s and became zeros\n",
                print_size(bytes, all), print_size(zeros, gone), stage->gpu_archs);
}

static void get_stripped(const struct commit_args *args, uint64_t *ret_bytes, uint64_t *ret_files)
{
    const struct stage_args *stage = &args->session.stage_args;
    *ret_bytes = *ret_files = 0;
    if (stage->slim)
        sfs_slim_stripped(stage->slim, ret_bytes, ret_files);
}

/* "symbols of 12 files, 300M, became zeros". */
static void tell_stripped(const struct commit_args *args)
{
    char size[SIZE_TEXT];
    uint64_t bytes, files;
    get_stripped(args, &bytes, &files);
    if (args->session.stage_args.strip)
        fprintf(stderr, "symbols and debug information of %llu file%s, %s, became zeros\n",
                (unsigned long long)files, sfs_plural(files), print_size(bytes, size));
}

/* A directory holds no layer. */
static void tell_files(const struct commit_args *args, const struct sfs_commit_result *result)
{
    char size[SIZE_TEXT];
    tell_destination(args);
    fprintf(stderr, "%llu file%s, %s\n", (unsigned long long)result->files,
            sfs_plural(result->files), print_size(result->file_bytes, size));
}

static int print_result(const struct commit_args *args, const struct sfs_commit_result *result)
{
    char text[SFS_DIGEST_TEXT];
    if (!args->session.tool.json) {
        if (result->has_manifest)
            puts(sfs_digest_print(&result->manifest, text));
        if (!args->session.tool.quiet)
            tell_device_code(args);
        if (!args->session.tool.quiet)
            tell_stripped(args);
        if (!args->session.tool.quiet)
            (result->layer_size > 0 || result->has_manifest ? tell_sizes : tell_files)(args,
                                                                                       result);
        return EXIT_DONE;
    }
    uint64_t device_code, device_zeros, stripped_bytes, stripped_files;
    get_stripped(args, &stripped_bytes, &stripped_files);
    device_code_sums(&args->session.stage_args, &device_code, &device_zeros);
    return print_json(json_pack(
        "{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:I, "
        "s:I}",
        "base_size", (json_int_t)result->base_size, "image_size",
        (json_int_t)(result->base_size + result->layer_size), "builder_size",
        (json_int_t)commit_builder_size(args), "manifest", digest_or_null(&result->manifest),
        "config", digest_or_null(&result->config), "layer", digest_or_null(&result->layer),
        "diff_id", digest_or_null(&result->diff_id), "layer_size", (json_int_t)result->layer_size,
        "tar_size", (json_int_t)result->tar_size, "copied_bytes", (json_int_t)result->copied,
        "entries", (json_int_t)result->entries, "files", (json_int_t)result->files, "whiteouts",
        (json_int_t)result->whiteouts, "file_bytes", (json_int_t)result->file_bytes, "dry_run",
        args->dry_run, "device_code_bytes", (json_int_t)device_code, "device_code_zeros",
        (json_int_t)device_zeros, "stripped_bytes", (json_int_t)stripped_bytes));
}

static void add_edit(struct commit_args *args, enum sfs_edit_key key, const char *value)
{
    if (value)
        args->edits[args->edit_count++] = (struct sfs_edit){ key, value };
}

static void add_edits(struct commit_args *args, enum sfs_edit_key key, const struct text_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        add_edit(args, key, list->items[i]);
}

/* A NAME alone stands for the value that it has in this process. */
static int add_env(struct commit_args *args, const char *text, struct sfs_error *err)
{
    size_t size = strlen(text);
    if (strchr(text, '=') || (size > 0 && text[size - 1] == '-')) {
        add_edit(args, SFS_EDIT_ENV, text);
        return 0;
    }
    const char *value = getenv(text);
    if (!value)
        return sfs_fail(err, EINVAL, "--env %s: it has no value in the environment", text);
    char *pair;
    pair = sfs_format("%s=%s", text, value);
    if (!pair)
        return sfs_fail_memory(err);
    args->texts[args->text_count++] = pair;
    add_edit(args, SFS_EDIT_ENV, pair);
    return 0;
}

static int collect_edits(struct commit_args *args, struct sfs_error *err)
{
    enum { SINGLE = 5 };
    size_t most = args->env.count + args->labels.count + args->annotations.count + SINGLE;
    args->edits = calloc(most, sizeof *args->edits);
    args->texts = calloc(most, sizeof *args->texts);
    if (!args->edits || !args->texts)
        return sfs_fail_memory(err);
    int r = 0;
    for (size_t i = 0; i < args->env.count && r == 0; i++)
        r = add_env(args, args->env.items[i], err);
    add_edits(args, SFS_EDIT_LABEL, &args->labels);
    add_edits(args, SFS_EDIT_ANNOTATION, &args->annotations);
    add_edit(args, SFS_EDIT_ENTRYPOINT, args->entrypoint);
    add_edit(args, SFS_EDIT_CMD, args->cmd);
    add_edit(args, SFS_EDIT_USER, args->user);
    add_edit(args, SFS_EDIT_WORKINGDIR, args->workingdir);
    add_edit(args, SFS_EDIT_AUTHOR, args->author);
    return r;
}

static void free_args(struct commit_args *args)
{
    for (size_t i = 0; i < args->text_count; i++)
        free(args->texts[i]);
    free(args->texts);
    free(args->edits);
    free(args->env.items);
    free(args->labels.items);
    free(args->annotations.items);
    free(args->profiles.items);
    check_args_done(&args->checks);
}

int commit_setup(const struct commit_args *args, struct run_setup *setup, struct sfs_error *err)
{
    setup->user = args->user;
    setup->workdir = args->workingdir;
    setup->env.items = calloc(args->env.count + 1, sizeof *setup->env.items);
    if (!setup->env.items)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < args->env.count; i++) {
        const char *text = args->env.items[i];
        if (strchr(text, '=') || !*text || text[strlen(text) - 1] != '-')
            setup->env.items[setup->env.count++] = text;
    }
    return 0;
}

static bool is_stream(const struct commit_args *args)
{
    return strcmp(args->destination, "-") == 0;
}

static int choose_format(struct commit_args *args, struct sfs_error *err)
{
    args->format = is_stream(args) ? SFS_COMPRESS_NONE : SFS_COMPRESS_GZIP;
    return args->compression ? sfs_compression_parse(args->compression, &args->format, err) : 0;
}

int commit_stage(const struct commit_args *args, bool dry_run, struct sfs_commit_result *ret_result,
                 struct sfs_error *err)
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    bool has_timestamp = args->timestamp >= 0;
    int64_t date = args->session.tool.context.epoch;
    bool has_date = sfs_stage_epoch(args->session.stage, &date) || (epoch && *epoch);
    struct sfs_commit_options options = {
        .destination = args->destination,
        .fd = STDOUT_FILENO,
        .compression = args->format,
        .level = (int)args->level,
        .threads = (unsigned)args->session.tool.threads,
        .squash = args->squash,
        .dry_run = dry_run,
        .has_epoch = has_timestamp || has_date,
        .epoch = has_timestamp ? args->timestamp : date,
        .set_mtimes = has_timestamp,
        .edits = args->edits,
        .edit_count = args->edit_count,
        .profiles = args->profiles.items,
        .profile_count = args->profiles.count,
        .progress = &args->session.tool.progress,
        .store = args->session.tool.store,
        .index = args->index && !dry_run,
        .registry = &args->session.tool.registry,
    };
    /* glibc raises this with each large buffer that is freed, and then keeps such buffers in its
     * arenas, with gaps between: of a commit's memory, a third. */
    mallopt(M_MMAP_THRESHOLD, MMAP_FROM);
    int r = sfs_commit(args->session.stage, &options, ret_result, err);
    progress_close();
    if (r == 0 && ret_result->fills_stdout) /* what is told of it goes elsewhere */
        dup2(STDERR_FILENO, STDOUT_FILENO);
    return r;
}

static int check_destination(const struct commit_args *args, struct sfs_error *err)
{
    if (is_stream(args) && isatty(STDOUT_FILENO))
        return sfs_fail(err, EINVAL, "a tar is nothing for a terminal: redirect standard output");
    if (is_stream(args) && args->session.tool.json)
        return sfs_fail(err, EINVAL, "-t - and --json both want standard output");
    return 0;
}

/* Checks the open stage and writes it. An exit status, or -errno. */
static int work(struct commit_args *args, struct slim_args *slim, struct sfs_error *err)
{
    struct sfs_commit_result result;
    int r = check_destination(args, err);
    if (r == 0 && slim)
        r = slim_prepare(slim, args, err);
    if (r == 0)
        r = commit_setup(args, &args->checks.setup, err);
    if (r == 0)
        r = checks_run(&args->checks, &args->session, err);
    if (r == 0)
        r = commit_stage(args, args->dry_run, &result, err);
    if (r < 0)
        return r;
    return slim ? slim_report(slim, args, &result, err) : print_result(args, &result);
}

/* 0, or an exit status and 1: what was said was not understood. */
static int check_usage(const struct command *command, const struct commit_args *args)
{
    if (!args->destination)
        return tool_usage(command, "needs -t IMAGE") + 1;
    if (args->index && args->dry_run)
        return tool_usage(command, "--index and --dry-run exclude each other: an index that is not "
                                   "made has no digest to be named") +
               1;
    return 0;
}

int commit_command(const struct command *command, struct slim_args *slim, int argc, char **argv)
{
    struct commit_args args = { .timestamp = -1,
                                .session.stage_args = { .allow_run = true, .held = slim } };
    const struct option_spec own[] = {
        { "tag", 't', OPTION_PATH, &args.destination, "IMAGE",
          "oci:DIR:TAG, oci-archive:FILE, docker-archive:FILE:NAME, docker://HOST/NAME:TAG,"
          " containers-storage:NAME, dir:DIR, or - (a tar to stdout)" },
        { "compression", 0, OPTION_TEXT, &args.compression, "NAME",
          "gzip (default), zstd, estargz, zstd:chunked, none" },
        { "compression-level", 0, OPTION_NUMBER, &args.level, "N",
          "the compressor's level; nothing is then copied as it is compressed already" },
        { "squash", 0, OPTION_FLAG, &args.squash, NULL, "base and selection as one layer" },
        { "index", 0, OPTION_FLAG, &args.index, NULL,
          "docker:// only: put the layers' indexes beside the image, vouched for by the manifest" },
        { "dry-run", 0, OPTION_FLAG, &args.dry_run, NULL,
          "do all but write: tells digest and sizes" },
        { "profile", 0, OPTION_PATHS, &args.profiles, "FILE",
          "files that it names come first in the layer (repeatable)" },
        { "env", 0, OPTION_LIST, &args.env, "NAME[=VALUE]",
          "config: set a variable; NAME- removes it, - all (repeatable)" },
        { "label", 0, OPTION_LIST, &args.labels, "NAME=VALUE",
          "config: set a label; NAME- removes it, - all (repeatable)" },
        { "annotation", 0, OPTION_LIST, &args.annotations, "NAME=VALUE",
          "manifest: set an annotation (repeatable)" },
        { "entrypoint", 0, OPTION_TEXT, &args.entrypoint, "COMMAND",
          "config: a JSON array, or text for a shell" },
        { "cmd", 0, OPTION_TEXT, &args.cmd, "COMMAND", "config: a JSON array, or words" },
        { "user", 0, OPTION_TEXT, &args.user, "USER[:GROUP]", "config: who runs it" },
        { "workingdir", 0, OPTION_TEXT, &args.workingdir, "DIR", "config: where it runs" },
        { "author", 0, OPTION_TEXT, &args.author, "TEXT", "config: who made it" },
        { "timestamp", 0, OPTION_NUMBER, &args.timestamp, "SECONDS",
          "time of the image and of all files in its new layer" },
    };
    check_options(&args.checks, &args.session.set);
    if (slim)
        slim_options(slim, &args.session.set);
    int leave = session_parse(command, &args.session, own, sizeof own / sizeof *own, argc, argv);
    if (!leave)
        leave = check_usage(command, &args);
    if (leave) {
        free_args(&args);
        return leave - 1;
    }
    struct sfs_error err;
    int r = choose_format(&args, &err);
    if (r == 0)
        r = collect_edits(&args, &err);
    if (args.session.tool.memory == 0)
        args.session.tool.memory = choose_memory(&args);
    args.session.tool.usual_trust = SFS_INDEX_TRUST_NONE; /* what is written is for others */
    if (r == 0)
        r = session_open(&args.session, true, &err);
    if (r == 0 && args.session.rest_count > 0)
        r = tool_usage(command, "'%s' is one argument too many", args.session.rest[0]);
    if (r == 0)
        r = work(&args, slim, &err);
    free_args(&args);
    return session_close(&args.session, r, &err);
}

int cmd_commit(const struct command *command, int argc, char **argv)
{
    return commit_command(command, NULL, argc, argv);
}
