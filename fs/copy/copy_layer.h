/* The layer that a draft makes, with its bytes left where they are in the source tree. */
#ifndef STAGEFS_COPY_LAYER_H
#define STAGEFS_COPY_LAYER_H

#include "layer/layer.h"
#include "copy/copy_draft.h"

/* Makes a layer of what the draft has made, replaced or changed, but not of the metadata of the
 * root itself, which BuildKit's layers never hold either. The caller closes *ret_layer, which
 * borrows the draft's source until then. */
int sfs_copy_layer_open(struct draft *draft, const char *label, struct sfs_layer **ret_layer,
                        struct sfs_error *err);

#endif
