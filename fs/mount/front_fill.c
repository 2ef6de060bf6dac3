/* The front reads straight into its own pages, and asynchronously. A fault that comes meanwhile
 * stands behind what was asked for, so now and then the last byte is waited for: what is under way
 * at a time is little. */
#include "mount/front_fill.h"

#include "base/io.h"
#include "tree/learned.h"
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel brings no more than this for one call. */
#define STEP (128u << 10)
_Static_assert(SFS_LEARNED_BLOCK % STEP == 0, "a step lies in one block");
#define PAGE 4096u
/* So many calls are under way at a time. */
#define STEPS_AT_A_TIME 32

/* False: the front has failed, and is asked no more. */
static bool wait_for(int fd, uint64_t end)
{
    char byte;
    return pread(fd, &byte, 1, (off_t)(end - 1)) >= 0;
}

static void ask(int fd, struct sfs_range range)
{
    posix_fadvise(fd, (off_t)range.offset, (off_t)range.size, POSIX_FADV_WILLNEED);
}

/* Takes off *left its first part that lies in one step. */
static struct sfs_range next_step(struct sfs_range *left)
{
    const uint64_t room = STEP - left->offset % STEP;
    const struct sfs_range step = { left->offset, left->size < room ? left->size : room };
    *left = (struct sfs_range){ left->offset + step.size, left->size - step.size };
    return step;
}

static void bring(const struct sfs_front_fill *fill, int fd, sfs_ino ino,
                  const struct sfs_ranges *ranges)
{
    uint64_t steps = 0, end = 0;
    for (size_t i = 0; i < ranges->count; i++) {
        struct sfs_range left = ranges->items[i];
        while (left.size > 0) {
            const struct sfs_range step = next_step(&left);
            if (atomic_load(fill->stop))
                return;
            if (sfs_fill_spares(fill->ahead, ino, step))
                continue;
            ask(fd, step);
            end = step.offset + step.size;
            if (++steps % STEPS_AT_A_TIME == 0 && !wait_for(fd, end))
                return;
        }
    }
    if (end > 0)
        wait_for(fd, end);
}

/* Opens a file if it is a regular one, without touching what is not: with --dev a device of the
 * image would be one of the host, and what is written above a file may be anything. -1: it is
 * not. */
static int open_regular(int root, const char *path)
{
    struct open_how how = { .flags = O_PATH | O_CLOEXEC,
                            .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };
    AUTO(sfs_close_fd) int place = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    struct stat st;
    char link[64];
    if (place < 0 || fstat(place, &st) < 0 || !S_ISREG(st.st_mode))
        return -1;
    snprintf(link, sizeof link, "/proc/thread-self/fd/%d", place);
    return open(link, O_RDONLY | O_CLOEXEC);
}

void sfs_front_fill_file(const struct sfs_front_fill *fill, sfs_ino ino, const struct sfs_use *use)
{
    if (use->ranges.count == 0)
        return;
    AUTO(sfs_close_fd) int fd = open_regular(fill->root, use->path);
    if (fd >= 0)
        bring(fill, fd, ino, &use->ranges);
}

/* --- what it has ------------------------------------------------------------------------------ */

/* Tells of the pages of a step that are in the cache. */
static bool look_at_step(const struct sfs_front_look *look, int fd, sfs_ino ino,
                         struct sfs_range step)
{
    unsigned char is_cached[STEP / PAGE];
    const uint64_t start = step.offset / PAGE * PAGE, end = step.offset + step.size;
    const size_t size = (size_t)(end - start), pages = (size + PAGE - 1) / PAGE;
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, (off_t)start);
    if (map == MAP_FAILED)
        return false;
    bool is_known = mincore(map, size, is_cached) == 0;
    munmap(map, size);
    for (size_t i = 0; is_known && i < pages; i++) {
        const uint64_t at = start + i * PAGE, left = end - at;
        if (is_cached[i] & 1)
            look->seen(look->user, ino, (struct sfs_range){ at, left < PAGE ? left : PAGE });
    }
    return is_known;
}

bool sfs_front_look_at(const struct sfs_front_look *look, sfs_ino ino, const struct sfs_use *use)
{
    AUTO(sfs_close_fd)
    int fd = -1; /* opened for the first step that was left: most files have none */
    for (size_t i = 0; i < use->ranges.count; i++)
        for (struct sfs_range left = use->ranges.items[i]; left.size > 0;) {
            const struct sfs_range step = next_step(&left);
            if (!look->is_left(look->user, ino, step))
                continue;
            if (fd < 0)
                fd = open_regular(look->root, use->path);
            if (fd < 0 || !look_at_step(look, fd, ino, step))
                return false;
        }
    return true;
}
