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

/* Behind the names there is nothing, but the kernel reads ahead; a short answer would be the file's
 * end to it. */
static void read_names_end(fuse_req_t req, const struct sfs_erofs_image *names, size_t size,
                           uint64_t at)
{
    AUTO(sfs_free) char *data = calloc(1, size);
    if (!data) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    if (at < names->size)
        memcpy(data, names->data + at, names->size - at);
    fuse_reply_buf(req, data, size);
}

/* Answers a read of the names; EROFS asks for a page at a time. */
static void read_names(fuse_req_t req, size_t size, uint64_t at)
{
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_READ);
    const struct sfs_erofs_image *names = &server->names;
    if (at >= names->size || size > names->size - at) {
        read_names_end(req, names, size, at);
        return;
    }
    fuse_reply_buf(req, names->data + at, size);
    if (server->ahead)
        sfs_fill_touch_names(server->ahead, (struct sfs_range){ at, size });
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
    .open = sfs_op_open,
    .read = read_op,
};
