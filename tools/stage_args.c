/* STAGE on a command line: an image, a Dockerfile, or one COPY. */
#include "tool.h"

#include <errno.h>
#include <stagefs/run.h>
#include <string.h>

void stage_options(struct stage_args *args, struct option_set *set)
{
    const struct option_spec specs[] = {
        { "from", 0, OPTION_PATH, &args->from, "IMAGE", "copy out of this image" },
        { "copy", 0, OPTION_PATHS, &args->copies, "SRC[:DST]",
          "what to copy, and where to (repeatable)" },
        { "base", 0, OPTION_PATH, &args->base, "IMAGE",
          "copy onto this image (default: an empty one)" },
        { "chown", 0, OPTION_TEXT, &args->chown, "USER[:GROUP]", "owner of what is copied" },
        { "chmod", 0, OPTION_TEXT, &args->chmod, "MODE",
          "mode of what is copied, octal or symbolic" },
        { "exclude", 0, OPTION_LIST, &args->excludes, "GLOB",
          "leave out what matches, '**' crosses '/' (repeatable)" },
        { "parents", 0, OPTION_FLAG, &args->parents, NULL, "keep the source's parent directories" },
        { "file", 'f', OPTION_PATH, &args->dockerfile, "DOCKERFILE",
          "the last stage of a Dockerfile" },
        { "target", 0, OPTION_TEXT, &args->target, "STAGE",
          "that stage of the Dockerfile instead" },
        { "context", 0, OPTION_PATH, &args->context, "DIR", "the build context" },
        { "build-arg", 0, OPTION_LIST, &args->build_args, "KEY=VALUE",
          "value of an ARG (repeatable)" },
        { "build-context", 0, OPTION_PATHS, &args->build_contexts, "NAME=IMAGE",
          "stands for a stage or FROM image (repeatable)" },
        { "secret", 0, OPTION_PATHS, &args->secrets, "id=ID,src=FILE",
          "for RUN --mount=type=secret; or id=ID,env=NAME (repeatable)" },
        { "network", 0, OPTION_TEXT, &args->network, "MODE", "of RUN: host (default) or none" },
        { "allow-run", 0, OPTION_FLAG, &args->allow_run, NULL,
          "execute RUN where no result of it is kept (commit, mount, run, trace and bench "
          "do)" },
        { "no-cache", 0, OPTION_FLAG, &args->no_cache, NULL, "execute RUN anew, whatever is kept" },
        { "trim", 0, OPTION_LIST, &args->trims, "PROFILE",
          "only what this profile of a trace uses, and what that needs (repeatable)" },
        { "policy", 0, OPTION_TEXT, &args->policy, "POLICY",
          "of --trim: exact (default), package or directory" },
        { "keep", 0, OPTION_LIST, &args->keeps, "GLOB",
          "keep these paths whatever --trim says (repeatable)" },
        { "drop", 0, OPTION_LIST, &args->drops, "GLOB",
          "leave these paths out, whatever else says to keep them (repeatable)" },
        { "gpu-arch", 0, OPTION_TEXT, &args->gpu_archs, "SM[,SM]",
          "zero the device code of other GPUs, as in sm_90,sm_80" },
        { "ptx", 0, OPTION_TEXT, &args->ptx, "WHICH",
          "with --gpu-arch, PTX that stays: needed (default), newest or all" },
        { "bare-cubins", 0, OPTION_FLAG, &args->bare_cubins, NULL,
          "with --gpu-arch, also code that no fat binary holds (cuBLASLt)" },
        { "strip", 0, OPTION_FLAG, &args->strip, NULL,
          "zero symbols and debug information of libraries and programs" },
    };
    set->stage_first = set->count;
    options_add(set, specs, sizeof specs / sizeof *specs);
    set->stage_end = set->count;
}

bool stage_is_given(const struct stage_args *args)
{
    return args->from || args->dockerfile || args->base || args->copies.count > 0;
}

