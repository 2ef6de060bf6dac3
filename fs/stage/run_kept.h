/* Results of RUN that are kept in the store so that a command runs once for all who
 * build or look (together with evaluate_run.h, which has the RUN itself):
 *
 *   DIR/result/sha256-KEY.tar   the layer as a tar, and behind it 64 bytes that say what it is:
 *     0  magic "SFSKEPT1"    8  bytes of the tar u64    16  its SHA-256    48  zeros
 *
 * A result is written under a temporary name and renamed, while its key is locked. The tar is
 * compared with its digest before it is used (layer/verified.h). When the results have too many
 * bytes, those not used for longest are removed. */
#ifndef STAGEFS_RUN_KEPT_H
#define STAGEFS_RUN_KEPT_H

#include "stage/evaluate_run.h"
#include <stagefs/digest.h>

/* Digests all that the result depends on. 1: there is a key; 0: it depends on something that cannot
 * be digested, or not without reading more than SFS_MAX_RUN_KEY bytes: then nothing is kept. Reads
 * files of directories and contexts. */
int sfs_eval_run_key(struct run_job *job, struct sfs_digest *ret_key);

/* Opens what is kept under that key as a layer. 1: done, and the caller closes *ret_layer; 0: there
 * is nothing, or it is damaged. */
int sfs_run_kept_open(struct run_job *job, const struct sfs_digest *key, const char *label,
                      struct sfs_layer **ret_layer);
/* Keeps a layer of a directory under the key. Waits for the disk. A failure means only that it is
 * not kept: ENOSPC, E2BIG; ENOTSUP: a tar cannot say what is in it. */
int sfs_run_kept_write(struct sfs_store *store, const struct sfs_digest *key,
                       struct sfs_layer *layer, struct sfs_error *err);

#endif
