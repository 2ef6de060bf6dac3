/* The cache directory: where it is, who may write to it, how its files are named, locked and
 * replaced. */
#include "layer/store_parts.h"
#include "base/array.h"
#include "base/buf.h"

#include "base/temp_dir.h"
#include <stagefs/format.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>

const struct sfs_store_place sfs_store_places[SFS_STORE_KINDS] = {
    [SFS_STORE_INDEX] = { "index", ".idx" },        [SFS_STORE_COPY] = { "copy", ".zst" },
    [SFS_STORE_FILE] = { "file", ".bin" },          [SFS_STORE_SEEN] = { "seen", ".id" },
    [SFS_STORE_RESULT] = { "result", ".tar" },      [SFS_STORE_FILTER] = { "filter", ".bpf" },
    [SFS_STORE_BLOB] = { "blob", ".blob" },         [SFS_STORE_PART] = { "part", ".part" },
    [SFS_STORE_DOCUMENT] = { "document", ".json" }, [SFS_STORE_NAME] = { "name", ".ref" },
    [SFS_STORE_FINDINGS] = { "findings", ".find" }, [SFS_STORE_START] = { "start", ".profile" },
    [SFS_STORE_PACK] = { "pack", ".pack" },
};

/* The caller frees; NULL: out of memory. */
static int choose_dir(const char *dir, char **ret_dir, struct sfs_error *err)
{
    const char *wanted = dir ? dir : getenv("STAGEFS_CACHE_DIR");
    if (wanted && *wanted) {
        *ret_dir = strdup(wanted);
        return *ret_dir ? 0 : sfs_fail_memory(err);
    }
    const char *parent = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (parent && parent[0] == '/')
        *ret_dir = sfs_format("%s/stagefs", parent);
    else if (geteuid() == 0)
        *ret_dir = strdup("/var/cache/stagefs");
    else if (home && home[0] == '/')
        *ret_dir = sfs_format("%s/.cache/stagefs", home);
    else
        return sfs_fail(err, EINVAL,
                        "no cache directory: neither STAGEFS_CACHE_DIR nor HOME is set");
    return *ret_dir ? 0 : sfs_fail_memory(err);
}

/* ---- who may write to it ---- */

static bool is_trusted(const struct stat *st)
{
    return st->st_uid == geteuid() || st->st_uid == 0;
}

/* Was it a cache directory of this user's before? Then an older version, or a umask, made its mode;
 * else it may be anything, and its mode is not ours to change. */
