/* What the cache directory holds, and what goes first where there is too much. */
#include "layer/store_parts.h"

#include "base/array.h"
#include <stagefs/format.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

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
    AUTO(sfs_free) char *path = sfs_format("%s/%s", store->dir, sfs_store_places[kind].dir);
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
        if (!sfs_store_read_name(entry->d_name, sfs_store_places[kind].suffix, item.key) ||
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
    for (size_t kind = 0; kind < SFS_STORE_KINDS && r == 0; kind++)
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
    AUTO(sfs_free) char *map = sfs_store_map_of(part);
    if (map)
        unlink(map);
}

/* Removes the item. 1: done; 0: it is in use, or gone already. */
static int remove_item(struct sfs_store *store, const struct sfs_store_item *item,
                       struct sfs_error *err)
{
    char name[SFS_STORE_KEY + 8];
    AUTO(sfs_free) char *path = NULL;
    int r = sfs_store_make_name(item->key, sfs_store_places[item->kind].suffix, name, err);
    if (r < 0)
        return r;
    path = sfs_format("%s/%s/%s", store->dir, sfs_store_places[item->kind].dir, name);
    if (!path)
        return sfs_fail_memory(err);
    AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    /* What somebody has put there since is not what was chosen, and may be in use. */
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || !sfs_store_is_named(fd, path))
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
