/* Opening a stage by what the command line says, but for Dockerfiles (evaluate.c). */
#include "stage/stage_private.h"

#include "base/banned.h"
#include "base/buf.h"
#include "base/path.h"
#include "copy/pattern.h"
#include <errno.h>

/* Opens an image as a stage. There is no base, so a commit writes all its layers as one. */
static int open_image(const struct sfs_stage_spec *spec, struct sfs_stage *stage,
                      struct sfs_error *err)
{
    const struct stage_image *image;
    int r = sfs_stage_add_image(stage, spec->image, NULL, &image, err);
    if (r == 0)
        r = sfs_stage_add_tree(stage, NULL, 0, &stage->base_tree, err);
    if (r == 0)
        r = sfs_config_inherit(sfs_image_config(image->image), stage->context.platform,
                               &stage->config, err);
    if (r < 0)
        return r;
    stage->tree = image->tree;
    stage->image = image->image;
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    if (json_object_set_new(stage->config, "history", json_array()) < 0 ||
        sfs_buf_printf(&text, "stagefs commit # %zu layer%s as one", image->count,
                       image->count == 1 ? "" : "s") < 0)
        return sfs_fail_memory(err);
    stage->created_by = TAKE(text.data);
    return 0;
}

/* Where --copy SRC without :DST puts the source: at the same place. */
static int default_destination(const struct sfs_stage_spec *spec, const char *source,
                               char **ret_path, struct sfs_error *err)
{
    const char *pivot = spec->parents ? strstr(source, "/./") : NULL;
    AUTO(sfs_free) char *kept = NULL;
    if (spec->parents)
        kept = pivot ? strndup(source, (size_t)(pivot - source)) : strdup("/");
    else
        kept = strdup(source);
    if (!kept)
        return sfs_fail_memory(err);
    if (sfs_pattern_is_wild(kept))
        return sfs_fail(err, EINVAL, "--copy %s: a wildcard needs a destination, as in SRC:DST",
                        source);
    *ret_path = sfs_path_join("/", kept);
    return *ret_path ? 0 : sfs_fail_memory(err);
}

/* Adds the history's text of one --copy, in BuildKit's words; all of them make one layer here. */
static void add_created_by(const struct sfs_stage_spec *spec, const char *source,
                           const char *destination, struct sfs_buf *text)
{
    sfs_buf_printf(text, "%sCOPY%s", text->size > 0 ? "; " : "", spec->parents ? " --parents" : "");
    if (spec->chown)
        sfs_buf_printf(text, " --chown=%s", spec->chown);
    if (spec->chmod)
        sfs_buf_printf(text, " --chmod=%s", spec->chmod);
    sfs_buf_printf(text, " %s %s", source, destination);
}

static int copy_pair(const struct sfs_stage_spec *spec, const struct sfs_stage_pair *pair,
                     struct sfs_stage *stage, struct stage_stack *stack,
                     const struct sfs_tree *source, struct sfs_buf *created_by,
                     struct sfs_error *err)
{
    AUTO(sfs_free) char *same = NULL;
    int r = pair->right ? 0 : default_destination(spec, pair->left, &same, err);
    if (r < 0)
        return r;
    struct sfs_copy copy = {
        .sources = &pair->left,
        .source_count = 1,
        .destination = pair->right ? pair->right : same,
        .workdir = sfs_config_workdir(stage->config),
        .chown = spec->chown,
        .chmod = spec->chmod,
        .excludes = spec->excludes,
        .exclude_count = spec->exclude_count,
        .parents = spec->parents,
    };
    AUTO(sfs_buf_close) struct sfs_buf label = { 0 };
    add_created_by(spec, pair->left, copy.destination, created_by);
    if (sfs_buf_printf(&label, "COPY %s %s", pair->left, copy.destination) < 0)
        return sfs_fail_memory(err);
    r = sfs_stage_stack_copy(stage, stack, source, &copy, label.data, err);
    return r < 0 ? sfs_fail_while(err, r, "%s", label.data) : 0;
}

