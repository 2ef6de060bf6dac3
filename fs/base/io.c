/* Files as a whole: read, written, replaced; and how a file appears complete or not at all. */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/magic.h>
#include <poll.h>
#include <stagefs/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>

/* How long the other end of a pipe that has a name is waited for. */
#define PIPE_SECONDS 5

ssize_t sfs_io_read_at(int fd, void *buf, size_t size, uint64_t offset)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, (char *)buf + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int sfs_io_write_all(int fd, const void *buf, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = write(fd, (const char *)buf + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return 0;
}

/* Waits until a pipe or a terminal, opened so that its reads do not, has something to read or is at
 * its end. A pipe without a name is one of the caller's, as in `-f <(...)`; to one that has a name,
 * nobody might ever write. */
static int await_bytes(int fd, const struct stat *st, const char *name, struct sfs_error *err)
{
    struct statfs fs;
    struct pollfd in = { .fd = fd, .events = POLLIN };
    if (!S_ISFIFO(st->st_mode) && !(S_ISCHR(st->st_mode) && isatty(fd)))
        return 0;
    const bool has_name =
        S_ISFIFO(st->st_mode) && fstatfs(fd, &fs) == 0 && fs.f_type != PIPEFS_MAGIC;
    int n;
    do
        n = poll(&in, 1, has_name ? PIPE_SECONDS * 1000 : -1);
    while (n < 0 && errno == EINTR);
    return n != 0 ? 0
                  : sfs_fail(err, ETIMEDOUT, "%s is a pipe to which nobody writes (for %d seconds)",
                             name, PIPE_SECONDS);
}

/* As read(), but not interrupted, and with words. */
static ssize_t read_some(int fd, const struct stat *st, const char *name, void *buf, size_t size,
                         struct sfs_error *err)
{
    ssize_t n;
    int r = await_bytes(fd, st, name, err);
    if (r < 0)
        return r;
    do
        n = read(fd, buf, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? sfs_fail_errno(err, errno, "reading %s", name) : n;
}

/* Reads until the end, since files of /proc say size 0. */
static int read_all(int fd, const char *name, size_t max, struct sfs_error *err, char **ret_data,
                    size_t *ret_size)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", name);
    if (S_ISDIR(st.st_mode))
        return sfs_fail_errno(err, EISDIR, "%s", name);
    size_t capacity = st.st_size > 0 && (uint64_t)st.st_size <= max ? (size_t)st.st_size + 1 : 4096;
    size_t size = 0;
    AUTO(sfs_free) char *data = malloc(capacity + 1);
    if (!data)
        return sfs_fail(err, ENOMEM, "%s: out of memory", name);
    for (;;) {
        ssize_t n = read_some(fd, &st, name, data + size, capacity - size, err);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        size += (size_t)n;
        if (size > max)
            return sfs_fail(err, E2BIG, "%s: larger than %zu bytes", name, max);
        if (size == capacity) {
            char *more = realloc(data, capacity * 2 + 1);
            if (!more)
                return sfs_fail(err, ENOMEM, "%s: out of memory", name);
            data = more;
            capacity *= 2;
        }
    }
    data[size] = 0;
    *ret_size = size;
    *ret_data = TAKE(data);
    return 0;
}

int sfs_io_read_file(int dirfd, const char *name, size_t max, char **ret_data, size_t *ret_size,
                     struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return sfs_fail_errno(err, errno, "%s", name);
    return read_all(fd, name, max, err, ret_data, ret_size);
}

int sfs_io_open_regular(int dirfd, const char *name, int *ret_fd, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    /* ENXIO: a socket, or a device that is not there */
    if (fd < 0 && errno != ENXIO)
        return sfs_fail_errno(err, errno, "%s", name);
    if (fd >= 0 && fstat(fd, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", name);
    if (fd >= 0 && S_ISDIR(st.st_mode))
        return sfs_fail_errno(err, EISDIR, "%s", name);
    if (fd < 0 || !S_ISREG(st.st_mode))
        return sfs_fail(err, EBADMSG, "%s is not a regular file", name);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int sfs_io_read_regular(int dirfd, const char *name, size_t max, char **ret_data, size_t *ret_size,
                        struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = -1;
    int r = sfs_io_open_regular(dirfd, name, &fd, err);
    return r < 0 ? r : read_all(fd, name, max, err, ret_data, ret_size);
}

void sfs_io_own_files(void)
{
    if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_UNSHARE) < 0)
        return;
}

int sfs_io_make_dirs(const char *path, struct sfs_error *err)
{
    AUTO(sfs_free) char *copy = strdup(path);
    if (!copy)
        return sfs_fail_memory(err);
    for (char *p = copy + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char end = *p;
        *p = 0;
        if (mkdir(copy, 0777) < 0 && errno != EEXIST)
            return sfs_fail_errno(err, errno, "making directory %s", copy);
        if (!end)
            break;
        *p = end;
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", path);
    if (!S_ISDIR(st.st_mode))
        return sfs_fail_errno(err, ENOTDIR, "%s", path);
    return 0;
}

/* mkdir() takes the umask's bits away, and chmod() would follow what another one puts there. */
static int set_private(const char *path)
{
    char link[32];
    AUTO(sfs_close_fd) int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return fd < 0 || chmod(link, 0700) < 0 ? -errno : 0;
}

int sfs_io_make_private_dir(const char *path, struct sfs_error *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    const char *slash = strrchr(path, '/');
    if (slash && slash != path) {
        AUTO(sfs_free) char *parent = strndup(path, (size_t)(slash - path));
        int r = parent ? sfs_io_make_dirs(parent, err) : sfs_fail_memory(err);
        if (r < 0)
            return r;
    }
    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? 0 : sfs_fail_errno(err, errno, "making directory %s", path);
    int r = set_private(path);
    return r < 0 ? sfs_fail_errno(err, -r, "making directory %s", path) : 0;
}

void sfs_io_temp_name(char name[64])
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz012345";
    uint8_t bytes[12];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        memset(bytes, 0, sizeof bytes);
    char suffix[sizeof bytes + 1] = { 0 };
    for (size_t i = 0; i < sizeof bytes; i++)
        suffix[i] = digits[bytes[i] & 31];
    snprintf(name, 64, "." SFS_IO_TEMP "%s", suffix);
}

int sfs_io_temp_open(struct sfs_io_temp *temp, const char *dir, mode_t mode, struct sfs_error *err)
{
    *temp = (struct sfs_io_temp){ .fd = -1, .dirfd = -1 };
    AUTO(sfs_close_fd) int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0)
        return sfs_fail_errno(err, errno, "%s", dir);
    for (int attempt = 0; attempt < 100; attempt++) {
        char name[sizeof temp->name];
        sfs_io_temp_name(name);
        AUTO(sfs_close_fd)
        int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        if (fd < 0 && errno == EEXIST)
            continue;
        if (fd < 0)
            return sfs_fail_errno(err, errno, "making a file in %s", dir);
        /* A sweeper may have seen the file in the instant before the lock: then it is gone, take
         * another. */
        struct stat st;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || st.st_nlink == 0)
            continue;
        temp->fd = TAKE_FD(fd);
        temp->dirfd = TAKE_FD(dirfd);
        memcpy(temp->name, name, sizeof name);
        return 0;
    }
    return sfs_fail_errno(err, EEXIST, "making a file in %s", dir);
}

