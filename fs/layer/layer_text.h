/* A layer of files that are texts in memory: heredocs. */
#ifndef STAGEFS_LAYER_TEXT_H
#define STAGEFS_LAYER_TEXT_H

#include "layer/layer.h"

struct sfs_text_file {
    const char *name; /* a path in the layer */
    const char *text;
    uint32_t mode; /* permission bits */
};
/* Makes a layer of the texts, which are copied. The files are root's, of the time `epoch`
 * (seconds).
 */
int sfs_text_layer_open(const struct sfs_text_file *files, size_t count, int64_t epoch,
                        const char *label, struct sfs_layer **ret_layer, struct sfs_error *err);

#endif
