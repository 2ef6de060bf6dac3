/* Bytes of a blob that lie on another machine: what blob_range.c asks for them. A vtable, since
 * fs/blob/ knows no registry: fs/image/ fills it with calls of fs/registry/. Any thread may call.
 */
#ifndef STAGEFS_REMOTE_H
#define STAGEFS_REMOTE_H

#include <stagefs/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who waits for the bytes: what is asked for first goes first among its equals. */
enum sfs_remote_priority {
    SFS_REMOTE_DEMAND,  /* a reader */
    SFS_REMOTE_PROFILE, /* nobody yet, but a profile says that somebody will */
    SFS_REMOTE_FILL,    /* nobody */
};

/* Takes bytes as they come: in order, without gaps, from `offset` of the blob on. Called from a
 * thread of the network, so it may write to a cached file, and waits for nobody. A negative errno
 * ends the request, which then fails with it. */
typedef int (*sfs_remote_sink)(void *user, uint64_t offset, const void *data, size_t size);

struct sfs_remote;
struct sfs_remote_ops {
    /* Has the bytes [offset, offset + size) of the blob given to `sink`, and waits for the end of
     * that. A remote that cannot send a range sends all: the sink gets the blob from offset 0 to
     * its end, and *ret_whole is true. Tries again by itself where that may help.
     * EAGAIN: the remote could not be reached, or does not answer now: later, it may. EACCES: it
     * wants other credentials. ENOENT: it has no such blob (any more). EBADMSG: what it sent is
     * not what was asked for. ECANCELED: by cancel(). Else what the sink returned. */
    int (*fetch)(struct sfs_remote *remote, enum sfs_remote_priority priority, uint64_t offset,
                 uint64_t size, sfs_remote_sink sink, void *user, bool *ret_whole,
                 struct sfs_error *err);
    /* Ends what is being fetched with that `user`, soon; fetch() still returns by itself. */
    void (*cancel)(struct sfs_remote *remote, void *user);
    void (*close)(struct sfs_remote *remote);
    /* A reader has come to wait for what is being fetched with that `user`: from now on it goes as
     * SFS_REMOTE_DEMAND does. Does not wait. False: there is no such fetch (yet). NULL: nothing is
     * ever put behind anything else there. */
    bool (*hurry)(struct sfs_remote *remote, void *user);
};

/* The base of each implementation: embed it as the first member. */
struct sfs_remote {
    const struct sfs_remote_ops *ops;
};

#endif
