#include "base/hash.h"
#include "base/io.h"
#include "blob/blob.h"
#include <errno.h>

#define BLOCK (1u << 20)

int sfs_blob_digest(struct sfs_blob *blob, int copy, struct sfs_digest *ret_digest,
                    struct sfs_error *err)
{
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    AUTO(sfs_free) char *buf = malloc(BLOCK);
    if (!hash || !buf)
        return sfs_fail_memory(err);
    for (uint64_t offset = 0; offset < blob->size;) {
        sfs_blob_will_read(blob, offset + BLOCK, 4 * BLOCK);
        ssize_t n = sfs_blob_read_at(blob, buf, BLOCK, offset, err);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return sfs_fail(err, EIO, "%s became shorter while it was read", blob->name);
        if (sfs_hash_add(hash, buf, (size_t)n) < 0)
            return sfs_fail_memory(err);
        int r = copy >= 0 ? sfs_io_write_all(copy, buf, (size_t)n) : 0;
        if (r < 0)
            return sfs_fail_errno(err, -r, "writing a copy of %s", blob->name);
        offset += (uint64_t)n;
    }
    return sfs_hash_finish(hash, ret_digest) < 0 ? sfs_fail_memory(err) : 0;
}
