/* Extended attributes. A mount that has none at all says ENOSYS, and is never asked again. Reading
 * a trusted one takes CAP_SYS_ADMIN, and the kernel has looked before it asks for it; but it leaves
 * it to file systems to leave them out of lists. */
#include "mount/server.h"

#include "mount/asker.h"
#include <errno.h>

/* Finds the inode. 0, or the error to answer with. */
static int refuse(struct sfs_server *server, sfs_ino ino, struct sfs_place *ret_place)
{
    if (!server->xattrs)
        return ENOSYS;
    return sfs_forest_locate(&server->forest, ino, ret_place) ? 0 : ESTALE;
}

/* Answers with the data, or, if size 0 was asked for, with how many bytes there are. */
static void reply(fuse_req_t req, const void *data, size_t have, size_t size)
{
    if (size == 0)
        fuse_reply_xattr(req, have);
    else if (have > size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, data, have);
}

void sfs_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_GETXATTR);
    struct sfs_place place;
    int code = refuse(server, ino, &place);
    if (code != 0) {
        fuse_reply_err(req, code);
        return;
    }
    uint32_t count = sfs_forest_xattr_count(&server->forest, &place);
    for (uint32_t i = 0; i < count; i++) {
        struct sfs_forest_xattr xattr;
        if (sfs_forest_xattr(&server->forest, &place, i, &xattr) && strcmp(xattr.name, name) == 0) {
            reply(req, xattr.value, xattr.size, size);
            return;
        }
    }
    fuse_reply_err(req, ENODATA);
}

static bool is_trusted(const char *name)
{
    return strncmp(name, "trusted.", strlen("trusted.")) == 0;
}

/* Lists the names; those of trusted attributes only for a process that may know of them. */
static int list_names(fuse_req_t req, const struct sfs_place *place, struct sfs_buf *names)
{
    struct sfs_server *server = sfs_server_of(req);
    uint32_t count = sfs_forest_xattr_count(&server->forest, place);
    bool asked = false, trusted = server->under_overlay;
    for (uint32_t i = 0; i < count; i++) {
        struct sfs_forest_xattr xattr;
        if (!sfs_forest_xattr(&server->forest, place, i, &xattr))
            continue;
        if (is_trusted(xattr.name) && !trusted && !asked) {
            const struct fuse_ctx *asking = fuse_req_ctx(req);
            trusted = sfs_asker_is_trusted(asking->pid, asking->uid);
            asked = true;
        }
        if (trusted || !is_trusted(xattr.name))
            sfs_buf_add(names, xattr.name, strlen(xattr.name) + 1);
    }
    return sfs_buf_check(names, NULL);
}

void sfs_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_LISTXATTR);
    struct sfs_place place;
    struct sfs_buf names = { 0 };
    int r = -refuse(server, ino, &place);
    if (r == 0)
        r = list_names(req, &place, &names);
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        reply(req, names.data, names.size, size);
    sfs_buf_close(&names);
}
