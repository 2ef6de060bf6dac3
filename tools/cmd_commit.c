/* commit: writes a stage as one layer on its base. */
#include "cmd.h"

#include <errno.h>
#include <jansson.h>
#include <stagefs/commit.h>
#include <stagefs/suggest.h>
#include <stdio.h>
#include <string.h>

struct commit_args {
    struct session session;
    const char *destination, *compression;
    long level;
    bool squash, dry_run;
};

static const struct {
    const char *name;
    enum sfs_compression compression;
} compressions[] = {
    { "gzip", SFS_COMPRESS_GZIP },
    { "zstd", SFS_COMPRESS_ZSTD },
    { "none", SFS_COMPRESS_NONE },
    { "estargz", SFS_COMPRESS_ESTARGZ },
    { "zstd:chunked", SFS_COMPRESS_ZSTD_CHUNKED },
};

static int find_compression(const char *name, enum sfs_compression *ret_compression,
                            struct sfs_error *err)
{
    const char *known[sizeof compressions / sizeof *compressions + 1] = { 0 };
    for (size_t i = 0; i < sizeof compressions / sizeof *compressions; i++) {
        known[i] = compressions[i].name;
        if (strcmp(name, known[i]) == 0) {
            *ret_compression = compressions[i].compression;
            return 0;
        }
    }
    const char *near = sfs_suggest(name, known);
    return sfs_fail(err, EINVAL, "unknown compression '%s': %s%s%s", name,
                    near ? "did you mean '" : "", near ? near : "gzip, zstd, none",
                    near ? "'?" : "");
}

static int print_result(const struct commit_args *args, const struct sfs_commit_result *result)
{
    char text[SFS_DIGEST_TEXT];
    if (!args->session.tool.json) {
        puts(sfs_digest_print(&result->manifest, text));
        return 0;
    }
    return print_json(
        json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "manifest",
                  json_digest(&result->manifest), "config", json_digest(&result->config), "layer",
                  json_digest(&result->layer), "diff_id", json_digest(&result->diff_id),
                  "layer_size", (json_int_t)result->layer_size, "tar_size",
                  (json_int_t)result->tar_size, "entries", (json_int_t)result->entries, "files",
                  (json_int_t)result->files, "whiteouts", (json_int_t)result->whiteouts,
                  "file_bytes", (json_int_t)result->file_bytes, "dry_run", args->dry_run));
}

static int write_stage(const struct commit_args *args, struct sfs_error *err)
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    struct sfs_commit_options options = {
        .destination = args->destination,
        .level = (int)args->level,
        .threads = (unsigned)args->session.tool.threads,
        .squash = args->squash,
        .dry_run = args->dry_run,
        .has_epoch = epoch && *epoch,
        .epoch = args->session.tool.context.epoch,
        .progress = &args->session.tool.progress,
    };
    int r = find_compression(args->compression, &options.compression, err);
    if (r < 0)
        return r;
    struct sfs_commit_result result;
    r = sfs_commit(args->session.stage, &options, &result, err);
    progress_close();
    return r < 0 ? r : print_result(args, &result);
}

int cmd_commit(const struct command *command, int argc, char **argv)
{
    struct commit_args args = { .compression = "gzip" };
    const struct option_spec own[] = {
        { "tag", 't', OPTION_TEXT, &args.destination, "IMAGE", "where to write: oci:DIR:TAG" },
        { "compression", 0, OPTION_TEXT, &args.compression, "NAME", "gzip (default), zstd, none" },
        { "compression-level", 0, OPTION_NUMBER, &args.level, "N", "the compressor's level" },
        { "squash", 0, OPTION_FLAG, &args.squash, NULL, "base and selection as one layer" },
        { "dry-run", 0, OPTION_FLAG, &args.dry_run, NULL,
          "do all but write: tells digests and sizes" },
    };
    int leave = session_parse(command, &args.session, own, sizeof own / sizeof *own, argc, argv);
    if (leave)
        return leave - 1;
    if (!args.destination)
        return tool_usage(command, "needs -t IMAGE");
    struct sfs_error err;
    int r = session_open(&args.session, true, &err);
    if (r == 0 && args.session.rest_count > 0)
        r = tool_usage(command, "'%s' is one argument too many", args.session.rest[0]);
    if (r == 0)
        r = write_stage(&args, &err);
    return session_close(&args.session, r, &err);
}
