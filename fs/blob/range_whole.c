/* What becomes of a blob that is fetched when all of it is there: it is digested, and then kept as
 * a whole one, or dropped. And what is dropped of it because a reader found it wrong. */
#include "blob/blob_range.h"

#include "base/hash.h"
#include "blob/range_parts.h"
#include <errno.h>

#define HASH_BLOCK (1u << 20)

static int digest_all(struct sfs_range_blob *range, struct sfs_digest *ret_digest)
{
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    AUTO(sfs_free) char *buf = malloc(HASH_BLOCK);
    if (!hash || !buf)
        return -ENOMEM;
    for (uint64_t at = 0; at < range->blob.size;) {
        {
            LOCK(&range->lock);
            if (range->closing || range->in_pass)
                return -ECANCELED;
        }
        uint64_t left = range->blob.size - at;
        ssize_t n = sfs_io_read_at(sfs_range_file_data(range->file), buf,
                                   left < HASH_BLOCK ? (size_t)left : HASH_BLOCK, at);
        if (n <= 0 || sfs_hash_add(hash, buf, (size_t)n) < 0)
            return -EIO;
        at += (uint64_t)n;
    }
    return sfs_hash_finish(hash, ret_digest);
}

/* All of it is wrong, and nobody knows where. The lock is held. */
static void forget_all(struct sfs_range_blob *range)
{
    sfs_range_file_drop(range->file, 0, range->blocks);
    for (uint32_t i = 0; i < range->blocks; i++)
        if ((range->states[i] & SFS_BLOCK_STATE) == SFS_BLOCK_READY)
            range->states[i] = SFS_BLOCK_UNKNOWN;
    range->gap = 0;
    range->was_kept = false;
}

static bool is_complete(struct sfs_range_blob *range)
{
    if (!range->file || range->is_settled)
        return false;
    range->gap = sfs_range_file_next_gap(range->file, range->gap);
    return range->gap == range->blocks;
}

/* Another process may have dropped a block that was there: so all are looked at once more. The lock
 * is given up meanwhile: the keeper may wait for another process, which may stand still. */
static void keep_whole(struct sfs_range_blob *range)
{
    if (!range->keeper || range->is_settled ||
        sfs_range_file_next_gap(range->file, 0) < range->blocks)
        return;
    pthread_mutex_unlock(&range->lock);
    int r = range->keeper->ops->keep_whole(range->keeper);
    pthread_mutex_lock(&range->lock);
    if (r == 0)
        range->is_settled = true;
}

static void run_settle(void *arg)
{
    struct sfs_range_blob *range = arg;
    struct sfs_digest found;
    int r = digest_all(range, &found);
    LOCK(&range->lock);
    if (r == 0 && sfs_digest_equal(&found, &range->digest)) {
        keep_whole(range);
    } else if (r == 0) {
        char text[600];
        snprintf(text, sizeof text,
                 "%.400s: what was fetched does not match its digest, and is dropped",
                 range->blob.name);
        sfs_range_warn(range, text);
        forget_all(range);
    }
    range->is_settling = false;
    range->jobs--;
    pthread_cond_broadcast(&range->changed);
}

void sfs_range_settle(struct sfs_range_blob *range)
{
    LOCK(&range->lock);
    if (range->in_pass || range->is_settling || range->closing || !is_complete(range))
        return;
    range->is_settling = true;
    range->jobs++;
    if (sfs_pool_submit(range->pool, SFS_POOL_BACKGROUND, run_settle, range) < 0) {
        range->is_settling = false;
        range->jobs--;
    }
}

bool sfs_range_judge(struct sfs_blob *blob, enum sfs_verdict verdict)
{
    struct sfs_range_blob *range = (struct sfs_range_blob *)blob;
    LOCK(&range->lock);
    range->in_pass = verdict == SFS_VERDICT_BEGINS;
    if (verdict == SFS_VERDICT_HOLDS && is_complete(range))
        keep_whole(range);
    if (verdict != SFS_VERDICT_WRONG || !range->file)
        return false;
    bool may_help = range->was_kept;
    forget_all(range);
    return may_help;
}

bool sfs_range_distrust(struct sfs_blob *blob, uint64_t offset, uint64_t size)
{
    struct sfs_range_blob *range = (struct sfs_range_blob *)blob;
    uint32_t first = (uint32_t)(offset / SFS_RANGE_BLOCK);
    uint32_t last = (uint32_t)((offset + size - 1) / SFS_RANGE_BLOCK);
    bool may_help = false;
    LOCK(&range->lock);
    for (uint32_t block = first; block <= last; block++) {
        if ((range->states[block] & SFS_BLOCK_BAD) || !sfs_range_has(range, block))
            continue;
        may_help = true;
        atomic_fetch_add(&sfs_range_counters.damaged, 1);
        if (range->file)
            sfs_range_file_drop(range->file, block, 1);
        sfs_range_drop_loose(range, block);
        range->states[block] = SFS_BLOCK_UNKNOWN | SFS_BLOCK_BAD;
        range->gap = range->gap < block ? range->gap : block;
    }
    return may_help;
}
