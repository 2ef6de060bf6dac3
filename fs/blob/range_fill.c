/* Bringing what nobody has asked for yet: in the caller's thread, one request after the other, and
 * behind all that somebody waits for. */
#include "blob/blob_range.h"

#include "base/thread.h"
#include "blob/range_parts.h"
#include <errno.h>

#define LOOK_MS 500u /* while another reader brings a block */

static bool is_pending(const struct sfs_range_blob *range, uint32_t block)
{
    return (range->states[block] & SFS_BLOCK_STATE) == SFS_BLOCK_PENDING;
}

/* What is in memory alone pushes itself out: then there is no use in going on. */
static bool is_kept(const struct sfs_range_blob *range, uint32_t block)
{
    return (range->states[block] & SFS_BLOCK_STATE) == SFS_BLOCK_READY;
}

int sfs_range_fill(struct sfs_blob *blob, uint64_t offset, uint64_t size, struct sfs_error *err)
{
    struct sfs_range_blob *range = (struct sfs_range_blob *)blob;
    uint32_t block = (uint32_t)(offset / SFS_RANGE_BLOCK);
    uint32_t last = (uint32_t)((offset + size - 1) / SFS_RANGE_BLOCK);
    LOCK(&range->lock);
    while (block <= last) {
        if (range->closing)
            return sfs_fail(err, ECANCELED, "cancelled");
        if (is_pending(range, block)) {
            sfs_range_wait(range, LOOK_MS);
        } else if (sfs_range_take_kept(range, block) || sfs_range_has(range, block)) {
            if (!is_kept(range, block))
                return sfs_fail(err, ENOSPC, "%s: there is no room to keep it", blob->name);
            block++;
        } else {
            const struct sfs_range_wish wish = { block, last, 1, SFS_REMOTE_FILL };
            int r = sfs_range_fetch(range, &wish, err);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

void sfs_range_stop(struct sfs_blob *blob)
{
    struct sfs_range_blob *range = (struct sfs_range_blob *)blob;
    LOCK(&range->lock);
    range->closing = true;
    sfs_range_cancel(range);
    pthread_cond_broadcast(&range->changed);
}
