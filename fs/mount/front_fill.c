/* The front reads straight into its own pages, and asynchronously. A fault that comes meanwhile
 * stands behind what was asked for, so now and then the last byte is waited for: what is under way
 * at a time is little. */
#include "mount/front_fill.h"

#include "base/io.h"
#include "tree/learned.h"
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel brings no more than this for one call. */
#define STEP (128u << 10)
_Static_assert(SFS_LEARNED_BLOCK % STEP == 0, "a step lies in one block");
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

static void bring(const struct sfs_front_fill *fill, int fd, sfs_ino ino,
                  const struct sfs_ranges *ranges)
{
    uint64_t steps = 0, end = 0;
    for (size_t i = 0; i < ranges->count; i++) {
        struct sfs_range left = ranges->items[i];
        while (left.size > 0) {
            const uint64_t room = STEP - left.offset % STEP;
            const struct sfs_range step = { left.offset, left.size < room ? left.size : room };
            if (atomic_load(fill->stop))
                return;
            left = (struct sfs_range){ left.offset + step.size, left.size - step.size };
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
