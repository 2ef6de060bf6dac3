/* Narrowing a stage: what is kept of its names, what of its bytes, and the layer that is left. */
#include "slim/pick.h"
#include "stage/stage_private.h"

#include "base/banned.h"
#include <errno.h>
#include <stagefs/slim.h>

struct sfs_slim {
    const struct sfs_tree *full; /* the stage's */
};

void sfs_slim_close(struct sfs_slim **slim)
{
    free(TAKE(*slim));
}

const struct sfs_tree *sfs_slim_full_tree(const struct sfs_slim *slim)
{
    return slim->full;
}

int sfs_slim_open(struct sfs_stage *stage, const struct sfs_slim_spec *spec,
                  const struct sfs_progress *progress, struct sfs_slim **ret_slim,
                  struct sfs_error *err)
{
    (void)spec;
    (void)progress;
    AUTO(sfs_slim_close) struct sfs_slim *slim = calloc(1, sizeof *slim);
    if (!slim)
        return sfs_fail_memory(err);
    slim->full = stage->whole_tree ? stage->whole_tree : stage->tree;
    const struct sfs_pick pick = { .base = stage->base_tree, .tree = slim->full };
    AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
    int r = sfs_pick_layer(&pick, "the narrowed stage", &layer, err);
    if (r == 0)
        r = sfs_stage_narrow(stage, &layer, err);
    if (r == 0)
        *ret_slim = TAKE(slim);
    return r;
}
