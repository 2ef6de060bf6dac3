/* GMAC by OpenSSL's AES-GCM, with everything as associated data. */
#include "blob/gmac.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

/* struct sfs_gmac is OpenSSL's context under our name. */
static EVP_CIPHER_CTX *context_of(struct sfs_gmac *gmac)
{
    return (EVP_CIPHER_CTX *)gmac;
}

struct sfs_gmac *sfs_gmac_open(void)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context && EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), NULL, NULL, NULL) != 1) {
        EVP_CIPHER_CTX_free(context);
        context = NULL;
    }
    return (struct sfs_gmac *)context;
}

void sfs_gmac_close(struct sfs_gmac **gmac)
{
    EVP_CIPHER_CTX_free(context_of(*gmac));
    *gmac = NULL;
}

int sfs_gmac_make_key(uint8_t ret_key[16])
{
    return RAND_bytes(ret_key, 16) == 1 ? 0 : -EIO;
}

int sfs_gmac_start(struct sfs_gmac *gmac, const uint8_t key[16], uint64_t nonce)
{
    uint8_t iv[12] = { 0 };
    for (size_t i = 0; i < 8; i++)
        iv[i] = (uint8_t)(nonce >> (8 * i));
    return EVP_EncryptInit_ex(context_of(gmac), NULL, NULL, key, iv) == 1 ? 0 : -ENOMEM;
}

int sfs_gmac_add(struct sfs_gmac *gmac, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        int part = size > (1 << 30) ? 1 << 30 : (int)size;
        int unused;
        if (EVP_EncryptUpdate(context_of(gmac), NULL, &unused, at, part) != 1)
            return -ENOMEM;
        at += part;
        size -= (size_t)part;
    }
    return 0;
}

int sfs_gmac_finish(struct sfs_gmac *gmac, uint8_t ret_tag[SFS_GMAC_SIZE])
{
    uint8_t nothing[16];
    int unused;
    if (EVP_EncryptFinal_ex(context_of(gmac), nothing, &unused) != 1 ||
        EVP_CIPHER_CTX_ctrl(context_of(gmac), EVP_CTRL_AEAD_GET_TAG, SFS_GMAC_SIZE, ret_tag) != 1)
        return -ENOMEM;
    return 0;
}

int sfs_gmac_check(struct sfs_gmac *gmac, const uint8_t key[16], uint64_t nonce, const void *data,
                   size_t size, const uint8_t tag[SFS_GMAC_SIZE])
{
    uint8_t actual[SFS_GMAC_SIZE];
    if (sfs_gmac_start(gmac, key, nonce) < 0 || sfs_gmac_add(gmac, data, size) < 0 ||
        sfs_gmac_finish(gmac, actual) < 0)
        return -ENOMEM;
    return CRYPTO_memcmp(actual, tag, sizeof actual) == 0;
}
