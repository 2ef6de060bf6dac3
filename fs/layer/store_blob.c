/* What is here of a registry's blob: a part, with a map that says of which bytes; and the whole. */
#include "layer/store_parts.h"

#include <stagefs/format.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int part_path(struct sfs_store *store, const struct sfs_digest *digest, uint64_t size,
                     char **ret_path, struct sfs_error *err)
{
    char text[SFS_DIGEST_TEXT], key[SFS_STORE_KEY], name[SFS_STORE_KEY + 8];
    snprintf(key, sizeof key, "%s.%llu", sfs_digest_print(digest, text), (unsigned long long)size);
    int r = sfs_store_make_name(key, sfs_store_places[SFS_STORE_PART].suffix, name, err);
    if (r < 0)
        return r;
    *ret_path = sfs_format("%s/%s/%s", store->dir, sfs_store_places[SFS_STORE_PART].dir, name);
    return *ret_path ? 0 : sfs_fail_memory(err);
}

char *sfs_store_map_of(const char *part)
{
    size_t size = strlen(part) - strlen(sfs_store_places[SFS_STORE_PART].suffix);
    return sfs_format("%.*s.map", (int)size, part);
}

/* Opens the data with its shared lock, under which nobody removes it. -ENOENT: it was removed
 * meanwhile, or is a whole blob now: try again. */
static int open_data(const char *path, int *ret_fd)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_OMIT } };
    AUTO(sfs_close_fd)
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return -errno;
    while (flock(fd, LOCK_SH) < 0)
        if (errno != EINTR)
            return -errno;
    if (!sfs_store_is_named(fd, path))
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
    char text[SFS_DIGEST_TEXT], key[SFS_STORE_KEY];
    snprintf(key, sizeof key, "%s.part", sfs_digest_print(digest, text));
    return sfs_store_lock(store, key, ret_lock, err);
}

static int blob_path(struct sfs_store *store, const struct sfs_digest *digest, char **ret_path)
{
    char key[SFS_DIGEST_TEXT], name[SFS_STORE_KEY + 8];
    int r = sfs_store_make_name(sfs_digest_print(digest, key),
                                sfs_store_places[SFS_STORE_BLOB].suffix, name, NULL);
    if (r < 0)
        return r;
    *ret_path = sfs_format("%s/%s/%s", store->dir, sfs_store_places[SFS_STORE_BLOB].dir, name);
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
    int r = sfs_store_make_dir(store, sfs_store_places[SFS_STORE_PART].dir, &dir, err);
    if (r == 0)
        r = part_path(store, digest, size, &path, err);
    if (r < 0)
        return r;
    map = sfs_store_map_of(path);
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
    r = sfs_store_check_file(data_fd, path, err);
    if (r == 0)
        r = sfs_store_check_file(map_fd, map, err);
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
    int r = sfs_store_make_dir(store, sfs_store_places[SFS_STORE_BLOB].dir, &dir, NULL);
    if (r == 0)
        r = part_path(store, digest, size, &part, NULL);
    if (r == 0)
        r = blob_path(store, digest, &whole);
    if (r == 0)
        r = lock_part(store, digest, &lock, NULL);
    if (r < 0)
        return r;
    map = sfs_store_map_of(part);
    if (!map)
        return -ENOMEM;
    /* Without a map nobody writes to the data. */
    if (unlink(map) < 0 || rename(part, whole) < 0)
        return -errno;
    return 0;
}

void sfs_store_drop_blob(struct sfs_store *store, const struct sfs_digest *digest, int fd)
{
    char key[SFS_DIGEST_TEXT];
    sfs_store_drop_file(store, SFS_STORE_BLOB, sfs_digest_print(digest, key), fd);
}