static bool was_ours(int top, const struct stat *st)
{
    struct stat inner;
    return st->st_uid == geteuid() && !(st->st_mode & S_ISVTX) &&
           fstatat(top, sfs_store_places[SFS_STORE_INDEX].dir, &inner, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(inner.st_mode) && inner.st_uid == geteuid();
}

/* What is kept is trusted: filters of system calls, tables of layers, results of RUN. */
static int check_top(const char *dir, int top, struct sfs_error *err)
{
    struct stat st;
    if (fstat(top, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", dir);
    const bool is_loose = (st.st_mode & 0077) && was_ours(top, &st);
    if (!is_trusted(&st) || ((st.st_mode & S_IWOTH) && !is_loose))
        return sfs_fail(err, EPERM,
                        "cache directory %s: another user can write to it, and what is kept has to "
                        "be trusted; set STAGEFS_CACHE_DIR to one of your own",
                        dir);
    if (is_loose && fchmod(top, 0700) < 0 && errno != EROFS)
        return sfs_fail_errno(err, errno, "cache directory %s", dir);
    return 0;
}

/* The same of what is in it: whoever could write to it once may have put something there. */
static int check_inner(const char *dir, int top, const char *name, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = openat(top, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ENOENT ? 0 : sfs_fail_errno(err, errno, "%s/%s", dir, name);
    if (!is_trusted(&st))
        return sfs_fail(
            err, EPERM,
            "cache directory %s: %s in it is another user's, and what is kept has to be "
            "trusted; remove it",
            dir, name);
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || !(st.st_mode & 0077))
        return 0;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return chmod(path, 0700) < 0 && errno != EROFS
               ? sfs_fail_errno(err, errno, "cache directory %s", dir)
               : 0;
}

/* Removes what an older version kept beside the directories, where nothing listed it. */
static void remove_old(int top)
{
    AUTO(sfs_close_fd) int own = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = own >= 0 ? fdopendir(own) : NULL;
    if (!stream)
        return;
    own = -1;
    for (const struct dirent *entry; (entry = readdir(stream));)
        if (strncmp(entry->d_name, "seccomp-", 8) == 0 &&
            strspn(entry->d_name + 8, "0123456789abcdef") == 64 && !entry->d_name[8 + 64])
            unlinkat(top, entry->d_name, 0);
    closedir(stream);
}

/* One that is not there yet is made for its user alone. */
static int check_dir(const char *dir, struct sfs_error *err)
{
    static const char *const others[] = { "run", "run-cache" };
    AUTO(sfs_close_fd) int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return 0; /* whoever needs it finds out why */
    int r = check_top(dir, top, err);
    for (size_t i = 0; r == 0 && i < SFS_STORE_KINDS; i++)
        r = check_inner(dir, top, sfs_store_places[i].dir, err);
    for (size_t i = 0; r == 0 && i < sizeof others / sizeof *others; i++)
        r = check_inner(dir, top, others[i], err);
    if (r == 0)
        remove_old(top);
    return r;
}

int sfs_store_open(const char *dir, struct sfs_store **ret_store, struct sfs_error *err)
{
    AUTO(sfs_store_close) struct sfs_store *store = calloc(1, sizeof *store);
    if (!store)
        return sfs_fail_memory(err);
    int r = choose_dir(dir, &store->dir, err);
    if (r == 0)
        r = check_dir(store->dir, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < SFS_STORE_KINDS; i++) {
        AUTO(sfs_free) char *path = sfs_format("%s/%s", store->dir, sfs_store_places[i].dir);
        if (!path)
            return sfs_fail_memory(err);
        sfs_io_sweep(path);
    }
    *ret_store = TAKE(store);
    return 0;
}

void sfs_store_close(struct sfs_store **store)
{
    if (*store)
        free((*store)->dir);
    free(*store);
    *store = NULL;
}

const char *sfs_store_dir(const struct sfs_store *store)
{
    return store->dir;
}

int sfs_store_make_name(const char *key, const char *suffix, char name[SFS_STORE_KEY + 8],
                        struct sfs_error *err)
{
    size_t size = strlen(key);
    if (size == 0 || size >= SFS_STORE_KEY || key[0] == '.' || strchr(key, '/'))
        return sfs_fail(err, EINVAL, "\"%s\" cannot be the name of a cached layer", key);
    snprintf(name, SFS_STORE_KEY + 8, "%s%s", key, suffix);
    char *colon = strchr(name, ':');
    if (colon)
        *colon = '-';
    return 0;
}

bool sfs_store_read_name(const char *name, const char *suffix, char key[SFS_STORE_KEY])
{
    size_t size = strlen(name), suffix_size = strlen(suffix);
    if (name[0] == '.' || size <= suffix_size || size - suffix_size >= SFS_STORE_KEY ||
        strcmp(name + size - suffix_size, suffix) != 0)
        return false;
    snprintf(key, SFS_STORE_KEY, "%.*s", (int)(size - suffix_size), name);
    char *dash = strchr(key, '-');
    if (dash)
        *dash = ':';
    return true;
}

int sfs_store_check_file(int fd, const char *path, struct sfs_error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode) || !is_trusted(&st))
        return sfs_fail(err, EPERM, "%s: another user's, or no regular file: remove it", path);
    if (st.st_uid == geteuid() && (st.st_mode & 0077))
        (void)fchmod(fd, 0600); /* the directory keeps others out, too */
    return 0;
}

bool sfs_store_is_named(int fd, const char *path)
{
    struct stat ours, named;
    return fstat(fd, &ours) == 0 && lstat(path, &named) == 0 && ours.st_ino == named.st_ino &&
           ours.st_dev == named.st_dev;
}

int sfs_store_open_file(struct sfs_store *store, enum sfs_store_kind kind, const char *key,
                        int *ret_fd, struct sfs_error *err)
{
    char name[SFS_STORE_KEY + 8];
    AUTO(sfs_free) char *path = NULL;
    int r = sfs_store_make_name(key, sfs_store_places[kind].suffix, name, err);
    if (r < 0)
        return r;
    path = sfs_format("%s/%s/%s", store->dir, sfs_store_places[kind].dir, name);
    if (!path)
        return sfs_fail_memory(err);
    AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return sfs_fail_errno(err, errno == ENOTDIR ? ENOENT : errno, "%s", path);
    r = sfs_store_check_file(fd, path, err);
    if (r < 0)
        return r;
    /* Best effort: without the lock a prune may remove the name, which does not hurt an open file;
     * without the time it may do so early. */
    const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_OMIT } };
    (void)flock(fd, LOCK_SH | LOCK_NB);
    (void)futimens(fd, times);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int sfs_store_make_dir(struct sfs_store *store, const char *name, char **ret_path,
                       struct sfs_error *err)
{
    AUTO(sfs_free) char *path = sfs_format("%s/%s", store->dir, name);
    if (!path)
        return sfs_fail_memory(err);
    int r = sfs_io_make_private_dir(store->dir, err);
    if (r == 0)
        r = sfs_io_make_private_dir(path, err);
    if (r < 0)
        return sfs_fail_while(err, r, "cache directory %s", store->dir);
    *ret_path = TAKE(path);
    return 0;
}

