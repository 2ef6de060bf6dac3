/* What a session shows whose names the kernel's EROFS has: a directory with the image that it
 * mounts. Nobody else sees it (front.h). */
#include "mount/server.h"

#include <errno.h>

static int describe(const struct sfs_server *server, fuse_ino_t ino, struct stat *ret_stat)
{
    *ret_stat = (struct stat){ .st_ino = ino,
                               .st_mode = S_IFREG | 0400,
                               .st_nlink = 1,
                               .st_blksize = SFS_FLAT_PAGE,
                               .st_mtim.tv_sec = getpid() }; /* by it front.c knows its own files */
    if (ino == SFS_INO_ROOT)
        ret_stat->st_mode = S_IFDIR | 0500;
    else if (ino == SFS_IMAGE_INO)
        ret_stat->st_size = (off_t)(SFS_FLAT_AT + sfs_flat_size(server->flat));
    else
        return -ESTALE;
    return 0;
}

/* (What libfuse asks for is spelt alike here and in ops.c; what is answered is not.) */
static void lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_LOOKUP);
    struct fuse_entry_param entry = { .attr_timeout = SFS_FOREVER, .entry_timeout = SFS_FOREVER };
    if (parent == SFS_INO_ROOT && strcmp(name, SFS_IMAGE_FILE) == 0)
        entry.ino = SFS_IMAGE_INO;
    if (entry.ino == 0 || describe(server, entry.ino, &entry.attr) < 0)
        fuse_reply_err(req, ENOENT);
    else
        fuse_reply_entry(req, &entry);
}

static void getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    (void)info;
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_GETATTR);
    struct stat st;
    if (describe(server, ino, &st) == 0)
        fuse_reply_attr(req, &st, SFS_FOREVER);
    else
        fuse_reply_err(req, ESTALE);
}

/* What may still change, or lies behind the names, where there is nothing; but the kernel reads
 * ahead, and a short answer would be the file's end to it. May wait until a piece of the pack was
 * checked. */
static void read_tables(fuse_req_t req, size_t size, uint64_t at)
{
    struct sfs_server *server = sfs_server_of(req);
    AUTO(sfs_free) char *data = malloc(size);
    if (!data) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    sfs_erofs_image_read(&server->names, server->pack, at, size, data);
    fuse_reply_buf(req, data, size);
}

/* Answers a read of the names; EROFS asks for a page at a time. */
static void read_names(fuse_req_t req, size_t size, uint64_t at)
{
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_READ);
    const struct sfs_erofs_image *names = &server->names;
    if (sfs_server_learns_of(req))
        sfs_learner_wake(server->learner);
    if (at >= names->fixed || size > names->fixed - at) {
        read_tables(req, size, at);
        return;
    }
    fuse_reply_buf(req, names->data + at, size);
    if (server->ahead)
        sfs_fill_touch_names(server->ahead, (struct sfs_range){ at, size });
}

/* EROFS's reads of contents go past the kernel's cache of the image, into pages of its own, so that
 * they are copied once and kept once. (Its names it reads as pages of the image.) A mount option,
 * "directio", would have the same done with the pack, which is in the cache when it was checked. */
static void open_op(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    (void)ino;
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_OPEN);
    info->keep_cache = 1;
    info->direct_io = 1;
    atomic_fetch_add(&server->image_opens, 1);
    if (fuse_reply_open(req, info) < 0)
        atomic_fetch_sub(&server->image_opens, 1);
}

/* EROFS has let go of the image: it was unmounted, and so is the session, which only a file of this
 * process has kept for that. (Else its connection would end while this request is still to be read,
 * which libfuse takes for a failure.) */
static void release_op(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    (void)ino;
    (void)info;
    struct sfs_server *server = sfs_server_of(req);
    bool was_last = atomic_fetch_sub(&server->image_opens, 1) == 1;
    fuse_reply_err(req, 0);
    if (was_last)
        fuse_session_exit(server->fuse);
}

static void read_op(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
    (void)info;
    uint64_t at = (uint64_t)offset;
    if (ino != SFS_IMAGE_INO)
        fuse_reply_err(req, EISDIR);
    else if (at >= SFS_FLAT_AT)
        sfs_op_read_flat(req, size, (off_t)(at - SFS_FLAT_AT));
    else if (size <= SFS_FLAT_AT - at)
        read_names(req, size, at);
    else /* read ahead over the end of 64 GiB of names */
        fuse_reply_err(req, EIO);
}

const struct fuse_lowlevel_ops sfs_flat_ops = {
    .init = sfs_op_init,
    .lookup = lookup,
    .getattr = getattr,
    .open = open_op,
    .release = release_op,
    .read = read_op,
};
