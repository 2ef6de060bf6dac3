/* Calls of the members' vtable, and its kind for a directory; archive.c has the one for a tar. */
#include "image/members.h"

#include <stagefs/format.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

void sfs_members_close(struct sfs_members **members_ptr)
{
    struct sfs_members *members = TAKE(*members_ptr);
    if (!members)
        return;
    members->ops->close(members);
    free(members->label);
    free(members);
}

int sfs_members_open(struct sfs_members *members, const char *name, struct sfs_blob **ret_blob,
                     struct sfs_error *err)
{
    return members->ops->open(members, name, ret_blob, err);
}

bool sfs_members_has(struct sfs_members *members, const char *name)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    return sfs_members_open(members, name, &blob, NULL) == 0;
}

int sfs_members_announce(struct sfs_members *members, const struct sfs_digest *digest,
                         uint64_t size, bool is_layer, struct sfs_error *err)
{
    return members->ops->announce ? members->ops->announce(members, digest, size, is_layer, err)
                                  : 0;
}

char *sfs_blob_path(const struct sfs_digest *digest, char path[SFS_BLOB_PATH])
{
    char text[SFS_DIGEST_TEXT];
    snprintf(path, SFS_BLOB_PATH, "blobs/sha256/%s", sfs_digest_print(digest, text) + 7);
    return path;
}

int sfs_members_open_blob(struct sfs_members *members, const struct sfs_digest *digest,
                          uint64_t size, struct sfs_blob **ret_blob, struct sfs_error *err)
{
    char path[SFS_BLOB_PATH], text[SFS_DIGEST_TEXT];
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    int r = sfs_members_open(members, sfs_blob_path(digest, path), &blob, err);
    if (r < 0)
        return sfs_fail_while(err, r, "blob %s", sfs_digest_print(digest, text));
    if (size != UINT64_MAX && blob->size != size)
        return sfs_fail(err, EKEYREJECTED,
                        "blob %s is %s: it has %" PRIu64 " byte%s, its descriptor says %" PRIu64,
                        sfs_digest_print(digest, text),
                        blob->size < size ? "truncated" : "too long", blob->size,
                        sfs_plural(blob->size), size);
    *ret_blob = TAKE(blob);
    return 0;
}

/* ---- files below a directory ---- */

struct dir_members {
    struct sfs_members base;
    int fd;
};

/* Blobs may be symlinks (build systems make such layouts): their digest says whether they lead to
 * the right bytes. */
static int open_regular(const struct dir_members *dir, const char *name, uint64_t *ret_size)
{
    AUTO(sfs_close_fd) int fd = -1;
    struct stat st;
    int r = sfs_io_open_regular(dir->fd, name, &fd, NULL);
    if (r == 0 && fstat(fd, &st) < 0)
        r = -errno;
    if (r < 0)
        return r;
    *ret_size = (uint64_t)st.st_size;
    return TAKE_FD(fd);
}

static int dir_open(struct sfs_members *members, const char *name, struct sfs_blob **ret_blob,
                    struct sfs_error *err)
{
    uint64_t size = 0;
    AUTO(sfs_close_fd) int fd = open_regular((struct dir_members *)members, name, &size);
    if (fd == -ENOENT || fd == -ENOTDIR)
        return sfs_fail(err, ENOENT, "%s/%s is not there", members->label, name);
    if (fd == -EISDIR || fd == -EBADMSG)
        return sfs_fail(err, EBADMSG, "%s/%s is not a regular file", members->label, name);
    if (fd < 0)
        return sfs_fail_errno(err, -fd, "%s/%s", members->label, name);
    AUTO(sfs_free) char *label = NULL;
    label = sfs_format("%s/%s", members->label, name);
    if (!label)
        return sfs_fail_memory(err);
    return sfs_blob_open_file(&fd, label, 0, size, ret_blob, err);
}

static int dir_open_file(struct sfs_members *members, const char *name)
{
    uint64_t size;
    return open_regular((struct dir_members *)members, name, &size);
}

static void dir_close(struct sfs_members *members)
{
    sfs_close_fd(&((struct dir_members *)members)->fd);
}

static const struct sfs_members_ops dir_ops = {
    .open = dir_open,
    .open_file = dir_open_file,
    .close = dir_close,
};

int sfs_members_open_dir(const char *path, struct sfs_members **ret_members, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOTDIR)
        return sfs_fail(err, EINVAL, "%s is not a directory; for a tar file write oci-archive:%s",
                        path, path);
    if (fd < 0 && errno == ENOENT)
        return sfs_fail(err, ENOENT, "the directory %s does not exist", path);
    if (fd < 0)
        return sfs_fail_errno(err, errno, "%s", path);
    struct dir_members *dir = calloc(1, sizeof *dir);
    if (!dir)
        return sfs_fail_memory(err);
    *dir = (struct dir_members){ .base = { .ops = &dir_ops, .label = strdup(path) },
                                 .fd = TAKE_FD(fd) };
    AUTO(sfs_members_close) struct sfs_members *members = &dir->base;
    if (!members->label)
        return sfs_fail_memory(err);
    *ret_members = TAKE(members);
    return 0;
}
