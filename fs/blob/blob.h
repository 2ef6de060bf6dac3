/* A blob: stored bytes at random offsets. A file, a range of a file (a member of an archive), or
 * bytes on another machine (blob_range.h).
 *
 * One vtable; embed struct sfs_blob as the first member. Immutable, so any thread may read at any
 * time. */
#ifndef STAGEFS_BLOB_H
#define STAGEFS_BLOB_H

#include "base/io.h"
#include "base/pool.h"

struct sfs_blob;
struct sfs_digest;

/* What a pass over all of a blob comes to. */
enum sfs_verdict {
    SFS_VERDICT_BEGINS, /* somebody reads all of it, and digests it */
    SFS_VERDICT_HOLDS,  /* it has the digest that it should have */
    SFS_VERDICT_WRONG,  /* it has another one */
    SFS_VERDICT_NONE,   /* the pass was given up */
};

struct sfs_blob_ops {
    /* Reads up to `size` bytes; short only at the blob's end. Waits for the disk. Count or
     * -errno. */
    ssize_t (*read_at)(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                       struct sfs_error *err);
    /* See sfs_blob_pick_at(); NULL: as read_at. */
    ssize_t (*pick_at)(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                       struct sfs_error *err);
    /* See sfs_blob_ahead(); NULL: none. */
    uint64_t (*ahead)(struct sfs_blob *blob);
    /* Tells that a range will be read soon. May be NULL. Does not wait. */
    void (*will_read)(struct sfs_blob *blob, uint64_t offset, uint64_t size);
    /* See sfs_blob_fetch(); NULL: there is nothing to do. */
    void (*fetch)(struct sfs_blob *blob, uint64_t offset, uint64_t size,
                  enum sfs_pool_priority priority);
    /* See sfs_blob_plan(); NULL: there is nothing to do. */
    void (*plan)(struct sfs_blob *blob, uint64_t offset, uint64_t size);
    /* See sfs_blob_fill(), sfs_blob_stop(); NULL: all of it is here. */
    int (*fill)(struct sfs_blob *blob, uint64_t offset, uint64_t size, struct sfs_error *err);
    void (*stop)(struct sfs_blob *blob);
    /* See sfs_blob_distrust(), sfs_blob_judge(); NULL: always false. */
    bool (*distrust)(struct sfs_blob *blob, uint64_t offset, uint64_t size);
    bool (*judge)(struct sfs_blob *blob, enum sfs_verdict verdict);
    /* Frees all of it; the blob is not NULL. */
    void (*close)(struct sfs_blob *blob);
    /* See sfs_blob_file(); NULL: there is no such file. */
    int (*file)(const struct sfs_blob *blob);
};

struct sfs_blob {
    const struct sfs_blob_ops *ops;
    uint64_t size;
    char *name; /* for messages: the path, or "member of path". Owned. */
};

/* Reads up to `size` bytes at `offset`. Waits for the disk. Count or -errno; reading past the end
 * is a short read, not a failure. EIO: the disk, or the file became shorter. */
ssize_t sfs_blob_read_at(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                         struct sfs_error *err);
/* The same for whoever says by sfs_blob_fetch() what it will read next, so that nothing is guessed
 * from its reads: those that decode for others jump to and fro. */
ssize_t sfs_blob_pick_at(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                         struct sfs_error *err);
/* How many bytes it pays to fetch ahead of a reader that goes on, at most; 0: the blob is here. */
uint64_t sfs_blob_ahead(struct sfs_blob *blob);
/* Tells that a range will be read soon; it may reach beyond the end. A hint: does not wait. */
void sfs_blob_will_read(struct sfs_blob *blob, uint64_t offset, uint64_t size);
/* Has a range of a blob on another machine brought here, if it is not here yet. A hint, as above; a
 * blob that is here already does nothing. */
void sfs_blob_fetch(struct sfs_blob *blob, uint64_t offset, uint64_t size,
                    enum sfs_pool_priority priority);
/* Tells that a range will be fetched, before sfs_blob_fetch() asks for it in its turn. Until all
 * that was told of is here, a reader that waits is brought what it reads and what is planned beside
 * it, and nothing is guessed. Does not wait. */
void sfs_blob_plan(struct sfs_blob *blob, uint64_t offset, uint64_t size);
/* Brings a range of a blob on another machine here, behind all that anybody waits for, and waits
 * for it. EAGAIN: the other machine does not answer, or wants to be left alone. ENOSPC: there is no
 * room to keep it. ECANCELED: sfs_blob_stop(). Else why the other machine does not give it. */
int sfs_blob_fill(struct sfs_blob *blob, uint64_t offset, uint64_t size, struct sfs_error *err);
/* Does the blob, or a part of it, lie on another machine? */
bool sfs_blob_is_remote(const struct sfs_blob *blob);
/* Ends a fill that another thread is in, and whatever else waits in this blob, which can then only
 * be closed. */
void sfs_blob_stop(struct sfs_blob *blob);
/* Tells that bytes which were read are not those that they should be. True: reading them again may
 * give others. */
bool sfs_blob_distrust(struct sfs_blob *blob, uint64_t offset, uint64_t size);
/* Tells of a pass over the blob. WRONG, true: another pass may come to something else. */
bool sfs_blob_judge(struct sfs_blob *blob, enum sfs_verdict verdict);
/* Reads all of it and digests it, and copies it to the file `copy` on the way, -1: it does not.
 * Waits for the disk or the network. EIO: the disk, or the file became shorter; ENOSPC, ...:
 * writing. */
int sfs_blob_digest(struct sfs_blob *blob, int copy, struct sfs_digest *ret_digest,
                    struct sfs_error *err);
/* Frees *blob and sets it to NULL; does nothing if it is NULL. */
void sfs_blob_close(struct sfs_blob **blob);
/* The open file that the blob is the whole of, borrowed; -1: it is not one. */
int sfs_blob_file(const struct sfs_blob *blob);

/* Makes a blob of the bytes [offset, offset+size) of the file; size UINT64_MAX: to its end. Takes
 * over *fd on success. EBADMSG: the range is not inside the file (a truncated archive). */
int sfs_blob_open_file(int *fd, const char *name, uint64_t offset, uint64_t size,
                       struct sfs_blob **ret_blob, struct sfs_error *err);

#endif
