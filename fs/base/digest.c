/* SHA-256 by OpenSSL: of bytes in memory, and of bytes that come one after the other (hash.h). */
#include <stagefs/digest.h>

#include "base/banned.h"
#include "base/hash.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stagefs/error.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int sfs_digest_parse(const char *text, struct sfs_digest *ret_digest, struct sfs_error *err)
{
    static const char prefix[] = "sha256:";
    if (strncmp(text, prefix, sizeof prefix - 1) != 0) {
        if (strncmp(text, "sha512:", 7) == 0 || strncmp(text, "sha384:", 7) == 0)
            return sfs_fail(err, ENOTSUP, "digest %.80s: only sha256 is supported", text);
        return sfs_fail(err, EINVAL, "'%.80s' is not a digest (sha256:HEX)", text);
    }
    const char *hex = text + sizeof prefix - 1;
    if (strlen(hex) != 64)
        return sfs_fail(err, EINVAL, "'%.80s' is not a digest: sha256 has 64 hex digits", text);
    struct sfs_digest digest;
    for (size_t i = 0; i < 32; i++) {
        int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return sfs_fail(err, EINVAL, "'%.80s' is not a digest: lower-case hex digits only",
                            text);
        digest.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret_digest = digest;
    return 0;
}

char *sfs_digest_print(const struct sfs_digest *digest, char text[SFS_DIGEST_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *out = text;
    memcpy(out, "sha256:", 7);
    out += 7;
    for (size_t i = 0; i < 32; i++) {
        *out++ = digits[digest->bytes[i] >> 4];
        *out++ = digits[digest->bytes[i] & 15];
    }
    *out = 0;
    return text;
}

bool sfs_digest_equal(const struct sfs_digest *a, const struct sfs_digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

int sfs_digest_of(const void *data, size_t size, struct sfs_digest *ret_digest)
{
    struct sfs_hash *hash = sfs_hash_open();
    if (!hash)
        return -ENOMEM;
    int r = sfs_hash_add(hash, data, size);
    if (r == 0)
        r = sfs_hash_finish(hash, ret_digest);
    sfs_hash_close(&hash);
    return r;
}

/* struct sfs_hash is OpenSSL's context under our name. */
struct sfs_hash *sfs_hash_open(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        context = NULL;
    }
    return (struct sfs_hash *)context;
}

int sfs_hash_add(struct sfs_hash *hash, const void *data, size_t size)
{
    return EVP_DigestUpdate((EVP_MD_CTX *)hash, data, size) == 1 ? 0 : -ENOMEM;
}

int sfs_hash_finish(struct sfs_hash *hash, struct sfs_digest *ret_digest)
{
    return EVP_DigestFinal_ex((EVP_MD_CTX *)hash, ret_digest->bytes, NULL) == 1 ? 0 : -ENOMEM;
}

int sfs_hash_peek(const struct sfs_hash *hash, struct sfs_digest *ret_digest)
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    bool good = copy && EVP_MD_CTX_copy_ex(copy, (const EVP_MD_CTX *)hash) == 1 &&
                EVP_DigestFinal_ex(copy, ret_digest->bytes, NULL) == 1;
    EVP_MD_CTX_free(copy);
    return good ? 0 : -ENOMEM;
}

void sfs_hash_close(struct sfs_hash **hash)
{
    EVP_MD_CTX_free((EVP_MD_CTX *)*hash);
    *hash = NULL;
}
