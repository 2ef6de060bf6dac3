/* Calls of a target's vtable. */
#include "commit/target.h"

#include <errno.h>

void sfs_target_close(struct sfs_target **target_ptr)
{
    struct sfs_target *target = *target_ptr;
    if (!target)
        return;
    *target_ptr = NULL;
    target->ops->close(target);
}

int sfs_target_add_bytes(struct sfs_target *target, const void *data, size_t size,
                         struct sfs_digest *ret_digest, struct sfs_error *err)
{
    struct sfs_digest digest;
    int fd;
    if (sfs_digest_of(data, size, &digest) < 0)
        return sfs_fail_memory(err);
    int r = target->ops->begin(target, &fd, err);
    if (r < 0)
        return r;
    r = sfs_io_write_all(fd, data, size);
    if (r < 0)
        return sfs_fail_errno(err, -r, "writing a blob");
    r = target->ops->end(target, &digest, size, err);
    if (r == 0)
        *ret_digest = digest;
    return r;
}
