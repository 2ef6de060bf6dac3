/* What a layer is written from and how (layer_write.h), and what came of it: for all who take part
 * in the writing. */
#ifndef STAGEFS_LAYER_OPTIONS_H
#define STAGEFS_LAYER_OPTIONS_H

#include "commit/changes.h"
#include "commit/pipe.h"
#include <stagefs/progress.h>

struct json_t;

struct sfs_layer_write {
    const struct sfs_tree *tree;
    const struct sfs_changes *changes; /* what leads to that tree */
    struct sfs_pipe_options pipe;
    bool has_epoch; /* no mtime is later than epoch */
    int64_t epoch;
    bool set_mtimes;                     /* with has_epoch: every mtime is epoch */
    const struct sfs_progress *progress; /* may be NULL */
};

struct sfs_layer_written {
    struct sfs_pipe_result pipe;
    uint64_t copied; /* bytes of the blob that were taken from a source as they were */
    /* What the descriptor is to say of a table of contents; the caller frees. NULL: nothing. */
    struct json_t *annotations;
};

#endif
