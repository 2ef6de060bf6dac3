/* Results of RUN that are kept in the store (together with evaluate_run.h: one RUN in two halves),
 * so that a command runs once for all who build or look:
 *
 *   DIR/result/sha256-KEY.tar   the layer as a tar, and behind it 64 bytes that say what it is:
 *     0  magic "SFSKEPT1"    8  bytes of the tar u64    16  its SHA-256    48  zeros
 *
 * Written under a temporary name and renamed, while the key is locked; the tar is held to its
 * digest before it is used (layer/verified.h). The least recently used go when there are too many
 * bytes. */
#ifndef STAGEFS_RUN_KEPT_H
#define STAGEFS_RUN_KEPT_H

#include "stage/evaluate_run.h"
#include <stagefs/digest.h>

/* What the result depends on. 1: a key; 0: it depends on what cannot be told without more reading
 * than SFS_MAX_RUN_KEY, or at all: then nothing is kept. Reads files of directories and contexts.
 */
int sfs_eval_run_key(struct run_job *job, struct sfs_digest *ret_key);

/* Opens what is kept of that key as a layer. 1: *ret_layer, the caller's; 0: there is nothing, or
 * it is damaged. */
int sfs_run_kept_open(struct run_job *job, const struct sfs_digest *key, const char *label,
                      struct sfs_layer **ret_layer);
/* Keeps a layer of a directory under the key. -errno with words if it cannot be kept, which fails
 * nothing but that: ENOSPC, E2BIG; ENOTSUP: a tar cannot say what is in it. */
int sfs_run_kept_write(struct sfs_store *store, const struct sfs_digest *key,
                       struct sfs_layer *layer, struct sfs_error *err);

#endif
