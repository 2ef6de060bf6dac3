/* The seek table while a pass makes it: points from the decoder's thread, tags and compressed
 * windows made on the input's thread. */
#ifndef STAGEFS_UNPACK_POINTS_H
#define STAGEFS_UNPACK_POINTS_H

#include "base/buf.h"
#include "blob/gmac.h"
#include "blob/seek.h"
#include "blob/unpack_window.h"
#include <pthread.h>
#include <zstd.h>

struct sfs_points_window; /* a window that waits to be compressed */

struct sfs_points {
    pthread_mutex_t lock;
    struct sfs_point *points; /* guarded by lock, as the next four */
    uint32_t count, capacity;
    uint64_t in_end;                        /* where data ends; UINT64_MAX while unknown */
    struct sfs_points_window *first, **end; /* the windows that wait, oldest first */

    /* Only the input's thread uses what follows. */
    struct sfs_buf tags, windows; /* as in the seek table */
    struct sfs_gmac *gmac;
    ZSTD_CCtx *compressor;
    struct sfs_window_pruner *pruner;
    uint32_t tagging;  /* the span whose tag is being made */
    bool tag_is_open;  /* some of its input is in the tag already */
    uint64_t tagged;   /* offset up to which input went into that tag */
    uint8_t last_byte; /* the input byte before the present block */
    uint8_t key[16];
};

/* 0 or a negative errno; after a failure too, the caller calls sfs_points_done(). */
int sfs_points_init(struct sfs_points *points);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_points_done(struct sfs_points *points);

/* Adds a point, in order. `window`: the decoded bytes before it, copied; size 0: none is needed. On
 * the decoder's thread. E2BIG, ENOMEM. */
int sfs_points_add(struct sfs_points *points, uint64_t out, uint64_t in, uint8_t bits,
                   const void *window, size_t window_size);
/* Tells where data ends, as an offset in the blob. On the decoder's thread. */
void sfs_points_end(struct sfs_points *points, uint64_t in_end);

/* Takes the next block of input into the tags. All points inside it are known already. On the
 * input's thread. */
int sfs_points_tag(struct sfs_points *points, const uint8_t *data, size_t size, uint64_t offset);
/* Makes the last tag, after the last block, and says what of a seek table the points are: count,
 * points, tags, windows, check and key, borrowed from `points`; all else of *ret_table is zero. On
 * the input's thread. */
int sfs_points_finish(struct sfs_points *points, struct sfs_seek_table *ret_table);

#endif
