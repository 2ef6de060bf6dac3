/* AES-128-GMAC: a keyed check of bytes at memory speed (AES-GCM with no plaintext).
 *
 * Whoever does not know the key cannot change bytes without being noticed; a key is used once for
 * each nonce. One thread at a time. */
#ifndef STAGEFS_GMAC_H
#define STAGEFS_GMAC_H

#include "base/banned.h"
#include <stdbool.h>
#include <stdint.h>

#define SFS_GMAC_SIZE 16

struct sfs_gmac;
/* A new one, which the caller closes. NULL: out of memory. */
struct sfs_gmac *sfs_gmac_open(void);
/* Frees, and sets NULL; NULL is fine. */
void sfs_gmac_close(struct sfs_gmac **gmac);

/* Makes a fresh random key. 0 or -EIO. */
int sfs_gmac_make_key(uint8_t ret_key[16]);

/* Begins a tag; then come sfs_gmac_add(), again and again, and sfs_gmac_finish(). 0 or -ENOMEM
 * (OpenSSL failed). */
int sfs_gmac_start(struct sfs_gmac *gmac, const uint8_t key[16], uint64_t nonce);
/* Takes more bytes into the tag. 0 or -ENOMEM, as above. */
int sfs_gmac_add(struct sfs_gmac *gmac, const void *data, size_t size);
/* The tag of all bytes since the start. 0 or -ENOMEM, as above. */
int sfs_gmac_finish(struct sfs_gmac *gmac, uint8_t ret_tag[SFS_GMAC_SIZE]);

/* Do the bytes have this tag? 1, 0 or -ENOMEM. */
int sfs_gmac_check(struct sfs_gmac *gmac, const uint8_t key[16], uint64_t nonce, const void *data,
                   size_t size, const uint8_t tag[SFS_GMAC_SIZE]);

#endif
