/* What names stand for: stages, build contexts, images. */
#include "image/reference.h"
#include "stage/evaluate.h"

#include "base/limits.h"

#include "base/banned.h"
#include <stagefs/format.h>
#include <errno.h>
#include <stagefs/suggest.h>
#include <sys/stat.h>

/* Do both name the same image? "debian" and "docker.io/library/debian:latest" do. */
static bool is_same_name(const char *a, const char *b)
{
    AUTO(sfs_free) char *left = NULL;
    AUTO(sfs_free) char *right = NULL;
    if (strcasecmp(a, b) == 0)
        return true;
    return sfs_reference_full_name(a, &left, NULL) == 0 &&
           sfs_reference_full_name(b, &right, NULL) == 0 && strcmp(left, right) == 0;
}

const struct sfs_stage_pair *sfs_eval_find_context(const struct eval *eval, const char *name)
{
    /* As in BuildKit, no build context replaces these two. */
    if (strcasecmp(name, "scratch") == 0 || strcasecmp(name, "context") == 0)
        return NULL;
    for (size_t i = eval->spec->build_context_count; i > 0; i--)
        if (is_same_name(eval->spec->build_contexts[i - 1].left, name))
            return &eval->spec->build_contexts[i - 1];
    return NULL;
}

static int open_nothing(struct eval *eval, struct eval_source *ret_source)
{
    *ret_source = (struct eval_source){ 0 };
    return sfs_stage_add_tree(eval->stage, NULL, 0, &ret_source->tree, eval->err);
}

static int open_image(struct eval *eval, const char *ref, const char *platform,
                      struct eval_source *ret_source)
{
    const struct stage_image *image;
    int r = sfs_stage_add_image(eval->stage, ref, platform, &image, eval->err);
    if (r == 0)
        *ret_source = (struct eval_source){ .tree = image->tree, .image = image };
    return r;
}

int sfs_eval_open_context(struct eval *eval, const struct sfs_stage_pair *pair,
                          const char *platform, struct eval_source *ret_source)
{
    const char *value = pair->right;
    struct stat st;
    if (!value || !*value)
        return sfs_fail(eval->err, EINVAL, "--build-context %s: needs a value, as in NAME=%s",
                        pair->left, "oci:DIR:TAG");
    if (strcmp(value, "docker-image://scratch") == 0)
        return open_nothing(eval, ret_source);
    int r;
    if (sfs_reference_has_transport(value))
        r = open_image(eval, value, platform, ret_source);
    else if (strstr(value, "://") || strncmp(value, "git@", 4) == 0)
        return sfs_fail(eval->err, ENOTSUP,
                        "--build-context %s=%.300s: give an image or a "
                        "directory; sources of the network are not supported",
                        pair->left, value);
    else if (stat(value, &st) < 0 || !S_ISDIR(st.st_mode))
        return sfs_fail(eval->err, ENOENT,
                        "--build-context %s=%.300s: there is no such directory; an image is "
                        "oci:DIR:TAG, oci-archive:FILE or docker-archive:FILE",
                        pair->left, value);
    else
        r = sfs_eval_open_directory(eval, value, NULL, ret_source);
    return r < 0 ? sfs_fail_while(eval->err, r, "--build-context %s", pair->left) : 0;
}

static int open_at_registry(struct eval *eval, const char *full, const char *platform,
                            struct eval_source *ret_source)
{
    AUTO(sfs_free) char *ref = sfs_format("docker://%s", full);
    return ref ? open_image(eval, ref, platform, ret_source) : sfs_fail_memory(eval->err);
}

const char *sfs_eval_suggest_stage(const struct eval *eval, const char *name)
{
    AUTO(sfs_free) const char **known = calloc(eval->count + 1, sizeof *known);
    size_t count = 0;
    for (size_t i = 0; known && i < eval->count; i++)
        if (eval->stages[i].name)
            known[count++] = eval->stages[i].name;
    return known ? sfs_suggest(name, known) : NULL;
}

