/* The names of a layer that is being written, for its index: as a reader of its tar will see
 * them. */
#ifndef STAGEFS_LAYER_NAMES_H
#define STAGEFS_LAYER_NAMES_H

#include "commit/layer_entry.h"
#include "layer/index_maker.h"

/* Adds an entry whose content, if it has any, begins at byte `data` of the tar. If it is not sure
 * that readers will see the entry as it is here, the maker gives up. */
void sfs_layer_names_add(struct sfs_index_maker *maker, const struct sfs_layer_entry *entry,
                         uint64_t data);

#endif
