/* How a file is decoded into the store without being in the way of readers. */
#include "mount/keep.h"

#include "blob/spans.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#define PIECE (1u << 20)
/* After so many bytes, writing to the disk is begun, so that the sync at the end has little to
 * do. */
#define FLUSH (8u << 20)
/* The pause between two pieces while others read: they get the cores, and this goes on at up to
 * 50 MB/s. */
#define STEP_BACK_MS 20

static void step_back(const struct sfs_keep *keep, uint64_t *seen)
{
    uint64_t reads = atomic_load(&keep->stats->requests[SFS_REQUEST_READ].count);
    struct timespec pause = { .tv_nsec = STEP_BACK_MS * 1000000 };
    if (reads != *seen)
        nanosleep(&pause, NULL);
    *seen = reads;
}

/* Asks for the room of the whole file first: if there is none, no time is lost, and the file lies
 * in one piece. */
static int reserve(int fd, uint64_t size)
{
    if (size == 0 || fallocate(fd, 0, 0, (off_t)size) == 0)
        return 0;
    return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno;
}

static int write_bytes(const struct sfs_keep *keep, const struct sfs_tree *tree, sfs_node node,
                       int fd, struct sfs_error *err)
{
    struct sfs_attr attr;
    sfs_tree_attr(tree, node, &attr);
    int r = reserve(fd, attr.size);
    uint64_t seen = 0, flushed = 0;
    for (uint64_t at = 0; at < attr.size && r == 0;) {
        if (atomic_load(&keep->stop))
            return sfs_fail(err, ECANCELED, "stopped");
        step_back(keep, &seen);
        AUTO(sfs_slice_release) struct sfs_slice slice = { 0 };
        r = sfs_tree_pin(tree, node, at, PIECE, &slice, err);
        if (r < 0)
            return r;
        r = sfs_io_write_all(fd, slice.data, slice.size);
        at += slice.size;
        if (at - flushed >= FLUSH) {
            (void)sync_file_range(fd, (off_t)flushed, (off_t)(at - flushed), SYNC_FILE_RANGE_WRITE);
            flushed = at;
        }
    }
    return r < 0 ? sfs_fail_errno(err, -r, "writing to the cache directory") : 0;
}

int sfs_keep_file(struct sfs_keep *keep, const struct sfs_tree *tree, sfs_node node,
                  const char *name, struct sfs_error *err)
{
    struct sfs_attr attr;
    sfs_tree_attr(tree, node, &attr);
    int r = sfs_store_make_room(keep->store, SFS_STORE_FILE, keep->limit, attr.size, err);
    if (r < 0)
        return r;
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    r = sfs_store_start_file(keep->store, SFS_STORE_FILE, &temp, err);
    if (r == 0)
        r = write_bytes(keep, tree, node, temp.fd, err);
    if (r == 0)
        r = sfs_store_commit_file(keep->store, SFS_STORE_FILE, name, &temp, err);
    return r;
}

int sfs_keep_open(const struct sfs_keep *keep, const char *name, uint64_t size, int *ret_fd,
                  struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = -1;
    int r = sfs_store_open_file(keep->store, SFS_STORE_FILE, name, &fd, err);
    if (r < 0)
        return r;
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
        return sfs_fail(err, ENOENT, "the kept file is not whole");
    *ret_fd = TAKE_FD(fd);
    return 0;
}
