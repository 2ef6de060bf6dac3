/* tar-split: a line of JSON for each piece of the tar. With it and the files, containers/storage
 * makes the very tar again; without it, it does not take a layer in parts. */
#include "commit/contents.h"

#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>
#include <zstd.h>

#define TYPE_FILE    1
#define TYPE_SEGMENT 2
#define LEVEL        3
#define LINES        (64u << 10) /* so many bytes of lines are compressed together */

struct sfs_split {
    ZSTD_CCtx *zstd;
    struct sfs_buf pending; /* bytes of the tar in front of the next file */
    struct sfs_buf lines;   /* lines that are not compressed yet */
    struct sfs_buf packed;
    uint64_t plain_size;
    uint64_t position;
    int failure; /* negative errno of what failed first; nothing is added, from then on */
};

struct sfs_split *sfs_split_open(void)
{
    AUTO(sfs_split_close) struct sfs_split *split = calloc(1, sizeof *split);
    if (!split)
        return NULL;
    split->zstd = ZSTD_createCCtx();
    if (!split->zstd ||
        ZSTD_isError(ZSTD_CCtx_setParameter(split->zstd, ZSTD_c_compressionLevel, LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(split->zstd, ZSTD_c_checksumFlag, 1)))
        return NULL;
    return TAKE(split);
}

void sfs_split_close(struct sfs_split **split_ptr)
{
    struct sfs_split *split = *split_ptr;
    if (!split)
        return;
    *split_ptr = NULL;
    ZSTD_freeCCtx(split->zstd);
    sfs_buf_close(&split->pending);
    sfs_buf_close(&split->lines);
    sfs_buf_close(&split->packed);
    free(split);
}

static void pack_lines(struct sfs_split *split, ZSTD_EndDirective end)
{
    ZSTD_inBuffer in = { split->lines.data ? split->lines.data : "", split->lines.size, 0 };
    size_t left;
    do {
        size_t room = ZSTD_CStreamOutSize();
        char *place = sfs_buf_grow(&split->packed, room);
        if (!place) {
            split->failure = -ENOMEM;
            return;
        }
        ZSTD_outBuffer out = { place, room, 0 };
        left = ZSTD_compressStream2(split->zstd, &out, &in, end);
        split->packed.size -= room - out.pos;
        if (ZSTD_isError(left)) {
            split->failure = -EIO;
            return;
        }
    } while (end == ZSTD_e_end ? left > 0 : in.pos < in.size);
    split->plain_size += split->lines.size;
    split->lines.size = 0;
}

void sfs_split_add_bytes(struct sfs_split *split, const void *data, size_t size)
{
    sfs_buf_add(&split->pending, data, size);
}

static void end_line(struct sfs_split *split)
{
    sfs_buf_printf(&split->lines, ",\"position\":%llu}\n", (unsigned long long)split->position++);
    if (split->lines.failed)
        split->failure = -ENOMEM;
    if (split->failure == 0 && split->lines.size >= LINES)
        pack_lines(split, ZSTD_e_continue);
}

static void flush_bytes(struct sfs_split *split)
{
    if (split->pending.failed)
        split->failure = -ENOMEM;
    if (split->pending.size == 0 || split->failure < 0)
        return;
    sfs_buf_printf(&split->lines, "{\"type\":%d,\"payload\":\"", TYPE_SEGMENT);
    sfs_json_add_base64(&split->lines, split->pending.data, split->pending.size);
    sfs_buf_add_str(&split->lines, "\"");
    split->pending.size = 0;
    end_line(split);
}

void sfs_split_add_file(struct sfs_split *split, const char *name, uint64_t size, uint64_t crc)
{
    uint64_t big = htobe64(crc);
    flush_bytes(split);
    if (split->failure < 0)
        return;
    sfs_buf_printf(&split->lines, "{\"type\":%d,\"name\":", TYPE_FILE);
    sfs_json_add_string(&split->lines, name);
    if (size > 0) {
        sfs_buf_printf(&split->lines, ",\"size\":%llu,\"payload\":\"", (unsigned long long)size);
        sfs_json_add_base64(&split->lines, &big, sizeof big);
    }
    sfs_buf_add_str(&split->lines, size > 0 ? "\"" : ",\"payload\":null");
    end_line(split);
}

int sfs_split_finish(struct sfs_split *split, struct sfs_buf *packed, uint64_t *ret_plain_size)
{
    flush_bytes(split);
    if (split->failure == 0)
        pack_lines(split, ZSTD_e_end);
    *ret_plain_size = split->plain_size;
    if (split->failure < 0)
        return split->failure;
    return sfs_buf_add(packed, split->packed.data, split->packed.size);
}
