/* Extended attributes. A mount that has none at all says ENOSYS, and is never asked again. */
#include "mount/server.h"

#include <errno.h>

/* 0, or what to answer without looking. */
static int refuse(struct sfs_server *server, sfs_ino ino, struct sfs_place *ret_place)
{
    if (!server->xattrs)
        return ENOSYS;
    return sfs_forest_locate(&server->forest, ino, ret_place) ? 0 : ESTALE;
}

/* Size 0 asks how much there is. */
static void reply(fuse_req_t req, const void *data, size_t have, size_t size)
{
    if (size == 0)
        fuse_reply_xattr(req, have);
    else if (have > size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, data, have);
}

/* See under_overlay (stagefs/mount.h). */
static bool is_hidden(const struct sfs_server *server, const char *name)
{
    static const char prefix[] = "trusted.overlay.";
    return server->options->under_overlay && strncmp(name, prefix, sizeof prefix - 1) == 0;
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
    if (is_hidden(server, name)) {
        fuse_reply_err(req, ENODATA);
        return;
    }
    uint32_t count = place.tree ? sfs_tree_xattr_count(place.tree, place.node) : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct sfs_xattr xattr = sfs_tree_xattr(place.tree, place.node, i);
        if (strcmp(xattr.name, name) == 0) {
            reply(req, xattr.value, xattr.size, size);
            return;
        }
    }
    fuse_reply_err(req, ENODATA);
}

void sfs_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_LISTXATTR);
    struct sfs_place place;
    int r = -refuse(server, ino, &place);
    struct sfs_buf names = { 0 };
    uint32_t count = r == 0 && place.tree ? sfs_tree_xattr_count(place.tree, place.node) : 0;
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        const char *name = sfs_tree_xattr(place.tree, place.node, i).name;
        if (!is_hidden(server, name))
            r = sfs_buf_add(&names, name, strlen(name) + 1);
    }
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        reply(req, names.data, names.size, size);
    sfs_buf_close(&names);
}
