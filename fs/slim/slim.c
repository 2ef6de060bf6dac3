/* Narrowing a stage: what is kept of its names, what of its bytes, and the layer that is left. */
#include "slim/pick.h"
#include "slim/prune.h"
#include "stage/stage_private.h"

#include "base/banned.h"
#include <errno.h>
#include <stagefs/slim.h>

struct sfs_slim {
    const struct sfs_tree *full; /* the stage's */
    struct sfs_prune *prune;     /* NULL: device code stays */
};

void sfs_slim_close(struct sfs_slim **slim)
{
    struct sfs_slim *closed = TAKE(*slim);
    if (closed)
        sfs_prune_close(&closed->prune);
    free(closed);
}

const struct sfs_tree *sfs_slim_full_tree(const struct sfs_slim *slim)
{
    return slim->full;
}

const struct sfs_device_codes *sfs_slim_device_codes(const struct sfs_slim *slim)
{
    static const struct sfs_device_codes none;
    return slim->prune ? sfs_prune_codes(slim->prune) : &none;
}

static const struct sfs_ranges *find_zeros(void *user, sfs_node node)
{
    const struct sfs_slim *slim = user;
    return slim->prune ? sfs_prune_zeros(slim->prune, node) : NULL;
}

int sfs_slim_open(struct sfs_stage *stage, const struct sfs_slim_spec *spec,
                  const struct sfs_progress *progress, struct sfs_slim **ret_slim,
                  struct sfs_error *err)
{
    AUTO(sfs_slim_close) struct sfs_slim *slim = calloc(1, sizeof *slim);
    if (!slim)
        return sfs_fail_memory(err);
    slim->full = stage->whole_tree ? stage->whole_tree : stage->tree;
    const struct sfs_pick pick = {
        .base = stage->base_tree, .tree = slim->full, .zeros = find_zeros, .user = slim
    };
    AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
    struct sfs_gpu_rules rules = { 0 };
    int r = 0;
    if (spec->gpu_archs)
        r = sfs_gpu_rules_parse(spec->gpu_archs, spec->ptx, &rules, err);
    if (r == 0 && spec->gpu_archs)
        r = sfs_prune_open(&pick, &rules, progress, &slim->prune, err);
    if (r == 0)
        r = sfs_pick_layer(&pick, "the narrowed stage", &layer, err);
    if (r == 0)
        r = sfs_stage_narrow(stage, &layer, err);
    if (r == 0 && spec->gpu_archs)
        r = sfs_prune_record(&rules, stage, err);
    if (r == 0)
        *ret_slim = TAKE(slim);
    return r;
}
