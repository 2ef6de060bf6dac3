/* Which files are known to hold the bytes of a digest, so that what was read whole once is not read
 * again for that. The store remembers, for each digest, the file that was found right last: by
 * device, inode, size and time of change. What was changed since is digested again; so is a file
 * so fresh that a change might not have moved its time. */
#ifndef STAGEFS_VERIFIED_H
#define STAGEFS_VERIFIED_H

#include "layer/store.h"
#include <stagefs/digest.h>

/* Which file it is, and what changes when somebody writes to it. */
struct sfs_file_id {
    uint64_t dev, ino, size;
    int64_t mtime_sec, mtime_nsec;
};

/* Says which file an open file is, and how it is now. 0 or -errno. */
int sfs_file_identify(int fd, struct sfs_file_id *ret_id);

/* Do the first `size` bytes of an open file have that digest? Reads them unless the store knows;
 * `store` NULL: always. Waits for the disk. EKEYREJECTED: they have another one. EIO: they cannot
 * be read. */
int sfs_verified_check(struct sfs_store *store, int fd, uint64_t size,
                       const struct sfs_digest *digest, struct sfs_error *err);

/* Remembers that all of an open file was read and had that digest; `id` was made before the
 * reading. Does nothing if the file was changed in between, and tells of no failure. */
void sfs_verified_note(struct sfs_store *store, int fd, const struct sfs_file_id *id,
                       const struct sfs_digest *digest);

#endif
