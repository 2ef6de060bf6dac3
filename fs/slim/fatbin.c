/* Fat binaries, read with suspicion: who removes code must be sure of what it is, so anything that
 * no known file has makes the whole library be kept. */
#include "slim/fatbin.h"

#include "base/banned.h"
#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <zstd.h>

#define MAGIC         0xBA55ED50u
#define ZSTD_FRAME    0xFD2FB528u
#define CONTAINER_MAX INT32_MAX /* the driver keeps a container's size in so many bits */
#define ARCH_MAX      999u
#define CUDA_MACHINE  190u
#define ZSTD_HEADERS  (18u + 3u) /* of a frame, and of a block */
#define ZSTD_BLOCK    (128u << 10)
#define PTX_START     2048u
#define LZ4_SHORTEST  4u /* bytes of a match */

enum entry_flags {
    FLAG_64BIT = 0x1,
    FLAG_LINUX = 0x10,
    FLAG_LZ4 = 0x2000,
    FLAG_ZSTD = 0x8000,
    FLAG_OBFUSCATED = 0x10000,
    FLAG_A = 0x100000,
    FLAG_F = 0x200000,
    FLAG_NEW = 0x1000000, /* of architectures from 100 on */
    FLAGS_KNOWN = FLAG_64BIT | FLAG_LINUX | FLAG_LZ4 | FLAG_ZSTD | FLAG_OBFUSCATED | FLAG_A |
                  FLAG_F | FLAG_NEW
};

static uint16_t get16(const void *bytes, size_t at)
{
    uint16_t number;
    memcpy(&number, (const char *)bytes + at, sizeof number);
    return le16toh(number);
}

static uint32_t get32(const void *bytes, size_t at)
{
    uint32_t number;
    memcpy(&number, (const char *)bytes + at, sizeof number);
    return le32toh(number);
}

static uint64_t get64(const void *bytes, size_t at)
{
    uint64_t number;
    memcpy(&number, (const char *)bytes + at, sizeof number);
    return le64toh(number);
}

bool sfs_fatbin_is_magic(const void *bytes)
{
    return get32(bytes, 0) == MAGIC;
}

int sfs_fatbin_read_container(const void *bytes, uint64_t room, uint64_t *ret_size,
                              struct sfs_error *err)
{
    uint64_t size = get64(bytes, 8);
    if (!sfs_fatbin_is_magic(bytes))
        return sfs_fail(err, EBADMSG, "no fat binary is where one must be");
    if (get16(bytes, 4) != 1 || get16(bytes, 6) != SFS_FATBIN_CONTAINER)
        return sfs_fail(err, EBADMSG, "a fat binary is of version %u, with a header of %u bytes",
                        get16(bytes, 4), get16(bytes, 6));
    if (size > CONTAINER_MAX || size > room || size % 8 != 0)
        return sfs_fail(err, EBADMSG, "a fat binary claims to have %llu bytes",
                        (unsigned long long)size);
    *ret_size = size;
    return 0;
}

static bool is_known_kind(unsigned kind)
{
    static const unsigned known[] = { SFS_FATBIN_NOTHING,
                                      SFS_FATBIN_PTX,
                                      SFS_FATBIN_CUBIN,
                                      8 /* LTO-IR */,
                                      0x10 /* ELF, not finalised */,
                                      0x20 /* index */,
                                      0x40 /* relocatable PTX */,
                                      0x80 /* tile IR */,
                                      0x100 /* group */ };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i] == kind)
            return true;
    return false;
}

static int check_sizes(const struct sfs_fatbin_entry *entry, uint64_t room, struct sfs_error *err)
{
    if (entry->header_size < SFS_FATBIN_ENTRY || entry->header_size > SFS_FATBIN_ENTRY_MAX ||
        entry->header_size % 8 != 0)
        return sfs_fail(err, EBADMSG, "an entry's header claims to have %u bytes",
                        entry->header_size);
    if (entry->header_size > room || entry->payload_size > room - entry->header_size ||
        entry->payload_size % 8 != 0)
        return sfs_fail(err, EBADMSG, "an entry claims to have %llu bytes",
                        (unsigned long long)entry->payload_size);
    return 0;
}

