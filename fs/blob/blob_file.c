/* A file, or a range of one, by pread. */
#include "blob/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <stagefs/format.h>

struct file_blob {
    struct sfs_blob blob;
    int fd;
    uint64_t start;
};

static ssize_t file_read_at(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                            struct sfs_error *err)
{
    struct file_blob *file = (struct file_blob *)blob;
    ssize_t count = sfs_io_read_at(file->fd, buf, size, file->start + offset);
    if (count < 0) {
        sfs_fail_errno(err, (int)-count, "reading %s at byte %llu", blob->name,
                       (unsigned long long)offset);
        return -EIO;
    }
    /* Nobody asks past blob->size, so a short read is a file that shrank after it was opened. */
    if ((size_t)count < size)
        return sfs_fail(err, EIO, "%s ends at byte %llu: it was truncated while in use", blob->name,
                        (unsigned long long)(offset + (uint64_t)count));
    return count;
}

static void file_will_read(struct sfs_blob *blob, uint64_t offset, uint64_t size)
{
    struct file_blob *file = (struct file_blob *)blob;
    posix_fadvise(file->fd, (off_t)(file->start + offset), (off_t)size, POSIX_FADV_WILLNEED);
}

static void file_close(struct sfs_blob *blob)
{
    struct file_blob *file = (struct file_blob *)blob;
    sfs_close_fd(&file->fd);
    free(file);
}

static int file_file(const struct sfs_blob *blob)
{
    const struct file_blob *file = (const struct file_blob *)blob;
    struct stat st;
    bool is_whole =
        file->start == 0 && fstat(file->fd, &st) == 0 && (uint64_t)st.st_size == blob->size;
    return is_whole ? file->fd : -1;
}

static const struct sfs_blob_ops file_ops = {
    .read_at = file_read_at, .will_read = file_will_read, .close = file_close, .file = file_file
};

int sfs_blob_open_file(int *fd, const char *name, uint64_t offset, uint64_t size,
                       struct sfs_blob **ret_blob, struct sfs_error *err)
{
    struct stat st;
    if (fstat(*fd, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", name);
    if (!S_ISREG(st.st_mode))
        return sfs_fail(err, EINVAL, "%s is not a regular file", name);
    uint64_t file_size = (uint64_t)st.st_size;
    if (size == UINT64_MAX && offset <= file_size)
        size = file_size - offset;
    uint64_t end;
    if (__builtin_add_overflow(offset, size, &end) || end > file_size)
        return sfs_fail(err, EBADMSG, "%s is truncated: it has %llu byte%s", name,
                        (unsigned long long)file_size, sfs_plural(file_size));

    AUTO(sfs_free) struct file_blob *file = calloc(1, sizeof *file);
    if (!file)
        return sfs_fail_memory(err);
    file->blob = (struct sfs_blob){ .ops = &file_ops, .size = size, .name = strdup(name) };
    if (!file->blob.name)
        return sfs_fail_memory(err);
    file->start = offset;
    file->fd = TAKE_FD(*fd);
    *ret_blob = &TAKE(file)->blob;
    return 0;
}
