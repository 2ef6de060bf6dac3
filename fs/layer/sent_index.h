/* Layer indexes that another machine made (index_export.h), kept in the store under keys of their
 * own: what such an index says counts only for who trusts whoever sent it, so it never stands where
 * one that was made here would. */
#ifndef STAGEFS_SENT_INDEX_H
#define STAGEFS_SENT_INDEX_H

#include "layer/index.h"
#include "layer/layer.h"
#include "layer/store.h"

/* Unpacks the head of an index as it was sent, and keeps it under `key`. EBADMSG: it is damaged, or
 * none. E2BIG: it is larger than any is. EROFS, ENOSPC, ...: the cache directory. */
int sfs_sent_index_keep(struct sfs_store *store, const char *key, const void *head, size_t size,
                        struct sfs_error *err);

/* Opens the index of that key if it is one of the source's layer; the caller closes it, and sets
 * seek.windows_blob. ENOENT: the store has none. EBADMSG: it is of another blob, or damaged. */
int sfs_sent_index_open(struct sfs_store *store, const char *key,
                        const struct sfs_layer_source *source, struct sfs_index *ret_index,
                        struct sfs_error *err);

#endif
