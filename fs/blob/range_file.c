/* A sparse file and its map. An entry is written after its block, so a process that is killed in
 * between leaves a block that is not there. */
#include "blob/range_file.h"

#include <errno.h>
#include <fcntl.h>
#include <isa-l/crc64.h>
#include <stagefs/format.h>
#include <sys/stat.h>

#define MAP_MAGIC   "SFSPART3"
#define ENTRIES_MAX 512 /* looked at in one go */

/* In front of the entries: 8 bytes for each block, 0 for one that is not there. */
struct map_head {
    char magic[8];
    uint64_t size; /* of the blob */
};
_Static_assert(sizeof(struct map_head) == 16, "on-disk struct");

struct sfs_range_file {
    int data_fd, map_fd;
    uint64_t size;
    uint32_t blocks;
};

uint32_t sfs_range_blocks(uint64_t size)
{
    return (uint32_t)((size + SFS_RANGE_BLOCK - 1) / SFS_RANGE_BLOCK);
}

size_t sfs_range_block_size(uint64_t size, uint32_t block)
{
    uint64_t left = size - (uint64_t)block * SFS_RANGE_BLOCK;
    return left < SFS_RANGE_BLOCK ? (size_t)left : SFS_RANGE_BLOCK;
}

static off_t entry_at(uint32_t block)
{
    return (off_t)(sizeof(struct map_head) + sizeof(uint64_t) * block);
}

/* Never 0, which says that a block is not there. */
static uint64_t checksum(const void *data, size_t size)
{
    uint64_t sum = crc64_ecma_refl(0, data, size);
    return sum ? sum : 1;
}

