/* The FUSE operations on names and attributes, and the table of all operations. What is not in the
 * table libfuse answers with ENOSYS, after which the kernel stops asking: that is wanted for
 * access, flush and fsync. */
#include "mount/server.h"

#include "mount/asker.h"
#include "mount/control.h"
#include "mount/refuse.h"
#include <errno.h>

/* Read-ahead comes in as background requests; the kernel's default of 12 would throttle it. */
#define MAX_BACKGROUND 64u

static void want(struct fuse_conn_info *conn, unsigned caps)
{
    conn->want |= conn->capable & caps;
}

void sfs_op_init(void *userdata, struct fuse_conn_info *conn)
{
    struct sfs_server *server = userdata;
    want(conn, FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS |
                   FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_READDIRPLUS | FUSE_CAP_IOCTL_DIR);
    /* Requests are small and answers lie in memory: splicing would only add system calls. Names
     * cost little beside their attributes, so "plus" is not left to the kernel's guess. */
    conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                              FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_AUTO_INVAL_DATA);
    if (server->acls)
        want(conn, FUSE_CAP_POSIX_ACL);
    conn->max_background = MAX_BACKGROUND;
    conn->congestion_threshold = MAX_BACKGROUND - MAX_BACKGROUND / 4;
    if (server->options->no_read_ahead)
        conn->max_readahead = 0;
    if (server->recorder)
        conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS;
    server->can_skip_open = (conn->capable & FUSE_CAP_NO_OPEN_SUPPORT) != 0;
    server->skip_open = server->can_skip_open && !server->recorder && !server->passthrough;
    if (server->passthrough)
        sfs_backing_want(server, conn);
    server->skip_opendir = (conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT) != 0;
}

/* Is the name of a file that somebody is about to make for a while? Such names are random: in a
 * directory where all make theirs, as /tmp is one, or bytecode that Python writes under a name with
 * a number behind. */
static bool is_temporary(const struct sfs_server *server, sfs_ino dir, const char *name)
{
    struct stat st;
    const char *bytecode = strstr(name, ".pyc.");
    if (bytecode && bytecode[5] && !bytecode[5 + strspn(bytecode + 5, "0123456789")])
        return true;
    return sfs_forest_stat(&server->forest, dir, &st) == 0 &&
           (st.st_mode & (S_ISVTX | S_IWOTH)) == (S_ISVTX | S_IWOTH);
}

/* Notes a look-up. ino 0: there is no such name. */
static void note_lookup(fuse_req_t req, sfs_ino dir, const char *name, sfs_ino ino)
{
    struct sfs_server *server = sfs_server_of(req);
    char who[SFS_ASKER_PROGRAM];
    bool wants_who = !ino && server->options->missing;
    if (!ino && !wants_who && is_temporary(server, dir, name))
        return;
    sfs_recorder_lookup(server->recorder, dir, name, ino,
                        wants_who ? sfs_asker_program(fuse_req_ctx(req)->pid, who) : NULL);
}

static void lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_LOOKUP);
    struct fuse_entry_param entry;
    sfs_ino ino;
    int r = sfs_forest_find(&server->forest, parent, name, &ino);
    if (server->recorder && (r == 0 || r == -ENOENT))
        note_lookup(req, parent, name, r == 0 ? ino : 0);
    if (r == 0)
        r = sfs_server_entry(server, ino, &entry);
    if (r == -ENOENT) { /* inode 0: the kernel remembers that there is no such name */
        memset(&entry, 0, sizeof entry);
        entry.entry_timeout = SFS_FOREVER;
        r = 0;
    }
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_entry(req, &entry);
}

static void getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    (void)info;
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_GETATTR);
    struct stat st;
    int r = sfs_forest_stat(&server->forest, ino, &st);
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_attr(req, &st, SFS_FOREVER);
}

/* Counts blocks and inodes, once. Two threads may do it at a time, as both store the same. Inodes
 * are stored first, since `blocks` says that it is done. */
static uint64_t count_blocks(struct sfs_server *server)
{
    uint64_t blocks = atomic_load(&server->blocks);
    if (blocks > 0)
        return blocks;
    struct sfs_forest_sums sums;
    sfs_forest_sum(&server->forest, &sums);
    atomic_store(&server->inodes, sums.inodes);
    blocks = sums.blocks ? sums.blocks : 1;
    atomic_store(&server->blocks, blocks);
    return blocks;
}

static void statfs_op(fuse_req_t req, fuse_ino_t ino)
{
    (void)ino;
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_STATFS);
    uint64_t blocks = count_blocks(server);
    struct statvfs st = {
        .f_bsize = 4096,
        .f_frsize = 512,
        .f_blocks = blocks,
        .f_files = atomic_load(&server->inodes),
        .f_namemax = 255,
    };
    fuse_reply_statfs(req, &st);
}

/* Anybody who can see the mount may ask; see sfs_mount_stats(). */
static void ioctl_op(fuse_req_t req, fuse_ino_t ino, unsigned command, void *arg,
                     struct fuse_file_info *info, unsigned flags, const void *in, size_t in_size,
                     size_t out_size)
{
    (void)ino, (void)arg, (void)info, (void)flags, (void)in, (void)in_size;
    struct sfs_control_text text = { 0 };
    int r = sfs_control_answer(sfs_server_of(req), fuse_req_ctx(req)->uid, command, &text);
    size_t size = strlen(text.text);
    if (r == 0 && size > 0 && size >= out_size)
        r = -EOVERFLOW;
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_ioctl(req, 0, size > 0 ? text.text : NULL, size > 0 ? size + 1 : 0);
}

const struct fuse_lowlevel_ops sfs_ops = {
    .init = sfs_op_init,
    .lookup = lookup,
    .getattr = getattr,
    .readlink = sfs_op_readlink,
    .open = sfs_op_open,
    .opendir = sfs_op_opendir,
    .release = sfs_op_release,
    .statfs = statfs_op,
    .ioctl = ioctl_op,
    .readdir = sfs_op_readdir,
    .readdirplus = sfs_op_readdirplus,
    .read = sfs_op_read,
    .lseek = sfs_op_lseek,
    .getxattr = sfs_op_getxattr,
    .listxattr = sfs_op_listxattr,
    .setattr = sfs_refuse_setattr,
    .mknod = sfs_refuse_mknod,
    .mkdir = sfs_refuse_mkdir,
    .unlink = sfs_refuse_unlink,
    .rmdir = sfs_refuse_unlink,
    .symlink = sfs_refuse_symlink,
    .rename = sfs_refuse_rename,
    .link = sfs_refuse_link,
    .create = sfs_refuse_create,
    .setxattr = sfs_refuse_setxattr,
    .removexattr = sfs_refuse_unlink,
};
