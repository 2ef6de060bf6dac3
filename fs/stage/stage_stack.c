/* What a stage stands on: owning it, and stacking it. */
#include "stage/stage_private.h"

#include "base/banned.h"
#include "base/limits.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <stagefs/run.h>

/* One thing that a stage owns: a layer, a tree, an image with its layers, or what a RUN wrote. */
struct stage_thing {
    struct stage_thing *next;
    const struct sfs_runner *runner; /* discards the space */
    struct sfs_run_space *space;
    struct sfs_layer *layer;
    struct sfs_tree *tree;
    struct stage_image image;
    char *ref, *platform; /* what the image was opened by */
};

static void close_thing(struct stage_thing *thing)
{
    sfs_tree_close(&thing->tree);
    sfs_layer_close(&thing->layer);
    if (thing->image.layers)
        sfs_image_close_layers(&thing->image.layers, thing->image.count);
    sfs_image_close(&thing->image.image);
    if (thing->space)
        thing->runner->discard(&thing->space);
    free(thing->ref);
    free(thing->platform);
    free(thing);
}

static struct stage_thing *add_thing(struct sfs_stage *stage)
{
    struct stage_thing *thing = calloc(1, sizeof *thing);
    if (!thing)
        return NULL;
    thing->next = stage->things;
    stage->things = thing;
    return thing;
}

int sfs_stage_begin(const struct sfs_context *context, struct sfs_stage **ret_stage,
                    struct sfs_error *err)
{
    struct sfs_stage *stage = calloc(1, sizeof *stage);
    if (!stage)
        return sfs_fail_memory(err);
    stage->context = *context;
    *ret_stage = stage;
    return 0;
}

void sfs_stage_close(struct sfs_stage **stage)
{
    struct sfs_stage *closed = TAKE(*stage);
    if (!closed)
        return;
    while (closed->things) {
        struct stage_thing *thing = closed->things;
        closed->things = thing->next;
        close_thing(thing);
    }
    if (closed->findings)
        closed->close_findings(closed->findings);
    json_decref(closed->config);
    free(closed->created_by);
    json_decref(closed->whole_config);
    free(closed->whole_created_by);
    free(closed);
}

static const struct stage_image *find_image(const struct sfs_stage *stage, const char *ref,
                                            const char *platform)
{
    for (const struct stage_thing *thing = stage->things; thing; thing = thing->next)
        if (thing->image.tree && strcmp(thing->ref, ref) == 0 &&
            strcmp(thing->platform, platform) == 0)
            return &thing->image;
    return NULL;
}

