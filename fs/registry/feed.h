/* The bytes of an upload on their way from who has them to the network thread, which must not wait:
 * a thread reads ahead, digests, and wakes the network. Inside this folder (together with
 * upload.h, which says what is uploaded). */
#ifndef STAGEFS_FEED_H
#define STAGEFS_FEED_H

#include "registry/upload.h"

struct sfs_feed;
/* Starts the thread, which reads from offset 0 on. All is borrowed until it is closed. The caller
 * closes *ret_feed. */
int sfs_feed_open(struct sfs_http *http, const struct sfs_upload *upload,
                  struct sfs_feed **ret_feed, struct sfs_error *err);
/* Ends the thread, for which it waits; sets NULL; NULL is fine. */
void sfs_feed_close(struct sfs_feed **feed);

/* As on_read of struct sfs_http_request, `user` being the feed; at another offset than where the
 * last one ended it begins anew there. EIO: the source became shorter. EKEYREJECTED: it was read
 * from offset 0 to its end, and does not hold its digest. What the source fails with. */
ssize_t sfs_feed_read(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err);
/* How many bytes there were, once the end was read. */
uint64_t sfs_feed_size(struct sfs_feed *feed);
/* What the source failed with, as sfs_feed_read() tells it; 0: nothing. */
int sfs_feed_failure(struct sfs_feed *feed, struct sfs_error *err);

#endif