/* Reads how the payload is stored, and how much of its end is padding. */
static int read_coding(const void *bytes, uint64_t flags, struct sfs_fatbin_entry *entry,
                       struct sfs_error *err)
{
    uint64_t packed = get32(bytes, 16);
    bool is_packed = flags & (FLAG_LZ4 | FLAG_ZSTD);
    if ((flags & FLAG_LZ4 && flags & FLAG_ZSTD) || (flags & FLAG_A && flags & FLAG_F) ||
        flags & ~(uint64_t)FLAGS_KNOWN)
        return sfs_fail(err, EBADMSG, "an entry has the flags %#llx", (unsigned long long)flags);
    if (is_packed != (packed > 0) || (is_packed && (packed + 7) / 8 * 8 != entry->payload_size))
        return sfs_fail(err, EBADMSG, "an entry of %llu bytes claims to have %llu compressed",
                        (unsigned long long)entry->payload_size, (unsigned long long)packed);
    entry->padding = is_packed ? (uint32_t)(entry->payload_size - packed) : 0;
    entry->coding = flags & FLAG_LZ4    ? SFS_FATBIN_LZ4
                    : flags & FLAG_ZSTD ? SFS_FATBIN_ZSTD
                                        : SFS_FATBIN_RAW;
    return 0;
}

int sfs_fatbin_read_entry(const void *bytes, uint64_t room, struct sfs_fatbin_entry *ret_entry,
                          struct sfs_error *err)
{
    if (room < SFS_FATBIN_ENTRY)
        return sfs_fail(err, EBADMSG, "a fat binary ends within an entry");
    uint64_t flags = get64(bytes, 40);
    struct sfs_fatbin_entry entry = {
        .kind = get16(bytes, 0),
        .header_size = get32(bytes, 4),
        .payload_size = get64(bytes, 8),
        .code = { .arch = get32(bytes, 28),
                  .feature = flags & FLAG_A   ? 'a'
                             : flags & FLAG_F ? 'f'
                                              : 0 },
        .is_obfuscated = flags & FLAG_OBFUSCATED,
    };
    if (!is_known_kind(entry.kind) || get16(bytes, 2) != 0x0101)
        return sfs_fail(err, EBADMSG, "an entry is of kind %#x, version %#x", entry.kind,
                        get16(bytes, 2));
    if (entry.code.arch == 0 || entry.code.arch > ARCH_MAX)
        return sfs_fail(err, EBADMSG, "an entry is for architecture %u", entry.code.arch);
    int r = check_sizes(&entry, room, err);
    if (r == 0)
        r = read_coding(bytes, flags, &entry, err);
    if (r == 0)
        *ret_entry = entry;
    return r;
}

/* ---- LZ4 ---- */

/* A block of LZ4 as far as its first bytes go. No library: it is the first bytes of each block that
 * are wanted, and of a block that is cut. */
struct lz4 {
    const uint8_t *in, *in_end;
    uint8_t *out; /* where it begins */
    size_t made, want;
};

/* Reads a length of which a token holds the first part; -1: the block ends within it. */
static ssize_t read_length(struct lz4 *lz4, unsigned nibble)
{
    size_t length = nibble;
    for (unsigned more = nibble == 15 ? 255 : 0; more == 255; length += more) {
        if (lz4->in == lz4->in_end)
            return -1;
        more = *lz4->in++;
    }
    return (ssize_t)length;
}

static size_t limit(size_t size, size_t most)
{
    return size < most ? size : most;
}

static bool copy_literals(struct lz4 *lz4, size_t size)
{
    size_t part = limit(limit(size, lz4->want - lz4->made), (size_t)(lz4->in_end - lz4->in));
    memcpy(lz4->out + lz4->made, lz4->in, part);
    lz4->made += part;
    lz4->in += part;
    return part == size;
}

/* Bytes that were made already come again, one by one: a match may overlap itself. */
static bool copy_match(struct lz4 *lz4, unsigned token)
{
    if (lz4->in_end - lz4->in < 2)
        return false;
    size_t back = get16(lz4->in, 0);
    lz4->in += 2;
    ssize_t length = read_length(lz4, token & 15);
    if (length < 0 || back == 0 || back > lz4->made)
        return false;
    size_t part = limit((size_t)length + LZ4_SHORTEST, lz4->want - lz4->made);
    for (size_t i = 0; i < part; i++, lz4->made++)
        lz4->out[lz4->made] = lz4->out[lz4->made - back];
    return true;
}

/* Returns how many of the first `want` bytes could be made. */
static size_t unlz4(const void *in, size_t size, void *out, size_t want)
{
    struct lz4 lz4 = { .in = in, .in_end = (const uint8_t *)in + size, .out = out, .want = want };
    while (lz4.made < want && lz4.in < lz4.in_end) {
        unsigned token = *lz4.in++;
        ssize_t literals = read_length(&lz4, token >> 4);
        if (literals < 0 || !copy_literals(&lz4, (size_t)literals))
            break;
        if (lz4.made < want && !copy_match(&lz4, token))
            break;
    }
    return lz4.made;
}

/* ---- payloads ---- */

