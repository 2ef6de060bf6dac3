#include "commit/temp_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

char *sfs_parent_of(const char *path)
{
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/')
        size--;
    while (size > 0 && path[size - 1] != '/')
        size--;
    while (size > 1 && path[size - 1] == '/')
        size--;
    return size ? strndup(path, size) : strdup(".");
}

/* Empties a directory; what is in it may have any mode. */
static void remove_all_in(int dirfd)
{
    AUTO(sfs_close_fd) int own = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = own >= 0 ? fdopendir(own) : NULL;
    if (!stream)
        return;
    own = -1;
    const struct dirent *entry;
    while ((entry = readdir(stream))) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || unlinkat(dirfd, name, 0) == 0)
            continue;
        fchmodat(dirfd, name, 0700, 0);
        AUTO(sfs_close_fd)
        int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            remove_all_in(fd);
        unlinkat(dirfd, name, AT_REMOVEDIR);
    }
    closedir(stream);
}

static void sweep(const char *parent)
{
    DIR *stream = opendir(parent);
    const struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        if (strncmp(entry->d_name, "." SFS_IO_TEMP, sizeof SFS_IO_TEMP) != 0)
            continue;
        AUTO(sfs_close_fd)
        int fd =
            openat(dirfd(stream), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
            continue;
        remove_all_in(fd);
        unlinkat(dirfd(stream), entry->d_name, AT_REMOVEDIR);
    }
    if (stream)
        closedir(stream);
}

int sfs_temp_dir_open(struct sfs_temp_dir *temp, const char *parent, struct sfs_error *err)
{
    sweep(parent);
    for (int attempt = 0; attempt < 100; attempt++) {
        AUTO(sfs_free) char *path = NULL;
        struct stat st;
        if (asprintf(&path, "%s/." SFS_IO_TEMP "XXXXXX", parent) < 0)
            return sfs_fail_memory(err);
        if (!mkdtemp(path))
            return sfs_fail_errno(err, errno, "making a directory in %s", parent);
        AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        /* A sweeper may have come in the instant before the lock: then take another. */
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || st.st_nlink == 0)
            continue;
        temp->path = TAKE(path);
        temp->fd = TAKE_FD(fd);
        return 0;
    }
    return sfs_fail_errno(err, EEXIST, "making a directory in %s", parent);
}

int sfs_temp_dir_commit(struct sfs_temp_dir *temp, const char *path, struct sfs_error *err)
{
    if (syncfs(temp->fd) < 0)
        return sfs_fail_errno(err, errno, "writing %s", path);
    if (rename(temp->path, path) < 0) {
        bool is_full = errno == ENOTEMPTY || errno == EEXIST;
        return is_full ? sfs_fail(err, EEXIST, "%s is not empty", path)
                       : sfs_fail_errno(err, errno, "naming %s", path);
    }
    sfs_free(&temp->path);
    AUTO(sfs_free) char *parent = sfs_parent_of(path);
    AUTO(sfs_close_fd) int fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    return fd < 0 || fsync(fd) < 0 ? sfs_fail_errno(err, errno, "writing the directory of %s", path)
                                   : 0;
}

void sfs_temp_dir_close(struct sfs_temp_dir *temp)
{
    if (temp->fd >= 0 && temp->path) {
        fchmod(temp->fd, 0700);
        remove_all_in(temp->fd);
        rmdir(temp->path);
    }
    sfs_close_fd(&temp->fd);
    sfs_free(&temp->path);
}