static int open_base(const struct sfs_stage_spec *spec, struct sfs_stage *stage,
                     const struct stage_image *from, struct stage_stack *stack,
                     struct sfs_error *err)
{
    const struct stage_image *base = NULL;
    int r;
    if (!spec->base) {
        r = sfs_config_scratch(stage->context.platform, &stage->config, err);
        return r < 0 ? r : sfs_stage_stack_tree(stage, stack, &stage->base_tree, err);
    }
    r = sfs_stage_add_image(stage, spec->base, NULL, &base, err);
    if (r == 0)
        r = sfs_config_compare_platforms(&stage->context, base->image, from->image, err);
    if (r == 0)
        r = sfs_stage_stack_extend(stack, base->layers, base->count, err);
    if (r == 0)
        r = sfs_config_inherit(sfs_image_config(base->image), stage->context.platform,
                               &stage->config, err);
    if (r < 0)
        return r;
    stage->base_image = base->image;
    stage->base_tree = stack->tree = base->tree;
    return 0;
}

static int open_copies(const struct sfs_stage_spec *spec, struct sfs_stage *stage,
                       struct sfs_error *err)
{
    AUTO(sfs_stage_stack_done) struct stage_stack stack = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf created_by = { 0 };
    const struct stage_image *from;
    int r = sfs_stage_add_image(stage, spec->from, NULL, &from, err);
    if (r == 0)
        r = open_base(spec, stage, from, &stack, err);
    for (size_t i = 0; r == 0 && i < spec->copy_count; i++)
        r = copy_pair(spec, &spec->copies[i], stage, &stack, from->tree, &created_by, err);
    if (r == 0)
        r = sfs_stage_stack_tree(stage, &stack, &stage->tree, err);
    if (r < 0)
        return r;
    if (sfs_buf_add_str(&created_by, " # buildkit") < 0)
        return sfs_fail_memory(err);
    stage->created_by = TAKE(created_by.data);
    return 0;
}

static int check_spec(const struct sfs_stage_spec *spec, struct sfs_error *err)
{
    bool copies = spec->base || spec->copy_count > 0 || spec->chown || spec->chmod ||
                  spec->exclude_count > 0 || spec->parents;
    if ((spec->image != NULL) + (spec->dockerfile != NULL) + (spec->from != NULL) != 1)
        return sfs_fail(err, EINVAL,
                        "a stage is one of: an image, -f with a Dockerfile, --from with --copy");
    if (!spec->from && copies)
        return sfs_fail(err, EINVAL,
                        "--base, --copy, --chown, --chmod, --exclude and --parents go with --from");
    if (spec->from && spec->copy_count == 0)
        return sfs_fail(err, EINVAL, "--from needs --copy");
    return 0;
}

int sfs_stage_open(const struct sfs_stage_spec *spec, const struct sfs_context *context,
                   struct sfs_stage **ret_stage, struct sfs_error *err)
{
    int r = check_spec(spec, err);
    if (r < 0)
        return r;
    if (spec->dockerfile)
        return sfs_stage_open_dockerfile(spec, context, ret_stage, err);
    AUTO(sfs_stage_close) struct sfs_stage *stage = NULL;
    r = sfs_stage_begin(context, &stage, err);
    if (r == 0)
        r = spec->image ? open_image(spec, stage, err) : open_copies(spec, stage, err);
    if (r == 0)
        *ret_stage = TAKE(stage);
    return r;
}

const struct sfs_tree *sfs_stage_tree(const struct sfs_stage *stage)
{
    return stage->tree;
}

const struct sfs_tree *sfs_stage_base_tree(const struct sfs_stage *stage)
{
    return stage->base_tree;
}

struct sfs_image *sfs_stage_base_image(const struct sfs_stage *stage)
{
    return stage->base_image;
}

struct sfs_image *sfs_stage_image(const struct sfs_stage *stage)
{
    return stage->image;
}

bool sfs_stage_epoch(const struct sfs_stage *stage, int64_t *ret_epoch)
{
    if (stage->has_epoch)
        *ret_epoch = stage->context.epoch;
    return stage->has_epoch;
}

const struct json_t *sfs_stage_config(const struct sfs_stage *stage)
{
    return stage->config;
}

const char *sfs_stage_created_by(const struct sfs_stage *stage)
{
    return stage->created_by;
}
