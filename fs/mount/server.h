/* What the FUSE operations of one mount share. Filled before the first request, then only counters
 * and marks change, atomically: any number of threads may answer requests. */
#ifndef STAGEFS_SERVER_H
#define STAGEFS_SERVER_H

#include "mount/fill.h"
#include "mount/forest.h"
#include "mount/fuse.h"
#include "mount/passthrough.h"
#include "mount/recorder.h"
#include "mount/replay.h"
#include "mount/counters.h"
#include <stagefs/mount.h>

/* The tree never changes, so nothing the kernel knows of it goes stale: 136 years. */
#define SFS_FOREVER ((double)UINT32_MAX)

struct sfs_upper;

struct sfs_server {
    struct sfs_forest forest;
    struct sfs_flat *flat; /* NULL: the session shows the forest itself */
    struct sfs_erofs_image names;
    const struct sfs_mount_options *options;
    struct sfs_stats stats;
    struct sfs_recorder *recorder;       /* NULL: nothing is recorded */
    struct sfs_fill *ahead;              /* NULL: nothing is fetched ahead */
    struct sfs_replay *replay;           /* NULL: no profiles */
    struct sfs_passthrough *passthrough; /* NULL: not wanted */
    char *trace_path;                    /* absolute; owned */
    const struct sfs_upper *upper;       /* NULL: nothing is written */
    bool xattrs;                         /* some file has extended attributes */
    bool acls;
    bool under_overlay;               /* nobody asks but an overlay, with the rights of its own */
    bool can_skip_open, skip_opendir; /* the kernel does without; set by init, before requests */
    atomic_bool skip_open;            /* later, too, if nothing can go through */
    bool takes_backing;               /* the kernel does; set by init */
    int device;                       /* the session's, for backing files; set before any is */
    size_t *first_layer;              /* position in `warned` of each tree's first layer */
    atomic_bool *warned;              /* one a layer: its first read error was told */
    atomic_uint_least64_t blocks;     /* for statfs; 0: not counted yet */
    atomic_uint_least64_t inodes;
};

/* Borrows everything it is given. */
int sfs_server_open(const struct sfs_tree *const *trees, size_t count, bool numbered,
                    const struct sfs_mount_options *options, struct sfs_server **ret_server,
                    struct sfs_error *err);
void sfs_server_close(struct sfs_server **server);

/* Tells options->warn of a failed read, once a layer. */
void sfs_server_warn(struct sfs_server *server, const struct sfs_place *place,
                     const struct sfs_error *err);

/* For the recorder, if there is one. */
void sfs_server_note(struct sfs_server *server, sfs_ino ino, enum sfs_use_kind kind);

/* The operations; userdata is the server. The second ones show two files for EROFS to mount: names
 * and contents. */
extern const struct fuse_lowlevel_ops sfs_ops;
extern const struct fuse_lowlevel_ops sfs_flat_ops;
#define SFS_FLAT_FILE  "contents"
#define SFS_NAMES_FILE "names"

/* Those that live in files of their own, or are in both. */
void sfs_op_init(void *userdata, struct fuse_conn_info *conn);
void sfs_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *info);
void sfs_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                        struct fuse_file_info *info);
void sfs_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void sfs_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void sfs_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void sfs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                 struct fuse_file_info *info);
void sfs_op_read_flat(fuse_req_t req, size_t size, off_t offset);
void sfs_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
                  struct fuse_file_info *info);
void sfs_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void sfs_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);

/* Passthrough, as far as libfuse and the kernel have it: asking for it in init, what opens it, and,
 * once mounted, starting it. -errno from the last, with the reason: it cannot be had, and the mount
 * goes on as without it. */
void sfs_backing_want(struct sfs_server *server, struct fuse_conn_info *conn);
extern const struct sfs_backing_ops sfs_backing_ops;
int sfs_backing_start(struct sfs_server *server, struct fuse_session *fuse, struct sfs_error *err);

/* The entry that tells the kernel all of an inode, for ever. */
int sfs_server_entry(const struct sfs_server *server, sfs_ino ino,
                     struct fuse_entry_param *ret_entry);

static inline struct sfs_server *sfs_server_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

#endif