/* Opens a name that is no stage: a build context, or an image. */
static int open_name(struct eval *eval, const char *name, const char *platform,
                     struct eval_source *ret_source)
{
    const struct sfs_stage_pair *pair = sfs_eval_find_context(eval, name);
    if (pair)
        return sfs_eval_open_context(eval, pair, platform, ret_source);
    if (strcmp(name, "scratch") == 0)
        return open_nothing(eval, ret_source);
    /* Whoever wrote the Dockerfile must not choose what of this machine goes into the image. */
    if (strncmp(name, "dir:", 4) == 0)
        return sfs_fail(eval->err, EPERM,
                        "%.200s: a Dockerfile cannot name a directory of this machine; give it a "
                        "name with --build-context NAME=%.200s",
                        name, name);
    /* Images that stagefs itself can read may stand in a Dockerfile too, as buildah allows. */
    if (sfs_reference_has_transport(name))
        return open_image(eval, name, platform, ret_source);
    AUTO(sfs_free) char *full = NULL;
    int r = sfs_reference_full_name(name, &full, eval->err);
    if (r < 0)
        return r;
    /* A name that says no registry may as well be a stage's, or a build context's, that was
     * forgotten; which registry is meant, programs do not agree on. */
    if (sfs_reference_names_host(name))
        return open_at_registry(eval, full, platform, ret_source);
    const char *near = sfs_eval_suggest_stage(eval, name);
    return sfs_fail(eval->err, ENOENT,
                    "\"%.200s\" is neither a stage nor a build context%s%s%s; say where the image "
                    "is with --build-context %.200s=oci:DIR:TAG, or =docker://%.200s",
                    name, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "", name,
                    name);
}

/* ---- FROM ---- */

static int copy_parent(struct eval *eval, struct eval_stage *stage)
{
    const struct eval_stage *parent = stage->parent;
    int r =
        sfs_stage_stack_extend(&stage->stack, parent->stack.layers, parent->stack.count, eval->err);
    if (r < 0)
        return r;
    stage->stack.tree = parent->stack.tree;
    stage->base_image = parent->base_image;
    stage->base_tree = parent->base_tree;
    stage->unkeyed = parent->unkeyed;
    stage->config = json_deep_copy(parent->config);
    if (!stage->config || sfs_vars_copy(&parent->env, &stage->env) < 0 ||
        sfs_vars_copy(&parent->args, &stage->args) < 0 ||
        sfs_buf_add(&stage->created_by, parent->created_by.data, parent->created_by.size) < 0)
        return sfs_fail_memory(eval->err);
    return 0;
}

static int take_source(struct eval *eval, struct eval_stage *stage,
                       const struct eval_source *source)
{
    const struct sfs_context *context = &eval->stage->context;
    const char *platform = stage->platform ? stage->platform : context->platform;
    if (!source->image) {
        int r = sfs_config_scratch(platform, &stage->config, eval->err);
        if (r == 0 && source->layer)
            r = sfs_stage_stack_extend(&stage->stack, &source->layer, 1, eval->err);
        return r;
    }
    const struct stage_image *image = source->image;
    int r = sfs_stage_stack_extend(&stage->stack, image->layers, image->count, eval->err);
    if (r < 0)
        return r;
    stage->base_image = image->image;
    stage->base_tree = stage->stack.tree = image->tree;
    return sfs_config_inherit(sfs_image_config(image->image), platform, &stage->config, eval->err);
}

