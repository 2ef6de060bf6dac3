/* Stretches of blobs, decoded on all cores ahead of one reader, which takes them in the order in
 * which it asked for them. Stretches that the reader has passed are dropped when their memory is
 * wanted. */
#ifndef STAGEFS_STRETCH_POOL_H
#define STAGEFS_STRETCH_POOL_H

#include "blob/stretch.h"

struct sfs_frames;

/* Starts the threads (0: one for each CPU). `budget`: bytes of stretches that nobody waits for;
 * `wish`: what all of them are decoded for, copied. The caller closes it. */
int sfs_frames_open(unsigned threads, uint64_t budget, const struct sfs_stretch_wish *wish,
                    struct sfs_frames **ret_frames, struct sfs_error *err);
/* Waits for what is being decoded, frees, and sets NULL. All stretches must have been given
 * back. */
void sfs_frames_close(struct sfs_frames **frames);

/* Has the stretches of a range of decoded bytes decoded in the background. Does not wait. False:
 * some of it was not begun, since the budget is spent: ask again. `spans` must live until close. */
bool sfs_frames_ask(struct sfs_frames *frames, struct sfs_spans *spans, uint64_t offset,
                    uint64_t size);

/* Lends the stretch that holds decoded byte `offset` (below the stream's size) until
 * sfs_stretch_release(). Waits for disk and decoder. EIO: the blob cannot be read, or is
 * damaged. */
int sfs_frames_get(struct sfs_frames *frames, struct sfs_spans *spans, uint64_t offset,
                   const struct sfs_stretch **ret_stretch, struct sfs_error *err);
/* Lends the stretch once more: it must then be given back once more. */
void sfs_stretch_hold(const struct sfs_stretch *stretch);
/* Gives a stretch back. Any thread may. */
void sfs_stretch_release(const struct sfs_stretch *stretch);

#endif
