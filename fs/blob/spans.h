/* Decoded bytes at random offsets: a compressed blob, its seek table, and the cache of decoded
 * spans.
 *
 * Thread-safe. One decode per span however many readers wait; a reader waits only until its bytes
 * are decoded, not for the end of the span; a decoder that stopped in the middle is continued, not
 * restarted. Every span's compressed bytes are checked against the table before any of its decoded
 * bytes are handed out. */
#ifndef STAGEFS_SPANS_H
#define STAGEFS_SPANS_H

#include "base/pool.h"
#include "blob/blob.h"
#include "blob/seek.h"
#include <stagefs/cache.h>

/* Bytes that stay valid until sfs_slice_release(). */
struct sfs_slice {
    const void *data;
    size_t size;
    void (*release)(void *owner); /* NULL: nothing to release */
    void (*spend)(void *owner);   /* see sfs_slice_spend(); may be NULL */
    void *owner;
};
/* Gives the bytes back. Any thread may. Fine on an all-zero slice. */
void sfs_slice_release(struct sfs_slice *slice);
/* As sfs_slice_release(), by a reader who knows that nobody will ask for these bytes again: their
 * memory is the first to be used for others. */
void sfs_slice_spend(struct sfs_slice *slice);

struct sfs_spans;

/* Takes over *blob on success; borrows the arrays of the table (they lie in a mapped index) and the
 * cache. `label` names the layer in messages ("layer sha256:0123..."); copied. */
int sfs_spans_open(struct sfs_cache *cache, struct sfs_blob **blob,
                   const struct sfs_seek_table *table, const char *label,
                   struct sfs_spans **ret_spans, struct sfs_error *err);
/* Waits for jobs that decode in the background, frees, and sets NULL; NULL is fine. All slices must
 * have been given back. */
void sfs_spans_close(struct sfs_spans **spans);

/* Lends 1..size decoded bytes at `offset` (< out_size): as many as are ready or become ready
 * together. Waits for disk and decoder, and decodes no more than it lends. EIO: the blob could not
 * be read, is damaged, or was changed since it was verified. */
int sfs_spans_pin(struct sfs_spans *spans, uint64_t offset, size_t size,
                  struct sfs_slice *ret_slice, struct sfs_error *err);

/* Tells that a reader has read this range, and will go on: what is left of the span is decoded in
 * the background, and what follows it too if the reader is found to be sequential, up to `end`,
 * where it will stop (UINT64_MAX: not known); from another machine, more is fetched than is
 * decoded. Does not wait. */
void sfs_spans_follow(struct sfs_spans *spans, uint64_t offset, uint64_t size, uint64_t end);

/* Tells that a reader is about to ask for this range, of whom nobody knows what it will read: what
 * is likely to follow is decoded at the same time (nearby.h). Does not wait. */
void sfs_spans_expect(struct sfs_spans *spans, uint64_t offset, uint64_t size);

/* Tells that somebody knows what will be read, and says so by sfs_spans_prefetch() and
 * sfs_blob_fetch(): of bytes on another machine, only what a reader of many megabytes in a row will
 * read is still guessed. */
void sfs_spans_plan(struct sfs_spans *spans);

/* Has a range decoded in the background, and no more. Does not wait. False: some of it was not
 * begun, since the budget is spent: ask again. */
bool sfs_spans_prefetch(struct sfs_spans *spans, uint64_t offset, uint64_t size,
                        enum sfs_pool_priority priority);

/* The table that it was opened with; borrowed until close. */
const struct sfs_seek_table *sfs_spans_table(const struct sfs_spans *spans);
/* The compressed bytes; borrowed until close. */
struct sfs_blob *sfs_spans_blob(struct sfs_spans *spans);
/* What messages call the layer; borrowed until close. */
const char *sfs_spans_label(const struct sfs_spans *spans);

#endif