/* Takes the image's ENV into the variables that words are expanded with. */
static int take_env(struct eval *eval, struct eval_stage *stage)
{
    size_t i;
    json_t *item, *env = json_object_get(sfs_eval_settings(stage), "Env");
    if (json_array_size(env) > SFS_MAX_VARIABLES)
        return sfs_fail(eval->err, E2BIG, "%s: more than %u variables", stage->base,
                        SFS_MAX_VARIABLES);
    json_array_foreach(env, i, item)
    {
        const char *text = json_string_value(item);
        size_t size = text ? strcspn(text, "=") : 0;
        if (size == 0)
            continue;
        AUTO(sfs_free) char *name = strndup(text, size);
        int r = name ? sfs_eval_set(eval, &stage->env, name, text[size] ? text + size + 1 : "")
                     : sfs_fail_memory(eval->err);
        if (r < 0)
            return r;
    }
    return 0;
}

int sfs_eval_begin(struct eval *eval, struct eval_stage *stage)
{
    int r;
    if (stage->parent) {
        r = copy_parent(eval, stage);
    } else {
        struct eval_source source;
        r = stage->replaced ? sfs_eval_open_context(eval, stage->replaced, stage->platform, &source)
                            : open_name(eval, stage->base, stage->platform, &source);
        if (r == 0)
            r = take_source(eval, stage, &source);
    }
    return r < 0 ? r : take_env(eval, stage);
}

/* ---- --from ---- */

int sfs_eval_find_stage(const struct eval *eval, const char *name, struct eval_stage **ret_stage)
{
    char *end;
    *ret_stage = NULL;
    errno = 0;
    long number = strtol(name, &end, 10);
    if (*name && !*end && !strchr(" \t\n\v\f\r", *name)) {
        if (errno || number < 0 || (unsigned long)number >= eval->count)
            return sfs_fail(eval->err, EINVAL, "invalid stage index %.30s", name);
        *ret_stage = &eval->stages[number];
        return 0;
    }
    for (size_t i = eval->count; i > 0 && !*ret_stage; i--) {
        struct eval_stage *stage = &eval->stages[i - 1];
        if (stage->name && strcasecmp(stage->name, name) == 0)
            *ret_stage = stage;
    }
    return 0;
}

int sfs_eval_open_from(struct eval *eval, const struct eval_stage *stage, const char *name,
                       const struct sfs_tree **ret_tree)
{
    struct eval_stage *from = NULL;
    int r = sfs_eval_find_stage(eval, name, &from);
    if (r < 0)
        return r;
    if (!from) {
        struct eval_source source;
        r = open_name(eval, name, stage->platform, &source);
        if (r == 0)
            *ret_tree = source.tree;
        return r;
    }
    if (from->index >= stage->index)
        return sfs_fail(eval->err, EINVAL,
                        "cannot copy from stage \"%s\", it needs to be defined before the current "
                        "stage",
                        name);
    r = sfs_eval_evaluate(eval, from);
    if (r == 0)
        r = sfs_stage_stack_tree(eval->stage, &from->stack, ret_tree, eval->err);
    if (r == 0 && from->base_image && stage->base_image)
        r = sfs_config_compare_platforms(&eval->stage->context, stage->base_image, from->base_image,
                                         eval->err);
    return r;
}

/* The value of "from=" among the fields of a --mount, before words are expanded. */
static const char *mount_from(const char *text, char **scratch)
{
    while (*text) {
        size_t size = strcspn(text, ",");
        if (size > 5 && strncasecmp(text, "from=", 5) == 0) {
            free(*scratch);
            *scratch = strndup(text + 5, size - 5);
            return *scratch;
        }
        text += size + (text[size] == ',');
    }
    return NULL;
}

const char *sfs_eval_next_from(const struct sfs_instruction *instruction, size_t *at,
                               char **scratch)
{
    switch (sfs_instruction_keyword(instruction)) {
    case SFS_KEYWORD_COPY:
        return sfs_flag_next(instruction, "from", at);
    case SFS_KEYWORD_RUN:
        for (const char *mount; (mount = sfs_flag_next(instruction, "mount", at));) {
            const char *from = mount_from(mount, scratch);
            if (from)
                return from;
        }
        return NULL;
    default:
        return NULL;
    }
}
