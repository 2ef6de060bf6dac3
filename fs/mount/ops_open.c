/* Opening: left to the kernel altogether, unless a recorder wants to see it or passthrough answers
 * some of it with a backing file. */
#include "mount/server.h"

#include <errno.h>
#ifdef FUSE_CAP_PASSTHROUGH
#include <linux/fuse.h>
#include <sys/ioctl.h>
#endif

/* The kernel's mark of a file that is opened to be executed; no header of its has it. */
#define OPENED_TO_EXECUTE 0x20

/* If ENOSYS is answered once, the kernel opens everything by itself from then on, and keeps its
 * caches. */
void sfs_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_OPEN);
    sfs_server_note(req, ino, info->flags & OPENED_TO_EXECUTE ? SFS_USE_EXEC : SFS_USE_OPEN);
    if (atomic_load(&server->skip_open)) {
        fuse_reply_err(req, ENOSYS);
        return;
    }
    struct sfs_opening opening = { 0 };
    if (server->passthrough && sfs_passthrough_opened(server->passthrough, ino, &opening) < 0) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    info->fh = opening.handle;
    info->keep_cache = !opening.backing_id; /* the kernel refuses both together */
#ifdef FUSE_CAP_PASSTHROUGH
    info->backing_id = opening.backing_id;
#endif
    if (fuse_reply_open(req, info) < 0 && server->passthrough)
        sfs_passthrough_released(server->passthrough, opening.handle);
}

void sfs_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    (void)ino;
    struct sfs_server *server = sfs_server_of(req);
    if (server->passthrough)
        sfs_passthrough_released(server->passthrough, info->fh);
    fuse_reply_err(req, 0);
}

void sfs_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    (void)ino;
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_OPEN);
    info->keep_cache = 1;
    info->cache_readdir = 1;
    if (server->skip_opendir)
        fuse_reply_err(req, ENOSYS);
    else
        fuse_reply_open(req, info);
}

/* --- backing files ---------------------------------------------------------------------------- */

#ifdef FUSE_CAP_PASSTHROUGH

/* Makes a file known to the kernel. libfuse's functions are not used: they do not tell why they
 * fail, and need a request, which is gone when its answer could not be delivered. */
static int open_backing(void *user, int fd)
{
    const struct sfs_server *server = user;
    struct fuse_backing_map map = { .fd = fd };
    int id = ioctl(server->device, FUSE_DEV_IOC_BACKING_OPEN, &map);
    return id > 0 ? id : 0;
}

static void close_backing(void *user, int id)
{
    const struct sfs_server *server = user;
    ioctl(server->device, FUSE_DEV_IOC_BACKING_CLOSE, &id);
}

void sfs_backing_want(struct sfs_server *server, struct fuse_conn_info *conn)
{
    server->takes_backing = (conn->capable & FUSE_CAP_PASSTHROUGH) != 0;
    if (!server->takes_backing)
        return;
    conn->want |= FUSE_CAP_PASSTHROUGH;
    /* An overlay may lie on the mount, but the cache directory not on one: the first is what
     * `mount --upper` and containers need. */
    conn->max_backing_stack_depth = FUSE_BACKING_STACKED_UNDER;
}

static int explain(int code, const char *dir, struct sfs_error *err)
{
    if (code == EPERM)
        return sfs_fail(err, EPERM, "no passthrough: only root of the host may (CAP_SYS_ADMIN)");
    if (code == ELOOP)
        return sfs_fail(err, ELOOP, "no passthrough: the cache directory %s is on an overlay", dir);
    return sfs_fail_errno(err, code, "no passthrough from the cache directory %s", dir);
}

/* Can backing files be had? Tried with an empty file, since there are many reasons why not. */
static int try_backing(struct sfs_server *server, struct sfs_error *err)
{
    struct sfs_store *store = server->options->store;
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    int r = sfs_store_start_file(store, SFS_STORE_FILE, &temp, err);
    if (r < 0)
        return sfs_fail_while(err, r, "no passthrough");
    int id = open_backing(server, temp.fd);
    if (id == 0)
        return explain(errno, sfs_store_dir(store), err);
    close_backing(server, id);
    return 0;
}

static int check_backing(struct sfs_server *server, struct fuse_session *fuse,
                         struct sfs_error *err)
{
    if (!server->takes_backing)
        return sfs_fail(
            err, ENOTSUP,
            "no passthrough: this kernel lacks it (Linux 6.9, CONFIG_FUSE_PASSTHROUGH)");
    server->device = fuse_session_fd(fuse);
    return try_backing(server, err);
}

#else

static int open_backing(void *user, int fd)
{
    (void)user, (void)fd;
    return 0;
}

static void close_backing(void *user, int id)
{
    (void)user, (void)id;
}

void sfs_backing_want(struct sfs_server *server, struct fuse_conn_info *conn)
{
    (void)server, (void)conn;
}

static int check_backing(struct sfs_server *server, struct fuse_session *fuse,
                         struct sfs_error *err)
{
    (void)server, (void)fuse;
    return sfs_fail(err, ENOTSUP, "no passthrough: stagefs was built with a libfuse before 3.17");
}

#endif

const struct sfs_backing_ops sfs_backing_ops = { .open = open_backing, .close = close_backing };

/* If passthrough cannot be had, the kernel may stop asking for opens. */
int sfs_backing_start(struct sfs_server *server, struct fuse_session *fuse, struct sfs_error *err)
{
    int r = check_backing(server, fuse, err);
    if (r < 0)
        atomic_store(&server->skip_open, server->can_skip_open);
    else
        sfs_passthrough_start(server->passthrough);
    return r;
}
