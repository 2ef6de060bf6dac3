/* Which opens are answered with a file of the store that the kernel then reads by itself.
 *
 * A file of SFS_PASSTHROUGH_MIN bytes or more is hot once half of it was read, or brought into the
 * kernel's cache ahead of its readers (which then ask for nothing), or when it is opened for the
 * third time. A hot file is written into the store (keep.h) in the background. An open goes through
 * if the store has the file by then and no earlier open is left that does not: the kernel allows an
 * inode to be used through its own page cache or through one backing file, and fails opens that mix
 * them. For the same reason all opens of an inode share one backing file, registered with the first
 * and closed with the last of them.
 *
 * The kernel counts an open after our answer and forgets it before it tells us, so what is counted
 * here is never less than what it holds. Any thread may call; opens of large files take a lock, and
 * may read a directory of the store. */
#ifndef STAGEFS_PASSTHROUGH_H
#define STAGEFS_PASSTHROUGH_H

#include "mount/forest.h"
#include "mount/keep.h"

struct sfs_passthrough;

#define SFS_PASSTHROUGH_MIN (1u << 20)
/* At most so many inodes go through at a time. */
#define SFS_PASSTHROUGH_MAX_FILES 1024u

/* How a backing file is made known to the kernel. */
struct sfs_backing_ops {
    int (*open)(void *user, int fd);   /* returns the backing file's id; 0: not possible */
    void (*close)(void *user, int id); /* the kernel may forget the id */
};

struct sfs_passthrough_options {
    const struct sfs_forest *forest;
    struct sfs_store *store;
    uint64_t limit; /* bytes of files kept in the store */
    const struct sfs_backing_ops *backing;
    void *user; /* of backing */
    struct sfs_stats *stats;
};

/* Starts a thread, with signals blocked. Borrows all of the options. Until sfs_passthrough_start()
 * nothing goes through. The caller closes *ret_passthrough. */
int sfs_passthrough_open(const struct sfs_passthrough_options *options,
                         struct sfs_passthrough **ret_passthrough, struct sfs_error *err);
/* From now on opens may go through. */
void sfs_passthrough_start(struct sfs_passthrough *passthrough);
/* Ends the writing of files, and waits for it. */
void sfs_passthrough_stop(struct sfs_passthrough *passthrough);
/* Frees, and sets NULL; NULL is fine. */
void sfs_passthrough_close(struct sfs_passthrough **passthrough);

/* How an open is to be answered. */
struct sfs_opening {
    uint64_t handle; /* for the calls below; 0: the file is not watched */
    int backing_id;  /* of the backing file; 0: without one */
};
/* Decides how an open of `ino` is to be answered. Each is to be followed by one
 * sfs_passthrough_released() with its handle. 0 or -ENOMEM. */
int sfs_passthrough_opened(struct sfs_passthrough *passthrough, sfs_ino ino,
                           struct sfs_opening *ret_opening);
/* Tells that an open has ended. With the last one of an inode its backing file is closed. */
void sfs_passthrough_released(struct sfs_passthrough *passthrough, uint64_t handle);
/* Tells that so many bytes of the file were asked for. */
void sfs_passthrough_read(struct sfs_passthrough *passthrough, uint64_t handle, uint64_t size);
/* Tells that so many bytes of the file were brought into the kernel's cache without being asked
 * for. Before the first open they are counted, too, but nothing is kept yet. */
void sfs_passthrough_stored(struct sfs_passthrough *passthrough, sfs_ino ino, uint64_t size);

#endif