int sfs_io_temp_rename(struct sfs_io_temp *temp, const char *name, struct sfs_error *err)
{
    if (renameat(temp->dirfd, temp->name, temp->dirfd, name) < 0)
        return sfs_fail_errno(err, errno, "naming %s", name);
    temp->name[0] = 0;
    return 0;
}

int sfs_io_temp_commit(struct sfs_io_temp *temp, const char *name, struct sfs_error *err)
{
    if (fsync(temp->fd) < 0)
        return sfs_fail_errno(err, errno, "writing %s", name);
    int r = sfs_io_temp_rename(temp, name, err);
    if (r < 0)
        return r;
    if (fsync(temp->dirfd) < 0)
        return sfs_fail_errno(err, errno, "writing the directory of %s", name);
    return 0;
}

void sfs_io_temp_close(struct sfs_io_temp *temp)
{
    if (temp->fd < 0)
        return;
    if (temp->name[0])
        unlinkat(temp->dirfd, temp->name, 0);
    sfs_close_fd(&temp->fd);
    sfs_close_fd(&temp->dirfd);
    temp->name[0] = 0;
}

static void remove_if_left_behind(int dirfd, const char *name)
{
    AUTO(sfs_close_fd) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
        flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(dirfd, name, 0);
}

const char *sfs_io_temp_parent(void)
{
    const char *dir = getenv("TMPDIR");
    return dir && *dir ? dir : "/var/tmp";
}

