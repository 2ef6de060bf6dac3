/* A blob whose bytes lie on another machine (together with range_parts.h): what is read is fetched,
 * and kept in a sparse file (range_file.h), which other processes use at the same time and later
 * ones begin with.
 *
 * A miss is widened to a megabyte, and joined with others that are near. What somebody waits for
 * goes before what is read ahead, and that before what fills up; what is on its way already is
 * hurried when a reader comes for it. A reader waits while the other machine does not answer, for a
 * minute, and then fails with EIO; the next one tries anew. A machine that sends is waited for,
 * however slow it is, and a process that got no processor has not waited. A reader may give up
 * before (base/wanted.h). A block for which the disk has no room is kept in memory for a
 * while, and fetched again when it is wanted later. Once all bytes are there and hold the digest,
 * their file is a whole blob. */
#ifndef STAGEFS_BLOB_RANGE_H
#define STAGEFS_BLOB_RANGE_H

#include "base/pool.h"
#include "blob/blob.h"
#include "blob/range_file.h"
#include "blob/remote.h"
#include <stagefs/digest.h>
#include <stagefs/progress.h>
#include <stdatomic.h>

/* Who keeps the files of fetched bytes. A vtable, since fs/blob/ knows no store; embed it as the
 * first member. Any thread may call. */
struct sfs_range_keeper;
struct sfs_range_keeper_ops {
    /* May `size` bytes more be written? 0, or -ENOSPC. Makes room where that can be. Is asked
     * before each write, with the blob's lock held. */
    int (*make_room)(struct sfs_range_keeper *keeper, uint64_t size);
    /* All bytes are there, and they hold the digest: from now on others take the file for the whole
     * blob, and nothing is written to it. 0 or a negative errno: then it stays as it is. May wait
     * for another process; no reader waits for that. */
    int (*keep_whole)(struct sfs_range_keeper *keeper);
    void (*close)(struct sfs_range_keeper *keeper);
};
struct sfs_range_keeper {
    const struct sfs_range_keeper_ops *ops;
};

struct sfs_range_options {
    uint64_t size;                       /* bytes of the blob */
    struct sfs_digest digest;            /* that it should have */
    const char *name;                    /* for messages: "layer sha256:.. at HOST"; copied */
    const char *where;                   /* the other machine, for messages; copied */
    struct sfs_pool *pool;               /* fetches ahead; borrowed */
    struct sfs_pool *demand_pool;        /* fetches what somebody waits for; borrowed */
    const struct sfs_progress *progress; /* told of an outage; borrowed; NULL: nobody is */
    atomic_bool *is_stalled; /* shared by all blobs of one machine, so that one line tells of it */
    atomic_ullong *received; /* the same: bytes that came from it; NULL: each blob has its own */
    unsigned patience_ms;    /* how long a reader waits while nothing comes; 0: a minute */
};

/* Makes such a blob. Takes over the remote, and `file` and `keeper`, which may be NULL (nothing is
 * kept), also after a failure. No byte is fetched yet. The caller closes *ret_blob, which ends what
 * is under way. ENOMEM. E2BIG: it has more than SFS_RANGE_MAX_SIZE bytes. */
int sfs_blob_open_range(struct sfs_remote *remote, struct sfs_range_file *file,
                        struct sfs_range_keeper *keeper, const struct sfs_range_options *options,
                        struct sfs_blob **ret_blob, struct sfs_error *err);

/* What all such blobs of this process have done. */
struct sfs_range_stats {
    uint64_t requests; /* ranges that were asked for */
    uint64_t fetched;  /* bytes that came */
    uint64_t demand;   /* of them, those that a reader waited for */
    uint64_t kept;     /* bytes read from what was kept */
    uint64_t damaged;  /* blocks that were not as they should be, and were fetched again */
    uint64_t stalls;   /* how often the other machine began not to answer */
    uint64_t failed;   /* readers that it failed */
    uint64_t wait_ns;  /* nanoseconds that readers waited, all together */
};
/* Does not wait. */
void sfs_range_get_stats(struct sfs_range_stats *ret_stats);

#endif
