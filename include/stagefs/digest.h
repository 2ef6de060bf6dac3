/* SHA-256 as a value. Written "sha256:" and 64 lower-case hex digits. No other algorithm is
 * accepted. */
#ifndef STAGEFS_DIGEST_H
#define STAGEFS_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sfs_error;

struct sfs_digest {
    uint8_t bytes[32];
};

#define SFS_DIGEST_TEXT 72 /* "sha256:" + 64 + NUL */

/* Room for a name of some bytes of a blob; see sfs_tree_content_name(). */
#define SFS_CONTENT_NAME 112

/* Reads a digest as it is written. EINVAL: not of that form. ENOTSUP: another algorithm. */
int sfs_digest_parse(const char *text, struct sfs_digest *ret_digest, struct sfs_error *err);
/* Writes the digest, and a NUL, into `text`, and returns that. */
char *sfs_digest_print(const struct sfs_digest *digest, char text[SFS_DIGEST_TEXT]);
/* Are both the same digest? */
bool sfs_digest_equal(const struct sfs_digest *a, const struct sfs_digest *b);
/* The digest of bytes in memory. -ENOMEM. */
int sfs_digest_of(const void *data, size_t size, struct sfs_digest *ret_digest);

#endif