int sfs_store_work_dir(struct sfs_store *store, char **ret_path, struct sfs_error *err)
{
    const char *dir = getenv("TMPDIR");
    if (dir && *dir && sfs_temp_dir_home(dir, ret_path, NULL) == 0)
        return 0;
    AUTO(sfs_free) char *path = NULL;
    int r = sfs_store_make_dir(store, "run", &path, err);
    if (r < 0)
        return r;
    *ret_path = realpath(path, NULL);
    return *ret_path ? 0 : sfs_fail_errno(err, errno, "%s", path);
}

int sfs_store_start_file(struct sfs_store *store, enum sfs_store_kind kind,
                         struct sfs_io_temp *ret_temp, struct sfs_error *err)
{
    AUTO(sfs_free) char *path = NULL;
    *ret_temp = (struct sfs_io_temp){ .fd = -1, .dirfd = -1 };
    int r = sfs_store_make_dir(store, sfs_store_places[kind].dir, &path, err);
    if (r < 0)
        return r;
    r = sfs_io_temp_open(ret_temp, path, 0600, err);
    return r < 0 ? sfs_fail_while(err, r, "cache directory %s", store->dir) : 0;
}

int sfs_store_commit_file(struct sfs_store *store, enum sfs_store_kind kind, const char *key,
                          struct sfs_io_temp *temp, struct sfs_error *err)
{
    char name[SFS_STORE_KEY + 8];
    int r = sfs_store_make_name(key, sfs_store_places[kind].suffix, name, err);
    if (r < 0)
        return r;
    r = sfs_io_temp_commit(temp, name, err);
    return r < 0 ? sfs_fail_while(err, r, "cache directory %s", store->dir) : 0;
}

int sfs_store_name_file(struct sfs_store *store, enum sfs_store_kind kind, const char *key,
                        struct sfs_io_temp *temp, struct sfs_error *err)
{
    char name[SFS_STORE_KEY + 8];
    int r = sfs_store_make_name(key, sfs_store_places[kind].suffix, name, err);
    if (r < 0)
        return r;
    r = sfs_io_temp_rename(temp, name, err);
    return r < 0 ? sfs_fail_while(err, r, "cache directory %s", store->dir) : 0;
}

int sfs_store_lock(struct sfs_store *store, const char *key, struct sfs_store_lock *ret_lock,
                   struct sfs_error *err)
{
    char name[SFS_STORE_KEY + 8];
    AUTO(sfs_free) char *dir = NULL;
    AUTO(sfs_free) char *path = NULL;
    int r = sfs_store_make_name(key, ".lock", name, err);
    if (r == 0)
        r = sfs_store_make_dir(store, sfs_store_places[SFS_STORE_INDEX].dir, &dir, err);
    if (r < 0)
        return r;
    /* Named as a temporary file, so that the sweep takes what a killed process leaves. */
    path = sfs_format("%s/." SFS_IO_TEMP "%s", dir, name);
    if (!path)
        return sfs_fail_memory(err);
    for (;;) {
        AUTO(sfs_close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return sfs_fail_errno(err, errno, "cache directory %s: making a file", store->dir);
        while (flock(fd, LOCK_EX) < 0)
            if (errno != EINTR)
                return sfs_fail_errno(err, errno, "cache directory %s: locking", store->dir);
        /* The holder before us removed the file: others lock a new one by now. */
        if (!sfs_store_is_named(fd, path))
            continue;
        *ret_lock = (struct sfs_store_lock){ .fd = TAKE_FD(fd), .path = TAKE(path) };
        return 0;
    }
}

void sfs_store_unlock(struct sfs_store_lock *lock)
{
    if (lock->path)
        unlink(lock->path);
    /* Not left to close(): a child may have inherited the file. */
    if (lock->fd >= 0)
        (void)flock(lock->fd, LOCK_UN);
    sfs_close_fd(&lock->fd);
    free(lock->path);
    lock->path = NULL;
}

void sfs_store_drop_file(struct sfs_store *store, enum sfs_store_kind kind, const char *key, int fd)
{
    char name[SFS_STORE_KEY + 8];
    AUTO(sfs_free) char *path = NULL;
    if (sfs_store_make_name(key, sfs_store_places[kind].suffix, name, NULL) == 0)
        path = sfs_format("%s/%s/%s", store->dir, sfs_store_places[kind].dir, name);
    /* A successor that comes just now is lost, and made or fetched again. */
    if (path && sfs_store_is_named(fd, path))
        unlink(path);
}
