/* Telling a tree which file bytes will be read soon, so that decoding goes on on other cores. */
#ifndef STAGEFS_READ_PLAN_H
#define STAGEFS_READ_PLAN_H

#include "blob/stretch_pool.h"
#include "commit/changes.h"

struct sfs_read_plan {
    /* The caller sets these: */
    const struct sfs_tree *tree;
    const struct sfs_changes *changes;
    struct sfs_frames
        *frames;          /* where stretches are decoded for copying; NULL: nothing is copied */
    enum sfs_codec codec; /* what may be copied is of this codec */
    bool cuts;            /* of gzip, deflate blocks may be copied, too */

    /* These start at 0: */
    size_t next;        /* the item of which bytes are asked for next */
    uint64_t next_from; /* the offset in its file from which on they are asked for */
    uint64_t asked;     /* how many bytes were asked for in all */
    uint64_t again;     /* nothing more is asked for before so many bytes were read */
};

/* How many bytes of file content an item carries. */
uint64_t sfs_item_size(const struct sfs_tree *tree, const struct sfs_item *item);
/* Where the bytes of a file are, as of sfs_tree_find_spans(), if frames or deflate blocks of them
 * may be copied; else NULL. */
struct sfs_spans *sfs_read_plan_find_spans(const struct sfs_read_plan *ahead, sfs_node node,
                                           uint64_t offset, uint64_t *ret_position,
                                           uint64_t *ret_size);
/* Tells that `done` file bytes of all items were read so far: asks for some that come next. Does
 * not wait. */
void sfs_read_plan_ask(struct sfs_read_plan *ahead, uint64_t done);

#endif