bool stage_is_narrowed(const struct stage_args *args)
{
    return args->trims.count > 0 || args->drops.count > 0 || args->gpu_archs || args->strip;
}

/* Splits each item at its first `separator`, in place of argv's own bytes. */
static struct sfs_stage_pair *split(const struct text_list *list, char separator,
                                    struct sfs_stage_pair *pairs)
{
    for (size_t i = 0; i < list->count; i++) {
        /* argv is ours to write. */
        char *item = (char *)(uintptr_t)list->items[i];
        char *at = strchr(item, separator);
        if (at)
            *at = 0;
        pairs[i] = (struct sfs_stage_pair){ item, at ? at + 1 : NULL };
    }
    return pairs + list->count;
}

static int check(const struct stage_args *args, const char *image, struct sfs_error *err)
{
    if (!stage_is_given(args)) {
        if (args->chown || args->chmod || args->excludes.count > 0 || args->parents)
            return sfs_fail(err, EINVAL,
                            "--chown, --chmod, --exclude and --parents go with --from and --copy");
        return image ? 0
                     : sfs_fail(err, EINVAL,
                                "no stage given: an IMAGE, -f DOCKERFILE, or --from IMAGE --copy "
                                "SRC[:DST]");
    }
    if (image)
        return sfs_fail(err, EINVAL, "two stages given: '%s' and the one that the options tell",
                        image);
    if (args->dockerfile && (args->from || args->base || args->copies.count > 0))
        return sfs_fail(err, EINVAL,
                        "-f and --from/--base/--copy are two ways to tell a stage: use one");
    if (args->dockerfile &&
        (args->chown || args->chmod || args->excludes.count > 0 || args->parents))
        return sfs_fail(
            err, EINVAL,
            "with -f, write --chown, --chmod, --exclude and --parents in the Dockerfile");
    if (!args->dockerfile && (args->target || args->context || args->build_args.count > 0 ||
                              args->build_contexts.count > 0))
        return sfs_fail(
            err, EINVAL,
            "--target, --context, --build-arg and --build-context go with -f DOCKERFILE");
    if (args->network && strcmp(args->network, "none") != 0 && strcmp(args->network, "host") != 0 &&
        strcmp(args->network, "default") != 0)
        return sfs_fail(err, EINVAL, "--network is none or host, not '%s'", args->network);
    if (!args->dockerfile && !args->from)
        return sfs_fail(err, EINVAL, "--copy and --base need --from IMAGE");
    if (args->from && args->copies.count == 0)
        return sfs_fail(err, EINVAL, "--from needs --copy SRC[:DST] (--copy / for everything)");
    return 0;
}

/* Finds `name` among `names`; its place, or -EINVAL in words. NULL is the first. */
static int find_word(const char *option, const char *name, const char *const *names, size_t count,
                     struct sfs_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!name || strcmp(name, names[i]) == 0)
            return (int)i;
    return sfs_fail(err, EINVAL, "--%s is %s, %s or %s, not '%s'", option, names[0], names[1],
                    names[2], name);
}

int stage_narrow(struct stage_args *args, struct sfs_stage *stage,
                 const struct sfs_progress *progress, struct sfs_error *err)
{
    AUTO(sfs_slim_close) struct sfs_slim *slim = NULL;
    struct sfs_slim_spec spec = args->slim_spec;
    spec.profiles = args->trims.items;
    spec.profile_count = args->trims.count;
    int r = sfs_slim_open(stage, &spec, progress, &slim, err);
    if (r < 0)
        return r;
    sfs_slim_close(&args->slim);
    args->slim = TAKE(slim);
    return 0;
}