int sfs_fatbin_check_payload(const struct sfs_fatbin_entry *entry, const void *payload, size_t size,
                             struct sfs_error *err)
{
    char start[SELFMAG] = { 0 };
    bool good = true;
    if (entry->is_obfuscated || entry->kind == SFS_FATBIN_NOTHING)
        return 0;
    if (entry->coding == SFS_FATBIN_ZSTD)
        good = size >= 4 && get32(payload, 0) == ZSTD_FRAME;
    else if (entry->kind == SFS_FATBIN_CUBIN && entry->coding == SFS_FATBIN_LZ4)
        good =
            unlz4(payload, size, start, SELFMAG) == SELFMAG && memcmp(start, ELFMAG, SELFMAG) == 0;
    else if (entry->kind == SFS_FATBIN_CUBIN)
        good = size >= sizeof(Elf64_Ehdr) && memcmp(payload, ELFMAG, SELFMAG) == 0 &&
               get16(payload, offsetof(Elf64_Ehdr, e_machine)) == CUDA_MACHINE;
    return good ? 0
                : sfs_fail(err, EBADMSG, "an entry's payload does not begin as its header says");
}

struct sfs_fatbin_decoder {
    ZSTD_DCtx *zstd;
};

struct sfs_fatbin_decoder *sfs_fatbin_decoder_open(void)
{
    struct sfs_fatbin_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder)
        decoder->zstd = ZSTD_createDCtx();
    if (decoder && !decoder->zstd)
        sfs_fatbin_decoder_close(&decoder);
    return decoder;
}

void sfs_fatbin_decoder_close(struct sfs_fatbin_decoder **decoder)
{
    struct sfs_fatbin_decoder *closed = TAKE(*decoder);
    if (closed)
        ZSTD_freeDCtx(closed->zstd);
    free(closed);
}

/* How many decoded bytes tell the architecture. PTX begins with remarks. */
static size_t plain_need(const struct sfs_fatbin_entry *entry)
{
    return entry->kind == SFS_FATBIN_PTX ? PTX_START : sizeof(Elf64_Ehdr);
}

size_t sfs_fatbin_need(const struct sfs_fatbin_entry *entry)
{
    size_t most = entry->coding == SFS_FATBIN_ZSTD  ? ZSTD_HEADERS + ZSTD_BLOCK
                  : entry->coding == SFS_FATBIN_LZ4 ? 2 * plain_need(entry)
                                                    : plain_need(entry);
    return entry->payload_size < most ? (size_t)entry->payload_size : most;
}

static size_t unzstd(ZSTD_DCtx *zstd, const void *in, size_t size, void *out, size_t want)
{
    ZSTD_inBuffer input = { in, size, 0 };
    ZSTD_outBuffer output = { out, want, 0 };
    ZSTD_DCtx_reset(zstd, ZSTD_reset_session_only);
    while (output.pos < want && input.pos < size) {
        size_t before = input.pos + output.pos;
        if (ZSTD_isError(ZSTD_decompressStream(zstd, &output, &input)) ||
            input.pos + output.pos == before)
            break;
    }
    return output.pos;
}

static unsigned elf_arch(const unsigned char *elf, size_t size)
{
    if (size < sizeof(Elf64_Ehdr) || memcmp(elf, ELFMAG, SELFMAG) != 0 ||
        get16(elf, offsetof(Elf64_Ehdr, e_machine)) != CUDA_MACHINE)
        return 0;
    uint32_t flags = get32(elf, offsetof(Elf64_Ehdr, e_flags));
    return elf[EI_ABIVERSION] == 8   ? flags >> 8 & 0xff
           : elf[EI_ABIVERSION] == 7 ? flags >> 16 & 0xff
                                     : 0;
}

static unsigned ptx_arch(const unsigned char *text, size_t size)
{
    static const char mark[] = ".target sm_";
    const unsigned char *at = memmem(text, size, mark, sizeof mark - 1), *end = text + size;
    unsigned arch = 0;
    if (!at)
        return 0;
    for (at += sizeof mark - 1; at < end && *at >= '0' && *at <= '9' && arch <= ARCH_MAX; at++)
        arch = 10 * arch + (unsigned)(*at - '0');
    return arch;
}

unsigned sfs_fatbin_own_arch(struct sfs_fatbin_decoder *decoder,
                             const struct sfs_fatbin_entry *entry, const void *payload, size_t size)
{
    unsigned char plain[PTX_START] = { 0 };
    size_t need = plain_need(entry);
    size_t made = entry->coding == SFS_FATBIN_ZSTD
                      ? unzstd(decoder->zstd, payload, size, plain, need)
                  : entry->coding == SFS_FATBIN_LZ4 ? unlz4(payload, size, plain, need)
                                                    : limit(size, need);
    if (entry->coding == SFS_FATBIN_RAW)
        memcpy(plain, payload, made);
    return entry->kind == SFS_FATBIN_PTX ? ptx_arch(plain, made) : elf_arch(plain, made);
}
