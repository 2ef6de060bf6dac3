/* Telling a tree which file bytes will be read soon, so that decoding goes on on other cores. */
#ifndef STAGEFS_AHEAD_H
#define STAGEFS_AHEAD_H

#include "commit/changes.h"

struct sfs_ahead { /* set tree and changes; the rest starts at 0 */
    const struct sfs_tree *tree;
    const struct sfs_changes *changes;
    size_t next;        /* item that asking has come to, */
    uint64_t next_from; /* and the offset in its file, */
    uint64_t asked;     /* and how many bytes it has asked for in all */
};

/* Bytes of file content that an item carries. */
uint64_t sfs_item_size(const struct sfs_tree *tree, const struct sfs_item *item);
/* `done` file bytes of the items were read: asks for some that come next. Does not wait. */
void sfs_ahead_ask(struct sfs_ahead *ahead, uint64_t done);

#endif
