/* Stretches of blobs, decoded on all cores ahead of one reader, which takes them in the order in
 * which it asked for them. What it is done with is dropped when its memory is wanted. */
#ifndef STAGEFS_STRETCH_POOL_H
#define STAGEFS_STRETCH_POOL_H

#include "blob/stretch.h"

struct sfs_frames;

/* threads 0: one a CPU. budget: bytes of stretches that nobody waits for. */
int sfs_frames_open(unsigned threads, uint64_t budget, const struct sfs_stretch_wish *wish,
                    struct sfs_frames **ret_frames, struct sfs_error *err);
/* Waits for what is being decoded. All stretches must have been given back. */
void sfs_frames_close(struct sfs_frames **frames);

/* Makes a range of decoded bytes be decoded in the background. Does not wait. False: some of it was
 * not begun, since the budget is spent: ask again. The spans live until close. */
bool sfs_frames_ask(struct sfs_frames *frames, struct sfs_spans *spans, uint64_t offset,
                    uint64_t size);

/* Lends the stretch that holds decoded byte `offset` (which is there) until sfs_stretch_release().
 * Waits. EIO: the blob cannot be read, or is damaged. */
int sfs_frames_get(struct sfs_frames *frames, struct sfs_spans *spans, uint64_t offset,
                   const struct sfs_stretch **ret_stretch, struct sfs_error *err);
/* The stretch is lent once more: it is to be given back once more. */
void sfs_stretch_hold(const struct sfs_stretch *stretch);
/* Gives it back. Any thread may. */
void sfs_stretch_release(const struct sfs_stretch *stretch);

#endif
