/* Reading file bytes: slices of decoded spans are lent by the tree and written to the kernel from
 * where they lie. An answer must be whole, since the kernel takes a short one for the file's
 * end. */
#include "mount/server.h"

#include "base/wanted.h"
#include "blob/spans.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* Spans are hundreds of KiB and more, a request is 1 MiB at most; only files cut into many small
 * extents need more slices, and those are copied. */
#define MAX_SLICES 64

struct gathered {
    struct sfs_slice slices[MAX_SLICES];
    struct iovec iov[MAX_SLICES];
    int count;
    size_t size;
};

static void release(struct gathered *gathered)
{
    for (int i = 0; i < gathered->count; i++)
        sfs_slice_release(&gathered->slices[i]);
    gathered->count = 0;
}

static void add_slice(struct gathered *gathered, const struct sfs_slice *slice)
{
    union {
        const void *from;
        void *to;
    } data = { .from = slice->data }; /* iovec knows no const */
    gathered->slices[gathered->count] = *slice;
    gathered->iov[gathered->count] = (struct iovec){ .iov_base = data.to, .iov_len = slice->size };
    gathered->count++;
    gathered->size += slice->size;
}

/* Gathers slices of the range. Stops early, without failing, when there is no room for more. */
static int gather(struct sfs_server *server, sfs_ino ino, const struct sfs_place *place,
                  struct sfs_range range, struct gathered *gathered, struct sfs_error *err)
{
    for (size_t got = 0; got < range.size && gathered->count < MAX_SLICES;) {
        struct sfs_slice slice = { 0 };
        int r =
            sfs_server_pin(server, ino, place, range.offset + got, range.size - got, &slice, err);
        if (r < 0)
            return r;
        add_slice(gathered, &slice);
        got += slice.size;
    }
    return 0;
}

static int answer_lent(fuse_req_t req, sfs_ino ino, const struct sfs_place *place, uint64_t offset,
                       size_t size, struct sfs_error *err)
{
    struct gathered gathered;
    gathered.count = 0;
    gathered.size = 0;
    int r =
        gather(sfs_server_of(req), ino, place, (struct sfs_range){ offset, size }, &gathered, err);
    if (r == 0 && gathered.size == size)
        fuse_reply_iov(req, gathered.iov, gathered.count);
    else if (r == 0)
        r = -E2BIG;
    release(&gathered);
    return r;
}

static int answer_copied(fuse_req_t req, const struct sfs_place *place, uint64_t offset,
                         size_t size, struct sfs_error *err)
{
    AUTO(sfs_free) char *data = malloc(size);
    if (!data)
        return sfs_fail_memory(err);
    ssize_t got = sfs_tree_read(place->tree, place->node, data, size, offset, err);
    if (got < 0)
        return (int)got;
    if ((size_t)got != size)
        return sfs_fail(err, EIO, "a read of %zu bytes gave %zd", size, got);
    fuse_reply_buf(req, data, size);
    return 0;
}

/* Answers, or returns why not. `size` lies inside the file. */
static int answer(fuse_req_t req, sfs_ino ino, const struct sfs_place *place, uint64_t offset,
                  size_t size, struct sfs_error *err)
{
    int r = answer_lent(req, ino, place, offset, size, err);
    return r == -E2BIG ? answer_copied(req, place, offset, size, err) : r;
}

/* If a read failed for lack of memory: drops what is kept decoded, and says that it may be tried
 * again. */
static bool made_room(struct sfs_server *server, int r)
{
    if (r != -ENOMEM || !server->options->cache)
        return false;
    sfs_cache_drop(server->options->cache);
    return true;
}

/* Answers a read that failed. A lack of memory is told apart from damage, since another try may
 * succeed. */
static void fail_read(fuse_req_t req, struct sfs_server *server, const struct sfs_place *place,
                      int r, const struct sfs_error *err)
{
    struct sfs_error ends;
    bool is_overdue = r == -EINTR && sfs_server_is_overdue(server);
    if (is_overdue)
        sfs_fail(&ends, EIO, "the mount ends while a read waits: %s", err->text);
    if (r != -EINTR || is_overdue)
        sfs_server_warn(server, place, is_overdue ? &ends : err);
    fuse_reply_err(req, r == -ENOMEM || (r == -EINTR && !is_overdue) ? -r : EIO);
}

/* Finds the file. -errno: there is nothing to read from. */
static int locate_file(struct sfs_server *server, sfs_ino ino, struct sfs_place *ret_place,
                       uint64_t *ret_size)
{
    if (!sfs_forest_locate(&server->forest, ino, ret_place))
        return -ESTALE;
    if (!ret_place->tree)
        return -EISDIR;
    struct sfs_attr attr;
    sfs_tree_attr(ret_place->tree, ret_place->node, &attr);
    if (!S_ISREG(attr.mode))
        return S_ISDIR(attr.mode) ? -EISDIR : -EINVAL;
    *ret_size = attr.size;
    return 0;
}

