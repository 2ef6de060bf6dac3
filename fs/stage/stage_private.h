/* The inside of a stage, for those who build one: stage.c, and what evaluates Dockerfiles.
 *
 * A stage owns all that its trees stand on (images, layers, trees) and closes it in the reverse
 * order of its making; everything that is handed out here is borrowed from it. */
#ifndef STAGEFS_STAGE_PRIVATE_H
#define STAGEFS_STAGE_PRIVATE_H

#include "layer/layer.h"
#include "copy/copy.h"
#include <jansson.h>
#include <stagefs/stage.h>

struct stage_thing; /* one thing that a stage owns */

struct sfs_stage {
    struct sfs_context context; /* what it points to is the caller's */
    struct stage_thing *things; /* what it owns, the latest first */

    /* What the public functions hand out; whoever builds the stage sets them. */
    const struct sfs_tree *tree, *base_tree;
    const struct sfs_tree *whole_tree; /* `tree` before it was narrowed; NULL: it was not */
    struct sfs_image *base_image;      /* NULL: none */
    struct sfs_image *image;           /* that is the stage; NULL: it is made of several things */
    json_t *config;                    /* owned */
    char *created_by;                  /* owned */
    /* Of a stage that was narrowed, these two as they were at first; owned. */
    json_t *whole_config;
    char *whole_created_by;
    /* What slim/ found in the files when it narrowed the stage, for the next time; NULL: nothing.
     * close_findings() frees it. */
    void *findings;
    void (*close_findings)(void *findings);
    bool has_epoch; /* the Dockerfile, or its arguments, set context.epoch */
};

/* Makes a stage with nothing in it; sfs_stage_close() may close it in any state. */
int sfs_stage_begin(const struct sfs_context *context, struct sfs_stage **ret_stage,
                    struct sfs_error *err);
/* sfs_stage_open() for a spec with a Dockerfile (evaluate.c). */
int sfs_stage_open_dockerfile(const struct sfs_stage_spec *spec, const struct sfs_context *context,
                              struct sfs_stage **ret_stage, struct sfs_error *err);

/* An image with its layers and what they show together. */
struct stage_image {
    struct sfs_image *image;
    struct sfs_layer **layers;
    size_t count;
    const struct sfs_tree *tree;
};
/* Opens an image, or gives what was opened by that name before; the stage owns it. platform NULL:
 * the context's. Fails as sfs_image_open() and sfs_image_open_layers(). */
int sfs_stage_add_image(struct sfs_stage *stage, const char *ref, const char *platform,
                        const struct stage_image **ret_image, struct sfs_error *err);

/* Makes the stage own a layer. Takes over *layer (sets it to NULL), on failure too. */
int sfs_stage_add_layer(struct sfs_stage *stage, struct sfs_layer **layer, struct sfs_error *err);
struct sfs_run_space;
/* Makes the stage own what a command wrote. The context's runner discards it when the stage is
 * closed, after the layers that are added later. Takes over *space, on failure too. */
int sfs_stage_add_space(struct sfs_stage *stage, struct sfs_run_space **space,
                        struct sfs_error *err);
/* Merges layers to a tree that the stage owns. Fails as sfs_tree_merge(). */
int sfs_stage_add_tree(struct sfs_stage *stage, struct sfs_layer *const *layers, size_t count,
                       const struct sfs_tree **ret_tree, struct sfs_error *err);
/* Both for one layer: makes the stage own it, and a tree of it alone. Takes over *layer, on failure
 * too. */
int sfs_stage_add_layer_tree(struct sfs_stage *stage, struct sfs_layer **layer,
                             const struct sfs_tree **ret_tree, struct sfs_error *err);

/* Puts one layer in the place of all that the stage has on its base: the stage's tree is from now
 * on the base's layers with this one on top. The tree that was the stage's lives on as whole_tree,
 * since the layer reads from it; config and created_by become again what they were at first, and
 * who narrows adds to them. Takes over *layer, on failure too. Fails as sfs_tree_merge(). */
int sfs_stage_narrow(struct sfs_stage *stage, struct sfs_layer **layer, struct sfs_error *err);

/* Layers being stacked: the file system of a Dockerfile stage between its instructions. All-zero is
 * an empty one (FROM scratch). */
struct stage_stack {
    struct sfs_layer **layers; /* the array is the stack's; the layers are the stage's */
    size_t count, capacity;
    const struct sfs_tree *tree; /* NULL: to be merged when it is asked for */
};
/* Frees the array; the layers and trees are the stage's. */
void sfs_stage_stack_done(struct stage_stack *stack);
/* Puts layers on top that the stage has already (of an image, or of another stack). */
int sfs_stage_stack_extend(struct stage_stack *stack, struct sfs_layer *const *layers, size_t count,
                           struct sfs_error *err);
/* Puts a new layer on top. Takes over *layer, on failure too. */
int sfs_stage_stack_push(struct sfs_stage *stage, struct stage_stack *stack,
                         struct sfs_layer **layer, struct sfs_error *err);
/* The tree of all layers on the stack, merged when it is first asked for; the stage owns it. */
int sfs_stage_stack_tree(struct sfs_stage *stage, struct stage_stack *stack,
                         const struct sfs_tree **ret_tree, struct sfs_error *err);
/* Does a COPY: puts the layer that sfs_copy_layer() makes on top. copy's strict, epoch and progress
 * are not looked at: the context's are taken. */
int sfs_stage_stack_copy(struct sfs_stage *stage, struct stage_stack *stack,
                         const struct sfs_tree *source, const struct sfs_copy *copy,
                         const char *label, struct sfs_error *err);

/* stage_config.c: image configs, as new values that the caller json_decref()s. */

/* Makes the config that FROM scratch begins with. platform NULL: the host's. */
int sfs_config_scratch(const char *platform, json_t **ret_config, struct sfs_error *err);
/* Makes the config that FROM IMAGE begins with: the fields that images have by the specification,
 * without `created` and rootfs, and with PATH set. An image that says nothing of its platform gets
 * the one given. */
int sfs_config_inherit(const json_t *config, const char *platform, json_t **ret_config,
                       struct sfs_error *err);
/* config.WorkingDir, or "/". Borrowed. */
const char *sfs_config_workdir(const json_t *config);
/* Warns (or fails, if strict) if two images are for different platforms. */
int sfs_config_compare_platforms(const struct sfs_context *context, const struct sfs_image *base,
                                 const struct sfs_image *from, struct sfs_error *err);

#endif
