/* Telling a tree which file bytes will be read soon, so that decoding goes on on other cores. */
#ifndef STAGEFS_READ_PLAN_H
#define STAGEFS_READ_PLAN_H

#include "blob/stretch_pool.h"
#include "commit/changes.h"

struct sfs_read_plan { /* set these; the rest starts at 0 */
    const struct sfs_tree *tree;
    const struct sfs_changes *changes;
    struct sfs_frames *frames; /* NULL: none are copied */
    enum sfs_codec codec;      /* of those that are */
    bool cuts;                 /* of gzip, blocks of a member also */

    size_t next;        /* item that asking has come to, */
    uint64_t next_from; /* and the offset in its file, */
    uint64_t asked;     /* and how many bytes it has asked for in all */
    uint64_t again;     /* nothing more is asked for before these many were read */
};

/* Bytes of file content that an item carries. */
uint64_t sfs_item_size(const struct sfs_tree *tree, const struct sfs_item *item);
/* Where the bytes of a file are, if frames of them, or blocks, may be copied; else NULL. As
 * sfs_tree_find_spans(). */
struct sfs_spans *sfs_read_plan_find_spans(const struct sfs_read_plan *ahead, sfs_node node,
                                           uint64_t offset, uint64_t *ret_position,
                                           uint64_t *ret_size);
/* `done` file bytes of the items were read: asks for some that come next. Does not wait. */
void sfs_read_plan_ask(struct sfs_read_plan *ahead, uint64_t done);

#endif