/* Narrows the stage, if the options say so. */
static int narrow(struct stage_args *args, struct sfs_stage *stage,
                  const struct sfs_context *context, struct sfs_error *err)
{
    static const char *const policies[] = { "exact", "package", "directory" };
    static const char *const ptx[] = { "needed", "newest", "all" };
    int policy = find_word("policy", args->policy, policies, 3, err);
    int which = policy < 0 ? policy : find_word("ptx", args->ptx, ptx, 3, err);
    if (which < 0)
        return which;
    if (args->policy && args->trims.count == 0 && !args->held)
        return sfs_fail(err, EINVAL, "--policy goes with --trim PROFILE");
    if (args->keeps.count > 0 && args->trims.count == 0 && args->drops.count == 0 && !args->held)
        return sfs_fail(err, EINVAL, "--keep goes with --trim PROFILE or --drop GLOB");
    if (args->ptx && !args->gpu_archs)
        return sfs_fail(err, EINVAL, "--ptx goes with --gpu-arch");
    if (args->bare_cubins && !args->gpu_archs)
        return sfs_fail(err, EINVAL, "--bare-cubins goes with --gpu-arch");
    args->slim_spec = (struct sfs_slim_spec){
        .policy = (enum sfs_trim_policy)policy,
        .keeps = args->keeps.items,
        .keep_count = args->keeps.count,
        .drops = args->drops.items,
        .drop_count = args->drops.count,
        .gpu_archs = args->gpu_archs,
        .ptx = (enum sfs_ptx_policy)which,
        .bare_cubins = args->bare_cubins,
        .strip = args->strip,
    };
    if (args->held || !stage_is_narrowed(args))
        return 0;
    return stage_narrow(args, stage, context->progress, err);
}

int stage_open(struct stage_args *args, const char *image, const struct sfs_context *context,
               struct sfs_stage **ret_stage, struct sfs_error *err)
{
    int r = check(args, image, err);
    if (r < 0)
        return r;
    size_t pairs = args->copies.count + args->build_args.count + args->build_contexts.count;
    args->pairs = calloc(pairs + 1, sizeof *args->pairs);
    if (!args->pairs)
        return sfs_fail_memory(err);
    struct sfs_stage_pair *copies = args->pairs;
    struct sfs_stage_pair *build_args = split(&args->copies, ':', copies);
    struct sfs_stage_pair *build_contexts = split(&args->build_args, '=', build_args);
    split(&args->build_contexts, '=', build_contexts);
    struct sfs_stage_spec spec = {
        .image = image,
        .dockerfile = args->dockerfile,
        .target = args->target,
        .context = args->context,
        .build_args = build_args,
        .build_arg_count = args->build_args.count,
        .build_contexts = build_contexts,
        .build_context_count = args->build_contexts.count,
        .secrets = args->secrets.items,
        .secret_count = args->secrets.count,
        .network = args->network,
        .allow_run = args->allow_run,
        .no_cache = args->no_cache,
        .from = args->from,
        .base = args->base,
        .copies = copies,
        .copy_count = args->copies.count,
        .chown = args->chown,
        .chmod = args->chmod,
        .excludes = args->excludes.items,
        .exclude_count = args->excludes.count,
        .parents = args->parents,
    };
    struct sfs_context with_runner = *context;
    with_runner.runner = &sfs_sandbox;
    AUTO(sfs_stage_close) struct sfs_stage *stage = NULL;
    r = sfs_stage_open(&spec, &with_runner, &stage, err);
    if (r == 0)
        r = narrow(args, stage, context, err);
    if (r < 0) {
        sfs_slim_close(&args->slim);
        return r;
    }
    *ret_stage = TAKE(stage);
    return 0;
}

void stage_args_close(struct stage_args *args)
{
    sfs_slim_close(&args->slim);
    free(args->pairs);
    struct text_list *lists[] = { &args->build_args, &args->build_contexts, &args->copies,
                                  &args->excludes,   &args->secrets,        &args->trims,
                                  &args->keeps,      &args->drops };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        free(lists[i]->items);
    *args = (struct stage_args){ 0 };
}