static int write_all_at(int fd, const void *data, size_t size, off_t offset)
{
    const char *from = data;
    while (size > 0) {
        ssize_t n = pwrite(fd, from, size, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        from += n;
        offset += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Whoever comes first gives both their form; two who do so at once write the same. */
static int give_form(const struct sfs_range_file *file)
{
    struct map_head head, expected = { .magic = MAP_MAGIC, .size = file->size };
    struct stat st;
    ssize_t n = sfs_io_read_at(file->map_fd, &head, sizeof head, 0);
    if (n < 0)
        return (int)n;
    if (n == sizeof head && memcmp(head.magic, MAP_MAGIC, sizeof head.magic) != 0) {
        /* A version of stagefs with other blocks has made it. (If it still runs, each takes what
         * the other writes for damaged, by the checksums, and fetches it.) */
        if (ftruncate(file->map_fd, 0) < 0)
            return -errno;
        n = 0;
    }
    if (n == sizeof head && head.size != file->size)
        return -EBADMSG;
    if (ftruncate(file->map_fd, entry_at(file->blocks)) < 0)
        return -errno;
    int r = n == sizeof head ? 0 : write_all_at(file->map_fd, &expected, sizeof expected, 0);
    if (r < 0)
        return r;
    if (fstat(file->data_fd, &st) < 0)
        return -errno;
    if ((uint64_t)st.st_size != file->size && ftruncate(file->data_fd, (off_t)file->size) < 0)
        return -errno;
    return 0;
}

int sfs_range_file_open(int *data_fd, int *map_fd, uint64_t size, struct sfs_range_file **ret_file,
                        struct sfs_error *err)
{
    AUTO(sfs_close_fd) int data = TAKE_FD(*data_fd);
    AUTO(sfs_close_fd) int map = TAKE_FD(*map_fd);
    if (size == 0 || size > SFS_RANGE_MAX_SIZE)
        return sfs_fail(err, EBADMSG, "a blob of %llu byte%s is not kept", (unsigned long long)size,
                        sfs_plural(size));
    AUTO(sfs_range_file_close) struct sfs_range_file *file = malloc(sizeof *file);
    if (!file)
        return sfs_fail_memory(err);
    *file = (struct sfs_range_file){ .data_fd = TAKE_FD(data),
                                     .map_fd = TAKE_FD(map),
                                     .size = size,
                                     .blocks = sfs_range_blocks(size) };
    int r = give_form(file);
    if (r < 0)
        return sfs_fail_errno(err, -r, "a file of fetched bytes");
    *ret_file = TAKE(file);
    return 0;
}

void sfs_range_file_close(struct sfs_range_file **file)
{
    if (*file) {
        sfs_close_fd(&(*file)->data_fd);
        sfs_close_fd(&(*file)->map_fd);
    }
    free(*file);
    *file = NULL;
}

int sfs_range_file_data(const struct sfs_range_file *file)
{
    return file->data_fd;
}

void sfs_range_file_look(const struct sfs_range_file *file, uint32_t first, uint32_t count,
                         bool *ret_there)
{
    uint64_t entries[ENTRIES_MAX];
    while (count > 0) {
        uint32_t part = count < ENTRIES_MAX ? count : ENTRIES_MAX;
        ssize_t wanted = (ssize_t)(sizeof *entries * part);
        ssize_t n =
            sfs_io_read_at(file->map_fd, entries, (size_t)wanted, (uint64_t)entry_at(first));
        for (uint32_t i = 0; i < part; i++)
            *ret_there++ = n == wanted && entries[i] != 0;
        first += part;
        count -= part;
    }
}

uint32_t sfs_range_file_next_gap(const struct sfs_range_file *file, uint32_t from)
{
    bool there[ENTRIES_MAX];
    while (from < file->blocks) {
        uint32_t left = file->blocks - from, part = left < ENTRIES_MAX ? left : ENTRIES_MAX;
        sfs_range_file_look(file, from, part, there);
        for (uint32_t i = 0; i < part; i++)
            if (!there[i])
                return from + i;
        from += part;
    }
    return from;
}

int sfs_range_file_read(const struct sfs_range_file *file, uint32_t block, void *buf)
{
    uint64_t sum = 0;
    size_t size = sfs_range_block_size(file->size, block);
    ssize_t n = sfs_io_read_at(file->map_fd, &sum, sizeof sum, (uint64_t)entry_at(block));
    if (n != sizeof sum || sum == 0)
        return n < 0 ? -EIO : -ENOENT;
    n = sfs_io_read_at(file->data_fd, buf, size, (uint64_t)block * SFS_RANGE_BLOCK);
    if (n == (ssize_t)size && checksum(buf, size) == sum)
        return 0;
    sfs_range_file_drop(file, block, 1);
    return -ENOENT;
}

/* Was the file made a whole blob? Then the map is gone, and nobody writes to it any more. */
static bool is_closed(const struct sfs_range_file *file)
{
    struct stat st;
    return fstat(file->map_fd, &st) < 0 || st.st_nlink == 0;
}

int sfs_range_file_write(const struct sfs_range_file *file, uint32_t first, uint32_t count,
                         const void *data)
{
    uint64_t sums[SFS_RANGE_TOGETHER];
    const char *from = data, *end = from;
    if (is_closed(file))
        return -ESTALE;
    for (uint32_t i = 0; i < count; i++) {
        size_t size = sfs_range_block_size(file->size, first + i);
        sums[i] = checksum(end, size);
        end += size;
    }
    int r = write_all_at(file->data_fd, from, (size_t)(end - from), (off_t)first * SFS_RANGE_BLOCK);
    return r < 0 ? r : write_all_at(file->map_fd, sums, sizeof *sums * count, entry_at(first));
}

void sfs_range_file_drop(const struct sfs_range_file *file, uint32_t first, uint32_t count)
{
    static const uint64_t none[ENTRIES_MAX];
    while (count > 0 && !is_closed(file)) {
        uint32_t part = count < ENTRIES_MAX ? count : ENTRIES_MAX;
        if (write_all_at(file->map_fd, none, sizeof *none * part, entry_at(first)) < 0)
            return;
        first += part;
        count -= part;
    }
}

static int set_lock(const struct sfs_range_file *file, short type, uint32_t first, uint32_t count)
{
    struct flock lock = { .l_type = type,
                          .l_whence = SEEK_SET,
                          .l_start = entry_at(first),
                          .l_len = entry_at(count) - entry_at(0) };
    if (fcntl(file->map_fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    /* Where locks are not to be had, the same bytes are fetched twice, and that is all. */
    return type == F_WRLCK && (errno == EAGAIN || errno == EACCES) ? -EAGAIN : 0;
}

int sfs_range_file_lock(const struct sfs_range_file *file, uint32_t first, uint32_t count)
{
    return set_lock(file, F_WRLCK, first, count);
}

uint32_t sfs_range_file_lock_start(const struct sfs_range_file *file, uint32_t block)
{
    struct flock lock = { .l_type = F_WRLCK,
                          .l_whence = SEEK_SET,
                          .l_start = entry_at(block),
                          .l_len = sizeof(uint64_t) };
    if (fcntl(file->map_fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK ||
        lock.l_start < entry_at(0))
        return UINT32_MAX;
    return (uint32_t)((lock.l_start - entry_at(0)) / (off_t)sizeof(uint64_t));
}

void sfs_range_file_unlock(const struct sfs_range_file *file, uint32_t first, uint32_t count)
{
    set_lock(file, F_UNLCK, first, count);
}