/* Tells of a read, before it is answered, all that watch reads: the caller, learner, fill. */
static void touch(fuse_req_t req, const struct sfs_place *place, sfs_ino ino, uint64_t file_size,
                  struct sfs_range range)
{
    struct sfs_server *server = sfs_server_of(req);
    const struct sfs_mount_options *options = server->options;
    if (options->touch)
        options->touch(options->user, place->index, place->node, range.offset, range.size);
    if (sfs_server_learns_of(req))
        sfs_learner_read(server->learner, ino, range);
    if (server->ahead)
        sfs_fill_touch(server->ahead, ino, file_size, range);
}

/* Tells the decoder of a read that was answered, unless it had nothing to do with it. */
static void follow(struct sfs_server *server, sfs_ino ino, const struct sfs_place *place,
                   struct sfs_range range)
{
    if (!sfs_pack_has_some(server->pack, ino, range))
        sfs_tree_follow(place->tree, place->node, range.offset, range.size);
}

/* Is a process about to end? Its threads have SIGKILL pending, whatever signal it was. (The number
 * is a thread's; 0: it lives where this process cannot see it.) Where there is no /proc, nothing is
 * known of it. */
static bool is_dying(pid_t thread)
{
    char path[32], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)thread);
    AUTO(sfs_close_fd) int fd = thread > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return thread > 0 && errno == ENOENT && access("/proc/self/status", F_OK) == 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    const char *pending = strstr(text, "\nSigPnd:");
    return pending && strtoull(pending + 8, NULL, 16) & (1u << (SIGKILL - 1));
}

/* A read that waits for another machine ends when its process is killed, which could not end before
 * that. Other signals do not end it: the kernel reads pages, and would take that for damage. */
static bool is_wanted(void *user)
{
    fuse_req_t req = user;
    return !sfs_server_is_overdue(sfs_server_of(req)) &&
           (!fuse_req_interrupted(req) || !is_dying(fuse_req_ctx(req)->pid));
}

void sfs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                 struct fuse_file_info *info)
{
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_READ);
    struct sfs_place place;
    uint64_t file_size;
    int r = locate_file(server, ino, &place, &file_size);
    if (r < 0) {
        fuse_reply_err(req, -r);
        return;
    }
    uint64_t start = (uint64_t)offset;
    if (start >= file_size) {
        fuse_reply_buf(req, NULL, 0);
        return;
    }
    if (size > file_size - start)
        size = (size_t)(file_size - start);
    if (server->recorder)
        sfs_recorder_read(server->recorder, ino, start, size);
    if (server->passthrough)
        sfs_passthrough_read(server->passthrough, info->fh, size);
    touch(req, &place, ino, file_size, (struct sfs_range){ start, size });
    struct sfs_error err;
    const struct sfs_wanted wanted = { is_wanted, req };
    sfs_wanted_set(&wanted);
    r = answer(req, ino, &place, start, size, &err);
    if (made_room(server, r))
        r = answer(req, ino, &place, start, size, &err);
    sfs_wanted_set(NULL);
    if (r == 0) {
        follow(server, ino, &place, (struct sfs_range){ start, size });
        atomic_fetch_add_explicit(&server->stats.bytes_read, size, memory_order_relaxed);
        return;
    }
    fail_read(req, server, &place, r, &err);
}

/* The target may be out of an index that somebody else made: then it is compared with the layer
 * first, which may wait. */
static void answer_link(fuse_req_t req, const struct sfs_place *place)
{
    struct sfs_server *server = sfs_server_of(req);
    struct sfs_error err;
    const struct sfs_wanted wanted = { is_wanted, req };
    sfs_wanted_set(&wanted);
    int r = sfs_tree_confirm(place->tree, place->node, &err);
    sfs_wanted_set(NULL);
    if (r < 0)
        fail_read(req, server, place, r, &err);
    else
        fuse_reply_readlink(req, sfs_tree_target(place->tree, place->node));
}

void sfs_op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_READLINK);
    struct sfs_place place;
    sfs_server_note(req, ino, SFS_USE_LINK);
    if (!sfs_forest_locate(&server->forest, ino, &place))
        fuse_reply_err(req, ESTALE);
    else if (!place.tree)
        fuse_reply_err(req, EINVAL);
    else
        answer_link(req, &place);
}

/* --- the row of all files --------------------------------------------------------------------- */

static const char zeros[SFS_FLAT_PAGE];

