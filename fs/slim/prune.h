/* What goes from inside the libraries of a stage's own layer: device code, and symbols. */
#ifndef STAGEFS_PRUNE_H
#define STAGEFS_PRUNE_H

#include "slim/gpu_arch.h"
#include "slim/pick.h"
#include "stage/stage_private.h"

struct sfs_prune_rules {
    bool has_gpus; /* device code of GPUs that are not in `gpus` goes */
    struct sfs_gpu_rules gpus;
    bool strip; /* symbols and debug information go */
};

struct sfs_prune;
/* Looks into the libraries among what pick names (its `zeros` is not asked), on all cores. What is
 * not understood stays, and progress->warn (which may be NULL) is told why. Borrows nothing after
 * the call. What it finds is kept, by the stage for its next call and in the store for
 * other commands, so that nobody looks into a file twice. EIO: a layer could not be read. ENOMEM.
 */
int sfs_prune_stage(struct sfs_stage *stage, const struct sfs_pick *pick,
                    const struct sfs_prune_rules *rules, const struct sfs_progress *progress,
                    const struct sfs_prune **ret_prune, struct sfs_error *err);

/* Bytes of a node of pick->tree that become zeros, as sfs_pick.zeros has them. NULL: none. */
const struct sfs_ranges *sfs_prune_zeros(const struct sfs_prune *prune, sfs_node node);
/* All device code that was found, and what goes of it. Lives as long as prune. */
const struct sfs_device_codes *sfs_prune_codes(const struct sfs_prune *prune);
/* How many bytes of symbols went, of how many files. */
void sfs_prune_stripped(const struct sfs_prune *prune, uint64_t *ret_bytes, uint64_t *ret_files);

/* Writes into a stage's config and created_by what it was narrowed to. ENOMEM. */
int sfs_prune_record(const struct sfs_prune_rules *rules, struct sfs_stage *stage,
                     struct sfs_error *err);

#endif
