/* The end of a frame is found by its blocks, of which each says how long it is. */
#include "slim/bare_cubin.h"

#include "base/banned.h"
#include <errno.h>

#define MAGIC        "\x28\xb5\x2f\xfd"
#define FRAME_MAX    (64u << 20) /* bytes, compressed; known ones have less than one million */
#define BLOCK_MAX    (128u << 10)
#define BLOCK_HEAD   3u
#define CHECKSUM     4u
#define RESERVED     0x08 /* in the frame's descriptor */
#define HAS_CHECKSUM 0x04

enum block_kind { BLOCK_RAW, BLOCK_RUN, BLOCK_PACKED, BLOCK_RESERVED };

/* Size of the frame's header, which its descriptor tells; 0: it does not say how large it is
 * decoded, or needs a dictionary. */
static unsigned header_size(const unsigned char *frame)
{
    static const unsigned sizes[] = { 0, 2, 4, 8 };
    unsigned descriptor = frame[4], is_single = descriptor >> 5 & 1;
    unsigned content = descriptor >> 6 == 0 ? is_single : sizes[descriptor >> 6];
    if (descriptor & (RESERVED | 3) || content == 0)
        return 0;
    return 5 + !is_single + content;
}

bool sfs_bare_cubin_may_start(const void *bytes)
{
    return memcmp(bytes, MAGIC, 4) == 0 && header_size(bytes) > 0;
}

/* Finds the frame's end. Returns 1, or 0 where it is none. */
static int find_end(struct sfs_window *window, uint64_t offset, uint64_t end, uint64_t *ret_end,
                    struct sfs_error *err)
{
    const char *bytes;
    int r = sfs_window_get(window, offset, SFS_BARE_START, &bytes, err);
    if (r < 0)
        return r;
    unsigned tail = (unsigned char)bytes[4] & HAS_CHECKSUM ? CHECKSUM : 0;
    uint64_t at = offset + header_size((const unsigned char *)bytes);
    end = end - offset < FRAME_MAX ? end : offset + FRAME_MAX;
    for (bool is_last = false; !is_last;) {
        if (at > end || end - at < BLOCK_HEAD)
            return 0;
        r = sfs_window_get(window, at, BLOCK_HEAD, &bytes, err);
        if (r < 0)
            return r;
        const unsigned char *head = (const unsigned char *)bytes;
        uint32_t word = head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16;
        unsigned kind = word >> 1 & 3, size = word >> 3;
        if (kind == BLOCK_RESERVED || size > BLOCK_MAX)
            return 0;
        is_last = word & 1;
        at += BLOCK_HEAD + (kind == BLOCK_RUN ? 1 : size);
    }
    *ret_end = at + tail;
    return at <= end && tail <= end - at;
}

int sfs_bare_cubin_read(struct sfs_window *window, struct sfs_fatbin_decoder *decoder,
                        uint64_t offset, uint64_t end, uint64_t *ret_size, unsigned *ret_arch,
                        struct sfs_error *err)
{
    const char *bytes;
    uint64_t frame_end;
    if (end - offset < SFS_BARE_START)
        return 0;
    int r = find_end(window, offset, end, &frame_end, err);
    if (r <= 0)
        return r;
    const struct sfs_fatbin_entry entry = { .kind = SFS_FATBIN_CUBIN,
                                            .payload_size = frame_end - offset,
                                            .coding = SFS_FATBIN_ZSTD };
    size_t need = sfs_fatbin_need(&entry);
    r = sfs_window_get(window, offset, need, &bytes, err);
    if (r < 0)
        return r;
    *ret_arch = sfs_fatbin_own_arch(decoder, &entry, bytes, need);
    *ret_size = frame_end - offset;
    return *ret_arch > 0;
}
