/* The cache directory: where it is, how its files are named, locked, replaced and evicted. */
#include "layer/store.h"
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

struct sfs_store {
    char *dir;
};

static const struct {
    const char *dir, *suffix;
} kinds[] = {
    [SFS_STORE_INDEX] = { "index", ".idx" },        [SFS_STORE_COPY] = { "copy", ".zst" },
    [SFS_STORE_FILE] = { "file", ".bin" },          [SFS_STORE_SEEN] = { "seen", ".id" },
    [SFS_STORE_RESULT] = { "result", ".tar" },      [SFS_STORE_FILTER] = { "filter", ".bpf" },
    [SFS_STORE_BLOB] = { "blob", ".blob" },         [SFS_STORE_PART] = { "part", ".part" },
    [SFS_STORE_DOCUMENT] = { "document", ".json" }, [SFS_STORE_NAME] = { "name", ".ref" },
    [SFS_STORE_FINDINGS] = { "findings", ".find" }, [SFS_STORE_START] = { "start", ".profile" },
    [SFS_STORE_PACK] = { "pack", ".pack" },
};
#define KINDS   (sizeof kinds / sizeof *kinds)
#define KEY_MAX sizeof((struct sfs_store_item *)0)->key

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
           fstatat(top, kinds[SFS_STORE_INDEX].dir, &inner, AT_SYMLINK_NOFOLLOW) == 0 &&
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
    for (size_t i = 0; r == 0 && i < KINDS; i++)
        r = check_inner(dir, top, kinds[i].dir, err);
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
    for (size_t i = 0; i < KINDS; i++) {
        AUTO(sfs_free) char *path = sfs_format("%s/%s", store->dir, kinds[i].dir);
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

/* The file's name of a key: with '-' for ':', which is no good in names that people type. */
static int make_name(const char *key, const char *suffix, char name[KEY_MAX + 8],
                     struct sfs_error *err)
{
    size_t size = strlen(key);
    if (size == 0 || size >= KEY_MAX || key[0] == '.' || strchr(key, '/'))
        return sfs_fail(err, EINVAL, "\"%s\" cannot be the name of a cached layer", key);
    snprintf(name, KEY_MAX + 8, "%s%s", key, suffix);
    char *colon = strchr(name, ':');
    if (colon)
        *colon = '-';
    return 0;
}

/* The key of a file's name. False: it is not the name of a file of that kind. */
static bool read_name(const char *name, const char *suffix, char key[KEY_MAX])
{
    size_t size = strlen(name), suffix_size = strlen(suffix);
    if (name[0] == '.' || size <= suffix_size || size - suffix_size >= KEY_MAX ||
        strcmp(name + size - suffix_size, suffix) != 0)
        return false;
    snprintf(key, KEY_MAX, "%.*s", (int)(size - suffix_size), name);
    char *dash = strchr(key, '-');
    if (dash)
        *dash = ':';
    return true;
}

/* Takes from others what they may do with a file that is this user's. */
static int check_file(int fd, const char *path, struct sfs_error *err)
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

int sfs_store_open_file(struct sfs_store *store, enum sfs_store_kind kind, const char *key,
                        int *ret_fd, struct sfs_error *err)
{
    char name[KEY_MAX + 8];
    AUTO(sfs_free) char *path = NULL;
    int r = make_name(key, kinds[kind].suffix, name, err);
    if (r < 0)
        return r;
    path = sfs_format("%s/%s/%s", store->dir, kinds[kind].dir, name);
    if (!path)
        return sfs_fail_memory(err);
    AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return sfs_fail_errno(err, errno == ENOTDIR ? ENOENT : errno, "%s", path);
    r = check_file(fd, path, err);
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
    int r = sfs_store_make_dir(store, kinds[kind].dir, &path, err);
    if (r < 0)
        return r;
    r = sfs_io_temp_open(ret_temp, path, 0600, err);
    return r < 0 ? sfs_fail_while(err, r, "cache directory %s", store->dir) : 0;
}

int sfs_store_commit_file(struct sfs_store *store, enum sfs_store_kind kind, const char *key,
                          struct sfs_io_temp *temp, struct sfs_error *err)
{
    char name[KEY_MAX + 8];
    int r = make_name(key, kinds[kind].suffix, name, err);
    if (r < 0)
        return r;
    r = sfs_io_temp_commit(temp, name, err);
    return r < 0 ? sfs_fail_while(err, r, "cache directory %s", store->dir) : 0;
}

int sfs_store_name_file(struct sfs_store *store, enum sfs_store_kind kind, const char *key,
                        struct sfs_io_temp *temp, struct sfs_error *err)
{
    char name[KEY_MAX + 8];
    int r = make_name(key, kinds[kind].suffix, name, err);
    if (r < 0)
        return r;
    r = sfs_io_temp_rename(temp, name, err);
    return r < 0 ? sfs_fail_while(err, r, "cache directory %s", store->dir) : 0;
}

int sfs_store_lock(struct sfs_store *store, const char *key, struct sfs_store_lock *ret_lock,
                   struct sfs_error *err)
{
    char name[KEY_MAX + 8];
    AUTO(sfs_free) char *dir = NULL;
    AUTO(sfs_free) char *path = NULL;
    int r = make_name(key, ".lock", name, err);
    if (r == 0)
        r = sfs_store_make_dir(store, kinds[SFS_STORE_INDEX].dir, &dir, err);
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
        struct stat ours, named;
        if (fstat(fd, &ours) < 0 || stat(path, &named) < 0 || ours.st_ino != named.st_ino ||
            ours.st_dev != named.st_dev)
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

/* ---- what is here of a blob */

static int part_path(struct sfs_store *store, const struct sfs_digest *digest, uint64_t size,
                     char **ret_path, struct sfs_error *err)
{
    char text[SFS_DIGEST_TEXT], key[KEY_MAX], name[KEY_MAX + 8];
    snprintf(key, sizeof key, "%s.%llu", sfs_digest_print(digest, text), (unsigned long long)size);
    int r = make_name(key, kinds[SFS_STORE_PART].suffix, name, err);
    if (r < 0)
        return r;
    *ret_path = sfs_format("%s/%s/%s", store->dir, kinds[SFS_STORE_PART].dir, name);
    return *ret_path ? 0 : sfs_fail_memory(err);
}

/* "....part" -> "....map". The caller frees; NULL: out of memory. */
static char *map_of(const char *part)
{
    size_t size = strlen(part) - strlen(kinds[SFS_STORE_PART].suffix);
    return sfs_format("%.*s.map", (int)size, part);
}

/* Opens the data with its shared lock, under which nobody removes it. -ENOENT: it was removed
 * meanwhile, or is a whole blob now: try again. */
static int open_data(const char *path, int *ret_fd)
{
    struct stat ours, named;
    const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_OMIT } };
    AUTO(sfs_close_fd)
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return -errno;
    while (flock(fd, LOCK_SH) < 0)
        if (errno != EINTR)
            return -errno;
    if (fstat(fd, &ours) < 0 || stat(path, &named) < 0 || ours.st_ino != named.st_ino ||
        ours.st_dev != named.st_dev)
        return -ENOENT;
    (void)futimens(fd, times);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* A map beside data that were just made is of data that are gone. */
static int open_map(const char *path, int data_fd, int *ret_fd)
{
    struct stat st;
    if (fstat(data_fd, &st) < 0)
        return -errno;
    int flags =
        O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (st.st_size == 0 ? O_TRUNC : 0);
    *ret_fd = open(path, flags, 0600);
    return *ret_fd < 0 ? -errno : 0;
}

/* Held while names change: of the part, of its map, and of the blob that becomes of them. */
static int lock_part(struct sfs_store *store, const struct sfs_digest *digest,
                     struct sfs_store_lock *ret_lock, struct sfs_error *err)
{
    char text[SFS_DIGEST_TEXT], key[KEY_MAX];
    snprintf(key, sizeof key, "%s.part", sfs_digest_print(digest, text));
    return sfs_store_lock(store, key, ret_lock, err);
}

static int blob_path(struct sfs_store *store, const struct sfs_digest *digest, char **ret_path)
{
    char key[SFS_DIGEST_TEXT], name[KEY_MAX + 8];
    int r = make_name(sfs_digest_print(digest, key), kinds[SFS_STORE_BLOB].suffix, name, NULL);
    if (r < 0)
        return r;
    *ret_path = sfs_format("%s/%s/%s", store->dir, kinds[SFS_STORE_BLOB].dir, name);
    return *ret_path ? 0 : -ENOMEM;
}

static bool has_blob(struct sfs_store *store, const struct sfs_digest *digest)
{
    AUTO(sfs_free) char *path = NULL;
    return blob_path(store, digest, &path) == 0 && access(path, F_OK) == 0;
}

int sfs_store_open_part(struct sfs_store *store, const struct sfs_digest *digest, uint64_t size,
                        int *ret_data_fd, int *ret_map_fd, struct sfs_error *err)
{
    AUTO(sfs_free) char *dir = NULL;
    AUTO(sfs_free) char *path = NULL;
    AUTO(sfs_free) char *map = NULL;
    int r = sfs_store_make_dir(store, kinds[SFS_STORE_PART].dir, &dir, err);
    if (r == 0)
        r = part_path(store, digest, size, &path, err);
    if (r < 0)
        return r;
    map = map_of(path);
    if (!map)
        return sfs_fail_memory(err);
    AUTO(sfs_store_unlock) struct sfs_store_lock lock = { .fd = -1 };
    r = lock_part(store, digest, &lock, err);
    if (r < 0)
        return r;
    if (has_blob(store, digest))
        return sfs_fail(err, EEXIST, "all of it is here");
    AUTO(sfs_close_fd) int data_fd = -1;
    do
        r = open_data(path, &data_fd);
    while (r == -ENOENT);
    AUTO(sfs_close_fd) int map_fd = -1;
    if (r == 0)
        r = open_map(map, data_fd, &map_fd);
    if (r < 0)
        return sfs_fail_errno(err, -r, "cache directory %s: keeping what is fetched", store->dir);
    r = check_file(data_fd, path, err);
    if (r == 0)
        r = check_file(map_fd, map, err);
    if (r < 0)
        return r;
    *ret_map_fd = TAKE_FD(map_fd);
    *ret_data_fd = TAKE_FD(data_fd);
    return 0;
}

int sfs_store_keep_part(struct sfs_store *store, const struct sfs_digest *digest, uint64_t size)
{
    AUTO(sfs_free) char *part = NULL;
    AUTO(sfs_free) char *map = NULL;
    AUTO(sfs_free) char *dir = NULL;
    AUTO(sfs_free) char *whole = NULL;
    AUTO(sfs_store_unlock) struct sfs_store_lock lock = { .fd = -1 };
    int r = sfs_store_make_dir(store, kinds[SFS_STORE_BLOB].dir, &dir, NULL);
    if (r == 0)
        r = part_path(store, digest, size, &part, NULL);
    if (r == 0)
        r = blob_path(store, digest, &whole);
    if (r == 0)
        r = lock_part(store, digest, &lock, NULL);
    if (r < 0)
        return r;
    map = map_of(part);
    if (!map)
        return -ENOMEM;
    /* Without a map nobody writes to the data. */
    if (unlink(map) < 0 || rename(part, whole) < 0)
        return -errno;
    return 0;
}

void sfs_store_drop_blob(struct sfs_store *store, const struct sfs_digest *digest)
{
    AUTO(sfs_free) char *path = NULL;
    if (blob_path(store, digest, &path) == 0)
        unlink(path);
}

void sfs_store_drop_file(struct sfs_store *store, enum sfs_store_kind kind, const char *key)
{
    char name[KEY_MAX + 8];
    AUTO(sfs_free) char *path = NULL;
    if (make_name(key, kinds[kind].suffix, name, NULL) == 0)
        path = sfs_format("%s/%s/%s", store->dir, kinds[kind].dir, name);
    if (path)
        unlink(path);
}

/* ---- listing and removing */

struct items {
    struct sfs_store_item *data;
    size_t count, capacity;
};

static void free_items(struct items *items)
{
    free(items->data);
}

static void close_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static int append_item(struct items *items, const struct sfs_store_item *item)
{
    if (SFS_ARRAY_GROW(items->data, items->count, items->capacity, 16) < 0)
        return -ENOMEM;
    items->data[items->count++] = *item;
    return 0;
}

/* Does somebody hold the file's lock? Whoever has it open or is replacing it does. */
static bool is_in_use(int dirfd, const char *name)
{
    AUTO(sfs_close_fd) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return fd < 0 || (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
}

static int collect_kind(struct sfs_store *store, enum sfs_store_kind kind, struct items *items,
                        struct sfs_error *err)
{
    AUTO(sfs_free) char *path = sfs_format("%s/%s", store->dir, kinds[kind].dir);
    if (!path)
        return sfs_fail_memory(err);
    AUTO(close_dir) DIR *dir = opendir(path);
    if (!dir && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (!dir)
        return sfs_fail_errno(err, errno, "cache directory %s", store->dir);
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        struct sfs_store_item item = { .kind = kind };
        struct stat st;
        if (!read_name(entry->d_name, kinds[kind].suffix, item.key) ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode))
            continue;
        /* A part has holes. */
        item.size = kind == SFS_STORE_PART ? (uint64_t)st.st_blocks * 512 : (uint64_t)st.st_size;
        item.used = st.st_atim.tv_sec > st.st_mtim.tv_sec ? st.st_atim.tv_sec : st.st_mtim.tv_sec;
        item.in_use = is_in_use(dirfd(dir), entry->d_name);
        if (append_item(items, &item) < 0)
            return sfs_fail_memory(err);
    }
    return 0;
}

static int collect(struct sfs_store *store, struct items *items, struct sfs_error *err)
{
    int r = 0;
    for (size_t kind = 0; kind < KINDS && r == 0; kind++)
        r = collect_kind(store, (enum sfs_store_kind)kind, items, err);
    return r;
}

static int by_key(const void *a, const void *b)
{
    const struct sfs_store_item *left = a, *right = b;
    int order = strcmp(left->key, right->key);
    return order ? order : (int)left->kind - (int)right->kind;
}

static int by_use(const void *a, const void *b)
{
    const struct sfs_store_item *left = a, *right = b;
    if (left->used != right->used)
        return left->used < right->used ? -1 : 1;
    /* A copy first: it is larger, and its index is still good without it. */
    return (int)right->kind - (int)left->kind;
}

int sfs_store_list(struct sfs_store *store,
                   int (*item)(void *user, const struct sfs_store_item *item), void *user,
                   struct sfs_error *err)
{
    AUTO(free_items) struct items items = { 0 };
    int r = collect(store, &items, err);
    if (r < 0)
        return r;
    if (items.count > 0)
        qsort(items.data, items.count, sizeof *items.data, by_key);
    for (size_t i = 0; i < items.count && r == 0; i++)
        r = item(user, &items.data[i]);
    return r;
}

/* The map of a part goes first: what it says is only true of that part. */
static void unlink_map(const char *part)
{
    AUTO(sfs_free) char *map = map_of(part);
    if (map)
        unlink(map);
}

/* Removes the item. 1: done; 0: it is in use, or gone already. */
static int remove_item(struct sfs_store *store, const struct sfs_store_item *item,
                       struct sfs_error *err)
{
    char name[KEY_MAX + 8];
    AUTO(sfs_free) char *path = NULL;
    int r = make_name(item->key, kinds[item->kind].suffix, name, err);
    if (r < 0)
        return r;
    path = sfs_format("%s/%s/%s", store->dir, kinds[item->kind].dir, name);
    if (!path)
        return sfs_fail_memory(err);
    AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return 0;
    if (item->kind == SFS_STORE_PART)
        unlink_map(path);
    if (unlink(path) < 0)
        return errno == ENOENT ? 0 : sfs_fail_errno(err, errno, "removing %s", path);
    return 1;
}

/* Removes those not used for longest until at most `keep` bytes are left. */
static int remove_first(struct sfs_store *store, struct items *items, uint64_t keep,
                        uint64_t *ret_freed, uint64_t *ret_count, struct sfs_error *err)
{
    uint64_t left = 0;
    for (size_t i = 0; i < items->count; i++)
        left += items->data[i].size;
    if (items->count > 0)
        qsort(items->data, items->count, sizeof *items->data, by_use);
    *ret_freed = *ret_count = 0;
    for (size_t i = 0; i < items->count && left > keep; i++) {
        int r = remove_item(store, &items->data[i], err);
        if (r < 0)
            return r;
        if (r == 0)
            continue;
        left -= items->data[i].size;
        *ret_freed += items->data[i].size;
        ++*ret_count;
    }
    return left > keep ? 1 : 0;
}

int sfs_store_prune(struct sfs_store *store, uint64_t keep, uint64_t *ret_freed,
                    uint64_t *ret_items, struct sfs_error *err)
{
    AUTO(free_items) struct items items = { 0 };
    int r = collect(store, &items, err);
    if (r == 0)
        r = remove_first(store, &items, keep, ret_freed, ret_items, err);
    return r < 0 ? r : 0;
}

int sfs_store_make_room(struct sfs_store *store, enum sfs_store_kind kind, uint64_t limit,
                        uint64_t size, struct sfs_error *err)
{
    AUTO(free_items) struct items items = { 0 };
    uint64_t freed, count;
    if (size > limit)
        return sfs_fail(err, ENOSPC, "larger than what may be kept");
    int r = collect_kind(store, kind, &items, err);
    if (r == 0)
        r = remove_first(store, &items, limit - size, &freed, &count, err);
    return r > 0
               ? sfs_fail(err, ENOSPC, "cache directory %s: all that is kept is in use", store->dir)
               : r;
}

int sfs_store_make_blob_room(struct sfs_store *store, uint64_t limit, uint64_t size,
                             struct sfs_error *err)
{
    AUTO(free_items) struct items items = { 0 };
    uint64_t freed, count;
    if (size > limit)
        return sfs_fail(err, ENOSPC, "larger than what may be kept");
    int r = collect_kind(store, SFS_STORE_BLOB, &items, err);
    if (r == 0)
        r = collect_kind(store, SFS_STORE_PART, &items, err);
    if (r == 0)
        r = remove_first(store, &items, limit - size, &freed, &count, err);
    return r > 0
               ? sfs_fail(err, ENOSPC, "cache directory %s: all that is kept is in use", store->dir)
               : r;
}
