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

struct sfs_points_window; /* one that waits for compression */

struct sfs_points {
    pthread_mutex_t lock;
    struct sfs_point *points; /* guarded by lock, as the next four */
    uint32_t count, capacity;
    uint64_t in_end; /* where data ends; UINT64_MAX while unknown */
    struct sfs_points_window *first, **end;

    /* The input's thread only. */
    struct sfs_buf tags, windows;
    struct sfs_gmac *gmac;
    ZSTD_CCtx *compressor;
    struct sfs_window_pruner *pruner;
    uint32_t tagging; /* the span whose tag is being made */
    bool tag_is_open;
    uint64_t tagged;   /* offset up to which input went into that tag */
    uint8_t last_byte; /* the input byte before the present block */
    uint8_t key[16];
};

/* 0 or a negative errno; either way to be done. */
int sfs_points_init(struct sfs_points *points);
/* Frees. Fine on an all-zero struct. */
void sfs_points_done(struct sfs_points *points);

/* Adds a point, in order. `window`: decoded bytes before it, copied; size 0: none needed. */
int sfs_points_add(struct sfs_points *points, uint64_t out, uint64_t in, uint8_t bits,
                   const void *window, size_t window_size);
/* Tells where data ends. */
void sfs_points_end(struct sfs_points *points, uint64_t in_end);

/* Takes the next block of input into the tags, when all points inside it are known. */
int sfs_points_tag(struct sfs_points *points, const uint8_t *data, size_t size, uint64_t offset);
/* The last tag; after the last block. */
int sfs_points_finish(struct sfs_points *points);

#endif
