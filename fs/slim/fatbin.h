/* Fat binaries: device code for several GPUs side by side, as NVIDIA's compiler puts it into
 * libraries. Bytes in, facts out; no I/O. Nothing here is NVIDIA's documentation: it is what files
 * of CUDA 11 to 13 hold. Little-endian.
 *
 * A container, at a multiple of 8:
 *    0 u32 0xBA55ED50   4 u16 version, 1   6 u16 size of this header, 16   8 u64 bytes that follow
 * Entries fill it exactly, one behind the other, each a header and a payload:
 *    0 u16 kind (enum sfs_fatbin_kind)     2 u16 0x0101
 *    4 u32 size of this header, from 64 on  8 u64 size of the payload; both multiples of 8
 *   16 u32 size of what is compressed, which zeros fill up to the payload's; 0: it is stored raw
 *   28 u32 architecture, 90 of sm_90      40 u64 flags
 *   48 u64 key, of what is obfuscated     56 u64 size before it was compressed
 * The rest of an entry's header says nothing that is needed here. */
#ifndef STAGEFS_FATBIN_H
#define STAGEFS_FATBIN_H

#include "slim/gpu_arch.h"
#include <stddef.h>

#define SFS_FATBIN_CONTAINER 16u   /* bytes of a container's header */
#define SFS_FATBIN_ENTRY     64u   /* bytes of an entry's header that are looked at */
#define SFS_FATBIN_ENTRY_MAX 1024u /* bytes that such a header may have: options are in it */
#define SFS_FATBIN_START     64u   /* bytes of a payload that sfs_fatbin_check_payload() wants */

enum sfs_fatbin_kind {
    SFS_FATBIN_NOTHING = 0, /* was taken out: so this program marks it */
    SFS_FATBIN_PTX = 1,
    SFS_FATBIN_CUBIN = 2,
    /* 8 and others for linking at run time: known, and never touched. */
};

enum sfs_fatbin_coding { SFS_FATBIN_RAW, SFS_FATBIN_LZ4, SFS_FATBIN_ZSTD };

struct sfs_fatbin_entry {
    unsigned kind; /* one of those that are known */
    uint32_t header_size;
    uint64_t payload_size; /* with the padding */
    uint32_t padding;      /* zeros at the payload's end, less than 8 */
    struct sfs_gpu_code code;
    enum sfs_fatbin_coding coding;
    bool is_obfuscated;
};

/* Does a container's first word stand here? */
bool sfs_fatbin_is_magic(const void *bytes);

/* Checks a container's header, SFS_FATBIN_CONTAINER bytes behind which `room` bytes follow, and
 * tells how many bytes its entries have. EBADMSG. */
int sfs_fatbin_read_container(const void *bytes, uint64_t room, uint64_t *ret_size,
                              struct sfs_error *err);

/* Checks the header of an entry, SFS_FATBIN_ENTRY bytes. `room` is what the container has from
 * there on. EBADMSG. */
int sfs_fatbin_read_entry(const void *bytes, uint64_t room, struct sfs_fatbin_entry *ret_entry,
                          struct sfs_error *err);

/* Checks that the payload begins as the entry says: the first `size` bytes of it, which are
 * SFS_FATBIN_START or all. EBADMSG. */
int sfs_fatbin_check_payload(const struct sfs_fatbin_entry *entry, const void *payload, size_t size,
                             struct sfs_error *err);

/* Decodes the beginnings of payloads. One thread at a time. */
struct sfs_fatbin_decoder;
/* The caller closes it. NULL: out of memory. */
struct sfs_fatbin_decoder *sfs_fatbin_decoder_open(void);
/* Frees, and sets NULL; NULL is fine. */
void sfs_fatbin_decoder_close(struct sfs_fatbin_decoder **decoder);

/* How many bytes of a payload tell what it begins with, at most: with zstd, a block. */
size_t sfs_fatbin_need(const struct sfs_fatbin_entry *entry);
/* The architecture that the code itself says that it is for: the ELF file that a cubin is, or the
 * .target of PTX. 0: it does not say, or cannot be decoded. `size` is sfs_fatbin_need() or all of
 * the payload. */
unsigned sfs_fatbin_own_arch(struct sfs_fatbin_decoder *decoder,
                             const struct sfs_fatbin_entry *entry, const void *payload,
                             size_t size);

#endif
