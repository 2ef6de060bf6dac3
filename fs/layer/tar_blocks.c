/* Cuts a stream of pieces into a tar's blocks. */
#include "layer/tar_blocks.h"

#include <errno.h>
#include <string.h>
#include <stagefs/format.h>

/* Asks the source for more, if nothing is left. 1: there are bytes; 0: there is nothing more. */
static int refill(struct sfs_tar_blocks *blocks, struct sfs_error *err)
{
    const void *data = NULL;
    size_t size = 0;
    if (blocks->left > 0)
        return 1;
    int r = blocks->source.next(blocks->source.user, &data, &size, err);
    if (r < 0) {
        blocks->source_failed = true;
        return r;
    }
    blocks->at = data;
    blocks->left = size;
    return size > 0;
}

static void pass(struct sfs_tar_blocks *blocks, size_t size)
{
    blocks->at += size;
    blocks->left -= size;
    blocks->offset += size;
}

int sfs_tar_blocks_next(struct sfs_tar_blocks *blocks, const void **ret_block,
                        struct sfs_error *err)
{
    size_t have = 0;
    while (have < sizeof blocks->block) {
        int r = refill(blocks, err);
        if (r < 0 || (r == 0 && have == 0))
            return r;
        if (r == 0)
            return sfs_fail(err, EBADMSG, "it is truncated in a block");
        if (have == 0 && blocks->left >= sizeof blocks->block) {
            *ret_block = blocks->at;
            pass(blocks, sizeof blocks->block);
            return 1;
        }
        size_t part = sizeof blocks->block - have;
        part = part < blocks->left ? part : blocks->left;
        memcpy(blocks->block + have, blocks->at, part);
        pass(blocks, part);
        have += part;
    }
    *ret_block = blocks->block;
    return 1;
}

/* Passes over `size` bytes, or as many as there are, behind what was lent. */
static int skip_source(struct sfs_tar_blocks *blocks, uint64_t size, uint64_t *ret_skipped,
                       struct sfs_error *err)
{
    int r = blocks->source.skip(blocks->source.user, size, ret_skipped, err);
    if (r < 0)
        blocks->source_failed = true;
    else
        blocks->offset += *ret_skipped;
    return r;
}

/* Passes over `size` bytes, or as many as there are: *ret_skipped says how many. */
static int skip(struct sfs_tar_blocks *blocks, uint64_t size, uint64_t *ret_skipped,
                struct sfs_error *err)
{
    uint64_t done = 0, part = 0;
    int r = 0;
    for (; r >= 0 && done < size; done += part) {
        if (blocks->left == 0 && blocks->source.skip) {
            r = skip_source(blocks, size - done, &part, err);
            done += r < 0 ? 0 : part;
            break;
        }
        r = refill(blocks, err);
        if (r <= 0)
            break;
        part = size - done < blocks->left ? size - done : blocks->left;
        pass(blocks, (size_t)part);
    }
    *ret_skipped = done;
    return r < 0 ? r : 0;
}

int sfs_tar_blocks_skip(struct sfs_tar_blocks *blocks, uint64_t size, struct sfs_error *err)
{
    uint64_t skipped;
    int r = skip(blocks, size, &skipped, err);
    if (r == 0 && skipped < size)
        return sfs_fail(err, EBADMSG, "it is truncated, a file lacks %llu byte%s",
                        (unsigned long long)(size - skipped), sfs_plural(size - skipped));
    return r;
}

int sfs_tar_blocks_skip_padding(struct sfs_tar_blocks *blocks, uint64_t size, struct sfs_error *err)
{
    uint64_t skipped;
    return skip(blocks, -size % SFS_TAR_BLOCK, &skipped, err);
}

int sfs_tar_blocks_read(struct sfs_tar_blocks *blocks, size_t size, struct sfs_buf *buf,
                        struct sfs_error *err)
{
    for (size_t done = 0; done < size;) {
        int r = refill(blocks, err);
        if (r < 0)
            return r;
        if (r == 0)
            return sfs_fail(err, EBADMSG, "it is truncated in an extended header");
        size_t part = size - done < blocks->left ? size - done : blocks->left;
        sfs_buf_add(buf, blocks->at, part);
        r = sfs_buf_check(buf, err);
        if (r < 0)
            return r;
        pass(blocks, part);
        done += part;
    }
    return sfs_tar_blocks_skip_padding(blocks, size, err);
}