int sfs_io_open_unnamed(int *ret_fd, struct sfs_error *err)
{
    const char *dir = sfs_io_temp_parent();
    *ret_fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*ret_fd >= 0)
        return 0;
    /* A file system without O_TMPFILE. */
    AUTO(sfs_free) char *path = sfs_format("%s/" SFS_IO_TEMP "XXXXXX", dir);
    if (!path)
        return sfs_fail_memory(err);
    *ret_fd = mkostemp(path, O_CLOEXEC);
    if (*ret_fd < 0)
        return sfs_fail_errno(err, errno, "a temporary file in %s", dir);
    unlink(path);
    return 0;
}

void sfs_io_sweep(const char *dir)
{
    DIR *stream = opendir(dir);
    if (!stream)
        return;
    const struct dirent *entry;
    while ((entry = readdir(stream)))
        if (strncmp(entry->d_name, "." SFS_IO_TEMP, sizeof SFS_IO_TEMP) == 0)
            remove_if_left_behind(dirfd(stream), entry->d_name);
    closedir(stream);
}

int sfs_io_replace_file(const char *dir, const char *name, const void *data, size_t size,
                        mode_t mode, struct sfs_error *err)
{
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp;
    int r = sfs_io_temp_open(&temp, dir, mode, err);
    if (r < 0)
        return r;
    r = sfs_io_write_all(temp.fd, data, size);
    if (r < 0)
        return sfs_fail_errno(err, -r, "writing %s/%s", dir, name);
    return sfs_io_temp_commit(&temp, name, err);
}

/* Replaces the regular file that `fd` has open, under the name that the file has and not under the
 * symlink that led to it. */
static int replace_opened(int fd, const char *path, const void *data, size_t size, mode_t mode,
                          struct sfs_error *err)
{
    char link[32], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, name, sizeof name - 1);
    char *slash = n > 0 ? memrchr(name, '/', (size_t)n) : NULL;
    if (!slash)
        return sfs_fail_errno(err, n < 0 ? errno : EIO, "%s", path);
    name[n] = 0;
    *slash = 0;
    return sfs_io_replace_file(slash == name ? "/" : name, slash + 1, data, size, mode, err);
}

/* Opens what is written to and not replaced. A pipe waits for its reader, but not for ever. */
static int open_through(const char *path, mode_t mode, struct sfs_error *err)
{
    const struct timespec moment = { .tv_nsec = 100000000 };
    struct stat st;
    const bool is_pipe = stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
    int fd = -1;
    for (int i = 0; i < (is_pipe ? PIPE_SECONDS * 10 : 1); i++) {
        if (i > 0)
            nanosleep(&moment, NULL);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);
        if (fd >= 0 || errno != ENXIO)
            break;
    }
    if (fd < 0 && errno == ENXIO && is_pipe)
        return sfs_fail(err, ETIMEDOUT, "%s is a pipe that nobody reads (for %d seconds)", path,
                        PIPE_SECONDS);
    if (fd >= 0)
        fcntl(fd, F_SETFL, O_WRONLY);
    return fd < 0 ? sfs_fail_errno(err, errno, "%s", path) : fd;
}

static int write_through(const char *path, const void *data, size_t size, mode_t mode,
                         struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = open_through(path, mode, err);
    struct stat st;
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", path);
    if (S_ISREG(st.st_mode) && st.st_nlink > 0)
        return replace_opened(fd, path, data, size, mode, err);
    int r = sfs_io_write_all(fd, data, size);
    return r < 0 ? sfs_fail_errno(err, -r, "writing %s", path) : 0;
}

int sfs_io_write_output(const char *path, const void *data, size_t size, mode_t mode,
                        struct sfs_error *err)
{
    struct stat st;
    if (strcmp(path, "-") == 0) {
        int r = sfs_io_write_all(STDOUT_FILENO, data, size);
        return r < 0 ? sfs_fail_errno(err, -r, "writing to standard output") : 0;
    }
    if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return write_through(path, data, size, mode, err);
    const char *slash = strrchr(path, '/');
    AUTO(sfs_free)
    char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!dir)
        return sfs_fail_memory(err);
    return sfs_io_replace_file(dir, slash ? slash + 1 : path, data, size, mode, err);
}