/* The part at `offset`, cut to what is wanted of it. */
static struct sfs_flat_part find_part(const struct sfs_flat *flat, uint64_t offset, uint64_t size)
{
    struct sfs_flat_part part = { .zeros = SFS_FLAT_PAGE }; /* the page of a row without files */
    sfs_flat_find(flat, offset, &part);
    if (part.size > size)
        part.size = size;
    if (part.zeros > size - part.size)
        part.zeros = size - part.size;
    return part;
}

static int read_part(const struct sfs_flat_part *part, char *to, struct sfs_error *err)
{
    const struct sfs_place *place = &part->place;
    ssize_t got = part->size > 0
                      ? sfs_tree_read(place->tree, place->node, to, part->size, part->start, err)
                      : 0;
    if (got < 0)
        return (int)got;
    if ((size_t)got != part->size)
        return sfs_fail(err, EIO, "a read of %zu bytes gave %zd", (size_t)part->size, got);
    memset(to + part->size, 0, part->zeros);
    return 0;
}

/* Answers by copying, where there are too many files, or slices of them, for one answer. */
static int answer_flat_copied(fuse_req_t req, const struct sfs_flat *flat, uint64_t offset,
                              size_t size, struct sfs_flat_part *part, struct sfs_error *err)
{
    AUTO(sfs_free) char *data = malloc(size);
    if (!data)
        return sfs_fail_memory(err);
    for (size_t got = 0; got < size; got += part->size + part->zeros) {
        *part = find_part(flat, offset + got, size - got);
        int r = read_part(part, data + got, err);
        if (r < 0)
            return r;
    }
    fuse_reply_buf(req, data, size);
    return 0;
}

/* Answers without copying. *part: the part that was looked at last, after a failure too. */
static int answer_flat(fuse_req_t req, struct sfs_server *server, uint64_t offset, size_t size,
                       struct sfs_flat_part *part, struct sfs_error *err)
{
    struct gathered gathered;
    gathered.count = 0;
    gathered.size = 0;
    int r = 0;
    while (r == 0 && gathered.size < size && gathered.count < MAX_SLICES) {
        size_t before = gathered.size;
        *part = find_part(server->flat, offset + before, size - before);
        if (part->size > 0) {
            touch(req, &part->place, part->ino, part->file_size,
                  (struct sfs_range){ part->start, part->size });
            r = gather(server, part->ino, &part->place,
                       (struct sfs_range){ part->start, part->size }, &gathered, err);
        }
        if (r == 0 && gathered.size < before + part->size)
            break;
        if (r == 0 && part->zeros > 0 && gathered.count < MAX_SLICES)
            add_slice(&gathered, &(struct sfs_slice){ .data = zeros, .size = part->zeros });
    }
    if (r == 0 && gathered.size == size)
        fuse_reply_iov(req, gathered.iov, gathered.count);
    else if (r == 0)
        r = answer_flat_copied(req, server->flat, offset, size, part, err);
    release(&gathered);
    return r;
}

void sfs_op_read_flat(fuse_req_t req, size_t size, off_t offset)
{
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_READ);
    uint64_t start = (uint64_t)offset, end = sfs_flat_size(server->flat);
    if (start >= end) {
        fuse_reply_buf(req, NULL, 0);
        return;
    }
    if (size > end - start)
        size = (size_t)(end - start);
    struct sfs_error err;
    struct sfs_flat_part part = { 0 };
    const struct sfs_wanted wanted = { is_wanted, req };
    sfs_wanted_set(&wanted);
    int r = answer_flat(req, server, start, size, &part, &err);
    if (made_room(server, r))
        r = answer_flat(req, server, start, size, &part, &err);
    sfs_wanted_set(NULL);
    if (r == 0) {
        if (part.size > 0)
            follow(server, part.ino, &part.place, (struct sfs_range){ part.start, part.size });
        atomic_fetch_add_explicit(&server->stats.bytes_read, size, memory_order_relaxed);
        return;
    }
    fail_read(req, server, &part.place, r, &err);
}

static int seek(struct sfs_server *server, sfs_ino ino, off_t offset, int whence,
                uint64_t *ret_found)
{
    struct sfs_place place;
    uint64_t size;
    int r = locate_file(server, ino, &place, &size);
    if (r < 0)
        return r;
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
        return -EINVAL;
    if (offset < 0 || (uint64_t)offset >= size)
        return -ENXIO;
    r = sfs_tree_seek(place.tree, place.node, (uint64_t)offset, whence == SEEK_HOLE, ret_found);
    /* Only a hole is left behind the offset: no data. */
    return r == 0 && whence == SEEK_DATA && *ret_found >= size ? -ENXIO : r;
}

void sfs_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
                  struct fuse_file_info *info)
{
    (void)info;
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, SFS_REQUEST_LSEEK);
    uint64_t found = 0;
    int r = seek(server, ino, offset, whence, &found);
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_lseek(req, (off_t)found);
}
