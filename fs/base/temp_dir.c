/* Making, sweeping and removing temporary directories without following anybody's symlink. */
#include "base/temp_dir.h"

#include <stagefs/format.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#define MAX_ATTEMPTS 100
#define OVERFLOW_UID 65534u /* whom a user namespace shows for owners that it does not know */

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

/* ---- removing ---- */

/* What is in a directory may be moved up to here: so no depth takes more than two descriptors, and
 * no path is too long. */
struct removal {
    int top;
    uint64_t dev;
    unsigned long moved; /* how many were moved up: the next one's name is made of it */
};

static DIR *list_dir(int fd)
{
    AUTO(sfs_close_fd) int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = own >= 0 ? fdopendir(own) : NULL;
    if (stream)
        own = -1;
    return stream;
}

static const char *next_name(DIR *stream)
{
    const struct dirent *entry;
    while ((entry = readdir(stream)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return entry->d_name;
    return NULL;
}

/* Opens a directory of any mode. -1: it is no directory, or something is mounted there. */
static int enter_dir(int dirfd, const char *name, uint64_t dev)
{
    AUTO(sfs_close_fd)
    int fd = openat(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct statx info;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_dev != dev ||
        statx(fd, "", AT_EMPTY_PATH, STATX_MODE, &info) < 0 ||
        (info.stx_attributes & STATX_ATTR_MOUNT_ROOT))
        return -1;
    if ((st.st_mode & 0700) != 0700) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        chmod(path, 0700);
    }
    return openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* A directory takes a place in the top. One that is there under that name already is either empty,
 * and then replaced, or the next name is tried. */
static bool move_up(struct removal *removal, int dirfd, const char *name)
{
    char place[32];
    AUTO(sfs_close_fd) int fd = enter_dir(dirfd, name, removal->dev);
    if (fd < 0)
        return false;
    for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        snprintf(place, sizeof place, "%lu", removal->moved++);
        if (renameat(dirfd, name, removal->top, place) == 0)
            return true;
        if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
            return false;
    }
    return false;
}

/* Empties one directory of the top: files are removed, directories move up. True: any
 * were, or the directory itself is gone. */
static bool remove_from_top(struct removal *removal, const char *name)
{
    if (unlinkat(removal->top, name, 0) == 0)
        return true;
    AUTO(sfs_close_fd) int fd = enter_dir(removal->top, name, removal->dev);
    DIR *stream = fd >= 0 ? list_dir(fd) : NULL;
    bool moved = false;
    for (const char *inner; stream && (inner = next_name(stream));)
        moved |= unlinkat(fd, inner, 0) == 0 || unlinkat(fd, inner, AT_REMOVEDIR) == 0 ||
                 move_up(removal, fd, inner);
    if (stream)
        closedir(stream);
    return unlinkat(removal->top, name, AT_REMOVEDIR) == 0 || moved;
}

static void empty_dir(int fd)
{
    struct stat st;
    struct removal removal = { .top = fd };
    if (fstat(fd, &st) < 0)
        return;
    removal.dev = st.st_dev;
    for (bool goes_on = true; goes_on;) {
        DIR *stream = list_dir(fd);
        goes_on = false;
        for (const char *name; stream && (name = next_name(stream));)
            goes_on |= remove_from_top(&removal, name);
        if (stream)
            closedir(stream);
    }
}

void sfs_temp_remove(int dirfd, const char *name)
{
    struct stat st;
    if (unlinkat(dirfd, name, 0) == 0 || fstat(dirfd, &st) < 0)
        return;
    AUTO(sfs_close_fd) int fd = enter_dir(dirfd, name, st.st_dev);
    if (fd >= 0)
        empty_dir(fd);
    unlinkat(dirfd, name, AT_REMOVEDIR);
}

/* ---- making ---- */

/* Removes what dead processes left: only this user's, in a directory where nobody else can have put
 * it. */
static void sweep(int parent)
{
    struct stat st;
    if (fstat(parent, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022))
        return;
    DIR *stream = list_dir(parent);
    for (const char *name; stream && (name = next_name(stream));) {
        if (strncmp(name, "." SFS_IO_TEMP, sizeof SFS_IO_TEMP) != 0)
            continue;
        AUTO(sfs_close_fd)
        int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 ||
            st.st_uid != geteuid())
            continue;
        empty_dir(fd);
        unlinkat(parent, name, AT_REMOVEDIR);
    }
    if (stream)
        closedir(stream);
}

