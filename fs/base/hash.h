/* SHA-256 of bytes that come one after the other. */
#ifndef STAGEFS_HASH_H
#define STAGEFS_HASH_H

#include <stagefs/digest.h>

/* A running digest. One thread at a time. */
struct sfs_hash;
/* A digest of nothing yet; the caller closes it. NULL: out of memory. */
struct sfs_hash *sfs_hash_open(void);
/* Digests more bytes. -EIO: OpenSSL failed. */
int sfs_hash_add(struct sfs_hash *hash, const void *data, size_t size);
/* The digest of all that came; nothing may come after it. -EIO as above. */
int sfs_hash_finish(struct sfs_hash *hash, struct sfs_digest *ret_digest);
/* The digest of what came so far; more may come. -EIO as above. */
int sfs_hash_peek(const struct sfs_hash *hash, struct sfs_digest *ret_digest);
/* Frees, and sets NULL; NULL is fine. */
void sfs_hash_close(struct sfs_hash **hash);

#endif
