/* What the FUSE operations of one mount share. Filled before the first request, then only counters
 * and marks change, atomically: any number of threads may answer requests. */
#ifndef STAGEFS_SERVER_H
#define STAGEFS_SERVER_H

#include "mount/fill.h"
#include "mount/forest.h"
#include "mount/fuse.h"
#include "mount/learner.h"
#include "mount/pack.h"
#include "mount/packer.h"
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
    struct sfs_error plain; /* why FUSE is in front, where the choice was ours; "": it is not, or
                             * was asked for */
    bool front_failed;      /* EROFS could not be mounted: err of the session says why */
    const struct sfs_mount_options *options;
    struct sfs_stats stats;
    struct sfs_recorder *recorder;   /* NULL: nothing is recorded */
    struct sfs_learner *learner;     /* NULL: nothing is learned */
    struct sfs_fill *ahead;          /* NULL: nothing is fetched ahead */
    struct sfs_replay *replay;       /* NULL: no profiles */
    struct sfs_pack *pack;           /* NULL: there is none for this start */
    struct fuse_session *fuse;       /* the session, borrowed */
    atomic_uint image_opens;         /* how often the image is open, where the session shows one */
    long front_bdi;                  /* "erofs-N" in the kernel's list of read-aheads; 0: none */
    struct sfs_packer *packer;       /* NULL: none is made for the next one */
    char pack_key[SFS_DIGEST_TEXT];  /* "": none is wanted */
    struct sfs_profile pack_profile; /* what it is to have, where there is none */
    struct sfs_passthrough *passthrough; /* NULL: not wanted */
    char *trace_path;                    /* absolute; owned */
    const struct sfs_upper *upper;       /* NULL: nothing is written */
    bool xattrs;                         /* some file has extended attributes */
    bool acls;                           /* access control lists may be among those */
    bool under_overlay; /* only an overlay sees the mount, and asks with the rights of its owner */
    bool can_skip_open, skip_opendir; /* the kernel can do without these; set by init */
    atomic_bool skip_open;            /* opens are left to the kernel; may be set later, too */
    bool takes_backing;               /* the kernel takes backing files; set by init */
    int device;            /* the session's /dev/fuse; set before the first backing file */
    size_t *first_layer;   /* the position in `warned` of each tree's first layer */
    atomic_llong end_by_s; /* when reads that still wait for another machine give up, since the
                            * session is to end; 0: it goes on */
    atomic_llong *warned;  /* for each layer: the second of its last told read error */
    atomic_uint_least64_t blocks; /* for statfs, of 512 bytes; 0: not counted yet */
    atomic_uint_least64_t inodes; /* for statfs */
};

/* Makes all parts that the options ask for; the caller closes *ret_server. Borrows everything that
 * it is given. `plain`: why SFS_FRONT_AUTO comes to FUSE; NULL: it is still open. */
int sfs_server_open(const struct sfs_tree *const *trees, size_t count, bool numbered,
                    const struct sfs_mount_options *options, const char *plain,
                    struct sfs_server **ret_server, struct sfs_error *err);
/* Frees all parts, and sets NULL; NULL is fine. After the session was unmounted. */
void sfs_server_close(struct sfs_server **server);

/* The session is to end: reads that wait for another machine are given a few seconds more. */
void sfs_server_end_soon(struct sfs_server *server);
/* Have they had those? */
bool sfs_server_is_overdue(const struct sfs_server *server);

/* Tells options->warn of a failed read, for each layer once in ten seconds. */
void sfs_server_warn(struct sfs_server *server, const struct sfs_place *place,
                     const struct sfs_error *err);

/* Notes a use where uses are noted, unless this process asks itself. Before the request is
 * answered. */
void sfs_server_note(fuse_req_t req, sfs_ino ino, enum sfs_use_kind kind);
/* Is what is asked for to be learned? */
bool sfs_server_learns_of(fuse_req_t req);

/* Lends bytes of a file, from the pack if it has them. As sfs_tree_pin(). */
int sfs_server_pin(struct sfs_server *server, sfs_ino ino, const struct sfs_place *place,
                   uint64_t offset, size_t size, struct sfs_slice *ret_slice,
                   struct sfs_error *err);

/* The operations; userdata is the server. sfs_flat_ops shows one file, the image for EROFS to
 * mount. */
extern const struct fuse_lowlevel_ops sfs_ops;
extern const struct fuse_lowlevel_ops sfs_flat_ops;
#define SFS_IMAGE_FILE "image"

/* Operations that have files of their own, or are in both tables. Each answers the request as
 * libfuse and its name say; any thread. */

/* Settles with the kernel what it does by itself; before the first request. */
void sfs_op_init(void *userdata, struct fuse_conn_info *conn);
/* Lists a directory from a position on (ops_dir.c). */
void sfs_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *info);
/* The same with attributes. */
void sfs_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                        struct fuse_file_info *info);
/* Opens a file, or leaves all opens to the kernel (ops_open.c). */
void sfs_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
/* The same for a directory. */
void sfs_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
/* An open file is closed. */
void sfs_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
/* Reads a symlink's target (ops_read.c). May wait for the network. */
void sfs_op_readlink(fuse_req_t req, fuse_ino_t ino);
/* Reads bytes of a file (ops_read.c). Waits for disk and decoder. */
void sfs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                 struct fuse_file_info *info);
/* The same of the row of all files (flat.h), from an offset of the row on. */
void sfs_op_read_flat(fuse_req_t req, size_t size, off_t offset);
/* Finds data or holes of a file. */
void sfs_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
                  struct fuse_file_info *info);
/* Reads an extended attribute (ops_xattr.c). */
void sfs_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
/* Lists the names of extended attributes. */
void sfs_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);

/* Asks the kernel for passthrough, as far as libfuse has it; part of init. */
void sfs_backing_want(struct sfs_server *server, struct fuse_conn_info *conn);
/* How backing files are opened and closed; `user` is the server. */
extern const struct sfs_backing_ops sfs_backing_ops;
/* Starts passthrough, once mounted. -errno, with the reason: it cannot be had, and the mount goes
 * on as without it. */
int sfs_backing_start(struct sfs_server *server, struct fuse_session *fuse, struct sfs_error *err);

/* Makes the entry that tells the kernel all about an inode, for ever. -ESTALE: no such inode. */
int sfs_server_entry(const struct sfs_server *server, sfs_ino ino,
                     struct fuse_entry_param *ret_entry);

/* The server that a request is to. */
static inline struct sfs_server *sfs_server_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

#endif