static int make_locked(struct sfs_temp_dir *temp, struct sfs_error *err)
{
    for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        struct stat st;
        sfs_io_temp_name(temp->name);
        if (mkdirat(temp->parent, temp->name, 0700) < 0 && errno == EEXIST)
            continue;
        AUTO(sfs_close_fd)
        int fd = openat(temp->parent, temp->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno != ENOENT)
            return sfs_fail_errno(err, errno, "making a directory");
        /* A sweeper may have come in the instant before the lock: then take another. */
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || st.st_nlink == 0 ||
            fchmod(fd, 0700) < 0)
            continue;
        temp->fd = TAKE_FD(fd);
        return 0;
    }
    return sfs_fail_errno(err, EEXIST, "making a directory");
}

int sfs_temp_dir_open(struct sfs_temp_dir *temp, const char *parent, struct sfs_error *err)
{
    AUTO(sfs_temp_dir_close) struct sfs_temp_dir made = { .fd = -1, .parent = -1 };
    made.parent = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (made.parent < 0)
        return sfs_fail_errno(err, errno, "%s", parent);
    sweep(made.parent);
    int r = make_locked(&made, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", parent);
    made.path = sfs_format("%s/%s", parent, made.name);
    if (!made.path)
        return sfs_fail_memory(err);
    *temp = made;
    made = (struct sfs_temp_dir){ .fd = -1, .parent = -1 };
    return 0;
}

int sfs_temp_dir_commit(struct sfs_temp_dir *temp, const char *path, struct sfs_error *err)
{
    if (syncfs(temp->fd) < 0)
        return sfs_fail_errno(err, errno, "writing %s", path);
    if (renameat(temp->parent, temp->name, AT_FDCWD, path) < 0) {
        bool is_full = errno == ENOTEMPTY || errno == EEXIST;
        return is_full ? sfs_fail(err, EEXIST, "%s is not empty", path)
                       : sfs_fail_errno(err, errno, "naming %s", path);
    }
    temp->name[0] = 0;
    AUTO(sfs_free) char *parent = sfs_parent_of(path);
    AUTO(sfs_close_fd) int fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    return fd < 0 || fsync(fd) < 0 ? sfs_fail_errno(err, errno, "writing the directory of %s", path)
                                   : 0;
}

void sfs_temp_dir_close(struct sfs_temp_dir *temp)
{
    if (temp->fd >= 0 && temp->name[0]) {
        fchmod(temp->fd, 0700);
        empty_dir(temp->fd);
        unlinkat(temp->parent, temp->name, AT_REMOVEDIR);
    }
    sfs_close_fd(&temp->fd);
    sfs_close_fd(&temp->parent);
    sfs_free(&temp->path);
    temp->name[0] = 0;
}

/* ---- where they are made ---- */

/* Can nobody but root and this user rename or remove what is in it? */
static bool holds_safely(const struct stat *st)
{
    bool is_sticky = st->st_mode & S_ISVTX;
    bool is_trusted =
        st->st_uid == 0 || st->st_uid == geteuid() || (is_sticky && st->st_uid == OVERFLOW_UID);
    return is_trusted && (is_sticky || !(st->st_mode & 022));
}

int sfs_temp_dir_home(const char *dir, char **ret_path, struct sfs_error *err)
{
    AUTO(sfs_free) char *real = realpath(dir, NULL);
    AUTO(sfs_close_fd) int fd = real ? open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", dir);
    if (!holds_safely(&st))
        return sfs_fail(err, EPERM, "%s: other users can rename and remove what is in it", dir);
    AUTO(sfs_free) char *path = NULL;
    path = sfs_format("%s/stagefs-%u", strcmp(real, "/") == 0 ? "" : real, geteuid());
    if (!path)
        return sfs_fail_memory(err);
    int r = sfs_io_make_private_dir(path, err);
    if (r < 0)
        return r;
    AUTO(sfs_close_fd) int home = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (home < 0 || fstat(home, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", path);
    if (st.st_uid != geteuid())
        return sfs_fail(err, EPERM, "%s: it belongs to another user", path);
    if ((st.st_mode & 077) && fchmod(home, 0700) < 0)
        return sfs_fail_errno(err, errno, "%s", path);
    *ret_path = TAKE(path);
    return 0;
}
