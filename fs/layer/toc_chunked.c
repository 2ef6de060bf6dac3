/* The table of a zstd:chunked layer: a skippable frame behind the data, whose content is zstd
 * again. Annotations say where, or the blob's last frame does, also skippable. Its content, 64-bit
 * numbers, has two forms:
 *
 *   containers/storage   offset, size, plain size, type 1, offset, size and plain size of a
 *                        tar-split, "GNUlInUx"
 *   stargz-snapshotter   offset, size, plain size, type 1, "GnUlInUx"; so was the first of
 *                        containers/storage, with entries like those it has now */
#include "layer/toc.h"

#include "base/limits.h"
#include <endian.h>
#include <zstd.h>

#define FRAME_HEAD  8
#define FRAME_MAGIC 0x184d2a50u

static uint64_t get_number(const uint8_t *bytes)
{
    uint64_t number;
    memcpy(&number, bytes, sizeof number);
    return le64toh(number);
}

/* Is there a skippable frame of that content in front of `end`? */
static bool is_frame(const uint8_t *end, uint32_t content)
{
    uint32_t head[2];
    memcpy(head, end - content - FRAME_HEAD, sizeof head);
    return le32toh(head[0]) == FRAME_MAGIC && le32toh(head[1]) == content;
}

static int find_place(struct sfs_blob *blob, struct sfs_toc_claim *claim, struct sfs_error *err)
{
    enum { SHORT = 40, LONG = 64 };
    uint8_t bytes[FRAME_HEAD + LONG], *end = bytes + sizeof bytes;
    if (blob->size < sizeof bytes)
        return sfs_fail(err, EBADMSG, "the blob is too small for one");
    int r = sfs_toc_read_range(blob, bytes, sizeof bytes, blob->size - sizeof bytes, err);
    if (r < 0)
        return r;
    uint32_t size = memcmp(end - 8, "GNUlInUx", 8) == 0   ? LONG
                    : memcmp(end - 8, "GnUlInUx", 8) == 0 ? SHORT
                                                          : 0;
    if (size == 0 || !is_frame(end, size))
        return sfs_fail(err, EBADMSG, "the blob has no footer of one");
    const uint8_t *footer = end - size;
    claim->offset = get_number(footer);
    claim->size = get_number(footer + 8);
    claim->plain_size = get_number(footer + 16);
    if (get_number(footer + 24) != 1)
        return sfs_fail(err, ENOTSUP, "a table of an unknown type");
    return 0;
}

static int unpack_table(const void *packed, const struct sfs_toc_claim *claim,
                        struct sfs_toc_text *text, struct sfs_error *err)
{
    text->data = malloc(claim->plain_size + 1);
    if (!text->data)
        return sfs_fail_memory(err);
    size_t size = ZSTD_decompress(text->data, claim->plain_size, packed, claim->size);
    if (size != claim->plain_size)
        return sfs_fail(err, EBADMSG, "it is damaged");
    text->size = size;
    return 0;
}

int sfs_toc_read_chunked(struct sfs_blob *blob, const struct sfs_toc_claim *vouched,
                         struct sfs_toc_text *ret_text, struct sfs_error *err)
{
    AUTO(sfs_toc_text_done) struct sfs_toc_text text = { 0 };
    struct sfs_toc_claim claim = *vouched;
    int r = claim.has_place ? 0 : find_place(blob, &claim, err);
    if (r < 0)
        return r;
    if (claim.size > SFS_MAX_TOC || claim.plain_size > SFS_MAX_TOC)
        return sfs_fail(err, E2BIG, "it is larger than %u bytes", SFS_MAX_TOC);
    if (claim.offset < FRAME_HEAD)
        return sfs_fail(err, EBADMSG, "it lies outside of the blob");
    AUTO(sfs_free) char *packed = malloc(claim.size + 1);
    if (!packed)
        return sfs_fail_memory(err);
    r = sfs_toc_read_range(blob, packed, claim.size, claim.offset, err);
    if (r == 0 && claim.has_packed)
        r = sfs_toc_check_digest(packed, claim.size, &claim.packed, "it", err);
    if (r == 0)
        r = unpack_table(packed, &claim, &text, err);
    if (r == 0 && claim.has_plain)
        r = sfs_toc_check_digest(text.data, text.size, &claim.plain, "its JSON", err);
    if (r < 0)
        return r;
    text.data_end = claim.offset - FRAME_HEAD;
    *ret_text = text;
    text = (struct sfs_toc_text){ 0 };
    return 0;
}