int sfs_stage_add_image(struct sfs_stage *stage, const char *ref, const char *platform,
                        const struct stage_image **ret_image, struct sfs_error *err)
{
    const struct sfs_context *context = &stage->context;
    if (!platform)
        platform = context->platform;
    *ret_image = find_image(stage, ref, platform ? platform : "");
    if (*ret_image)
        return 0;
    struct stage_thing *thing = add_thing(stage);
    if (!thing)
        return sfs_fail_memory(err);
    thing->ref = strdup(ref);
    thing->platform = strdup(platform ? platform : "");
    if (!thing->ref || !thing->platform)
        return sfs_fail_memory(err);
    struct stage_image *image = &thing->image;
    const struct sfs_image_options options = { .platform = platform,
                                               .store = context->store,
                                               .registry = context->registry,
                                               .progress = context->progress,
                                               .will_open_layers = true,
                                               .wants_profiles = context->wants_profiles };
    int r = sfs_image_open_with(ref, &options, &image->image, err);
    if (r < 0)
        return r;
    image->count = sfs_image_layer_count(image->image);
    r = sfs_image_open_layers(image->image, context->store, context->cache, context->progress,
                              &image->layers, err);
    if (r < 0)
        return r; /* the words name the image */
    r = sfs_tree_merge(image->layers, image->count, &thing->tree, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", ref);
    image->tree = thing->tree;
    *ret_image = image;
    return 0;
}

int sfs_stage_add_layer(struct sfs_stage *stage, struct sfs_layer **layer, struct sfs_error *err)
{
    struct stage_thing *thing = add_thing(stage);
    if (!thing) {
        sfs_layer_close(layer);
        return sfs_fail_memory(err);
    }
    thing->layer = TAKE(*layer);
    return 0;
}

int sfs_stage_add_space(struct sfs_stage *stage, struct sfs_run_space **space,
                        struct sfs_error *err)
{
    struct stage_thing *thing = add_thing(stage);
    if (!thing) {
        stage->context.runner->discard(space);
        return sfs_fail_memory(err);
    }
    thing->runner = stage->context.runner;
    thing->space = TAKE(*space);
    return 0;
}

int sfs_stage_add_tree(struct sfs_stage *stage, struct sfs_layer *const *layers, size_t count,
                       const struct sfs_tree **ret_tree, struct sfs_error *err)
{
    struct stage_thing *thing = add_thing(stage);
    if (!thing)
        return sfs_fail_memory(err);
    int r = sfs_tree_merge(layers, count, &thing->tree, err);
    if (r == 0)
        *ret_tree = thing->tree;
    return r;
}

/* Keeps config and created_by as they are now, or makes them again what was kept. */
static int restore_records(struct sfs_stage *stage)
{
    if (!stage->whole_config)
        stage->whole_config = json_deep_copy(stage->config);
    if (!stage->whole_created_by)
        stage->whole_created_by = strdup(stage->created_by);
    json_t *config = json_deep_copy(stage->whole_config);
    char *created_by = stage->whole_created_by ? strdup(stage->whole_created_by) : NULL;
    if (!config || !created_by) {
        json_decref(config);
        free(created_by);
        return -ENOMEM;
    }
    json_decref(stage->config);
    free(stage->created_by);
    stage->config = config;
    stage->created_by = created_by;
    return 0;
}

int sfs_stage_narrow(struct sfs_stage *stage, struct sfs_layer **layer, struct sfs_error *err)
{
    struct sfs_layer *top = *layer;
    int r = sfs_stage_add_layer(stage, layer, err);
    if (r < 0)
        return r;
    size_t count = sfs_tree_layers(stage->base_tree);
    AUTO(sfs_stage_stack_done) struct stage_stack stack = { 0 };
    r = sfs_stage_stack_extend(&stack, sfs_tree_layer_array(stage->base_tree), count, err);
    if (r == 0)
        r = sfs_stage_stack_extend(&stack, &top, 1, err);
    const struct sfs_tree *narrowed = NULL;
    if (r == 0)
        r = sfs_stage_stack_tree(stage, &stack, &narrowed, err);
    if (r < 0)
        return r;
    if (restore_records(stage) < 0)
        return sfs_fail_memory(err);
    stage->whole_tree = stage->whole_tree ? stage->whole_tree : stage->tree;
    stage->tree = narrowed;
    return 0;
}

int sfs_stage_add_layer_tree(struct sfs_stage *stage, struct sfs_layer **layer,
                             const struct sfs_tree **ret_tree, struct sfs_error *err)
{
    struct sfs_layer *kept = *layer;
    int r = sfs_stage_add_layer(stage, layer, err);
    return r < 0 ? r : sfs_stage_add_tree(stage, &kept, 1, ret_tree, err);
}

void sfs_stage_stack_done(struct stage_stack *stack)
{
    free(stack->layers);
    *stack = (struct stage_stack){ 0 };
}

int sfs_stage_stack_extend(struct stage_stack *stack, struct sfs_layer *const *layers, size_t count,
                           struct sfs_error *err)
{
    if (count > SFS_MAX_LAYERS - stack->count)
        return sfs_fail(err, E2BIG, "the stage has more than %u layers", SFS_MAX_LAYERS);
    if (count > stack->capacity - stack->count) {
        size_t capacity = 2 * (stack->count + count);
        struct sfs_layer **grown = reallocarray(stack->layers, capacity, sizeof *grown);
        if (!grown)
            return sfs_fail_memory(err);
        stack->layers = grown;
        stack->capacity = capacity;
    }
    for (size_t i = 0; i < count; i++)
        stack->layers[stack->count++] = layers[i];
    if (count > 0)
        stack->tree = NULL;
    return 0;
}

int sfs_stage_stack_push(struct sfs_stage *stage, struct stage_stack *stack,
                         struct sfs_layer **layer, struct sfs_error *err)
{
    struct sfs_layer *pushed = *layer;
    int r = sfs_stage_add_layer(stage, layer, err);
    return r < 0 ? r : sfs_stage_stack_extend(stack, &pushed, 1, err);
}

int sfs_stage_stack_tree(struct sfs_stage *stage, struct stage_stack *stack,
                         const struct sfs_tree **ret_tree, struct sfs_error *err)
{
    int r = 0;
    if (!stack->tree)
        r = sfs_stage_add_tree(stage, stack->layers, stack->count, &stack->tree, err);
    if (r == 0)
        *ret_tree = stack->tree;
    return r;
}

int sfs_stage_stack_copy(struct sfs_stage *stage, struct stage_stack *stack,
                         const struct sfs_tree *source, const struct sfs_copy *copy,
                         const char *label, struct sfs_error *err)
{
    struct sfs_copy filled = *copy;
    filled.strict = stage->context.strict;
    filled.epoch = stage->context.epoch;
    filled.progress = stage->context.progress;
    const struct sfs_tree *destination = NULL;
    int r = sfs_stage_stack_tree(stage, stack, &destination, err);
    if (r < 0)
        return r;
    struct sfs_layer *layer = NULL;
    r = sfs_copy_layer(source, destination, &filled, label, &layer, err);
    return r < 0 ? r : sfs_stage_stack_push(stage, stack, &layer, err);
}
