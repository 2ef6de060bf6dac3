/* Metadata of a file comes in an order that keeps all of it: owner, attributes (a new owner takes
 * capabilities away), mode (a new owner takes setuid away), time. Directories get theirs at the
 * end, the last one first, since what is made in them changes their time, and may need their
 * mode. */
#include "commit/extract.h"

#include "blob/spans.h"
#include "commit/read_plan.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <stagefs/format.h>

#define PIN         (1u << 20)
#define REPORT_STEP (8u << 20)

/* Kinds of extended attributes: a file system takes or refuses each as a whole, mostly. */
static const char *const xattr_kinds[] = { "user.", "trusted.", "security.", "system.posix_acl_",
                                           "" };
#define XATTR_KINDS (sizeof xattr_kinds / sizeof *xattr_kinds)

struct refused {
    uint64_t count;
    int code;         /* the error number of the first one */
    const char *path; /* the path of the first one; borrowed from the changes */
};

struct extraction {
    const struct sfs_extract *extract;
    struct sfs_error *err;
    struct sfs_read_plan ahead;
    uint64_t done, reported; /* file bytes that were written, and that were told of */
    struct sfs_buf parent;   /* the path of the directory that dirfd is */
    int dirfd;
    const char *path;     /* of the item at hand */
    uint64_t lost_owners; /* how many files did not get their owner */
    struct refused refused[XATTR_KINDS];
};

static void extraction_done(struct extraction *extraction)
{
    sfs_buf_close(&extraction->parent);
    sfs_close_fd(&extraction->dirfd);
}

static int fail_here(const struct extraction *extraction, int code, const char *what)
{
    return sfs_fail_errno(extraction->err, code, "%s: %s", extraction->path, what);
}

/* Opens a directory component by component, none of them a symlink. */
static int open_dir(const struct extraction *extraction, const char *path, size_t size, int *ret_fd)
{
    AUTO(sfs_close_fd) int fd = fcntl(extraction->extract->fd, F_DUPFD_CLOEXEC, 0);
    for (size_t start = 0; fd >= 0 && start < size;) {
        const char *slash = memchr(path + start, '/', size - start);
        size_t end = slash ? (size_t)(slash - path) : size;
        char name[NAME_MAX + 1];
        if (end - start > NAME_MAX)
            return fail_here(extraction, ENAMETOOLONG, "its directory");
        memcpy(name, path + start, end - start);
        name[end - start] = 0;
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int code = errno;
        sfs_close_fd(&fd);
        if (next < 0)
            return fail_here(extraction, code, "opening its directory");
        fd = next;
        start = end + 1;
    }
    if (fd < 0)
        return fail_here(extraction, errno, "opening its directory");
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Makes dirfd the directory of the item at hand; mostly it is that already. */
static int enter_parent(struct extraction *extraction)
{
    struct sfs_buf *parent = &extraction->parent;
    size_t size = (size_t)(base_of(extraction->path) - extraction->path);
    if (extraction->dirfd >= 0 && parent->size == size &&
        (size == 0 || memcmp(parent->data, extraction->path, size) == 0))
        return 0;
    sfs_close_fd(&extraction->dirfd);
    parent->size = 0;
    if (sfs_buf_add(parent, extraction->path, size) < 0)
        return sfs_fail_memory(extraction->err);
    return open_dir(extraction, extraction->path, size ? size - 1 : 0, &extraction->dirfd);
}

static void report(struct extraction *extraction, bool finished)
{
    const struct sfs_progress *progress = extraction->extract->progress;
    uint64_t total = extraction->extract->changes->file_bytes;
    if (!progress || !progress->report || total == 0)
        return;
    if (!finished &&
        (extraction->done < extraction->reported + REPORT_STEP || extraction->done >= total))
        return;
    progress->report(progress->user, "unpacking", finished ? total : extraction->done, total);
    extraction->reported = extraction->done;
}

/* ---- content ---- */

static int write_data(struct extraction *extraction, int fd, sfs_node node, uint64_t offset,
                      uint64_t end)
{
    while (offset < end) {
        sfs_read_plan_ask(&extraction->ahead, extraction->done);
        AUTO(sfs_slice_release) struct sfs_slice slice = { 0 };
        size_t wanted = end - offset < PIN ? (size_t)(end - offset) : PIN;
        int r =
            sfs_tree_pin(extraction->extract->tree, node, offset, wanted, &slice, extraction->err);
        if (r < 0)
            return sfs_fail_while(extraction->err, r, "%s", extraction->path);
        if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
            return fail_here(extraction, errno, "writing");
        r = sfs_io_write_all(fd, slice.data, slice.size);
        if (r < 0)
            return fail_here(extraction, -r, "writing");
        offset += slice.size;
        extraction->done += slice.size;
        report(extraction, false);
    }
    return 0;
}

/* Writes a file's bytes; holes stay holes. */
static int write_content(struct extraction *extraction, int fd, sfs_node node, uint64_t size)
{
    const struct sfs_tree *tree = extraction->extract->tree;
    if (ftruncate(fd, (off_t)size) < 0)
        return fail_here(extraction, errno, "writing");
    for (uint64_t offset = 0; offset < size;) {
        uint64_t data = size, hole = size;
        if (sfs_tree_seek(tree, node, offset, false, &data) < 0)
            data = size;
        extraction->done += data - offset;
        if (data < size && sfs_tree_seek(tree, node, data, true, &hole) < 0)
            hole = size;
        int r = write_data(extraction, fd, node, data, hole);
        if (r < 0)
            return r;
        offset = hole;
    }
    return 0;
}

/* ---- metadata: of a descriptor, or of a name in dirfd that is no symlink's target ---- */

static int set_owner(struct extraction *extraction, const char *name, int dirfd,
                     const struct sfs_attr *attr)
{
    if (attr->uid == geteuid() && attr->gid == getegid())
        return 0;
    if (fchownat(dirfd, name, attr->uid, attr->gid, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    /* Only root may; others go on without. */
    if ((errno != EPERM && errno != EACCES) || geteuid() == 0)
        return fail_here(extraction, errno, "setting its owner");
    extraction->lost_owners++;
    return 0;
}

/* Does the code mean that the file system has no room for an attribute (ENOSPC: ext4), does not
 * know it, or lets only root set it? The file is then written without it, and the user is told. */
static bool is_refusal(int code)
{
    return code == EPERM || code == EACCES || code == EOPNOTSUPP || code == ENOSPC ||
           code == E2BIG || code == ERANGE || code == EINVAL;
}

static void note_refusal(struct extraction *extraction, const char *name, int code)
{
    size_t kind = 0;
    while (strncmp(name, xattr_kinds[kind], strlen(xattr_kinds[kind])) != 0)
        kind++; /* the last kind, "", fits all names */
    struct refused *refused = &extraction->refused[kind];
    if (refused->count++ == 0) {
        refused->code = code;
        refused->path = extraction->path;
    }
}

/* Sets attributes by way of /proc, as there is no setxattrat() yet: it leads to the directory, and
 * no symlink in it is followed. */
static int set_xattrs(struct extraction *extraction, const char *name, int dirfd, sfs_node node)
{
    const struct sfs_tree *tree = extraction->extract->tree;
    uint32_t count = sfs_tree_xattr_count(tree, node);
    char path[64 + NAME_MAX];
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dirfd, name);
    for (uint32_t i = 0; i < count; i++) {
        struct sfs_xattr xattr = sfs_tree_xattr(tree, node, i);
        if (lsetxattr(path, xattr.name, xattr.value, xattr.size, 0) == 0)
            continue;
        if (!is_refusal(errno))
            return fail_here(extraction, errno, xattr.name);
        note_refusal(extraction, xattr.name, errno);
    }
    return 0;
}

static int set_time(struct extraction *extraction, const char *name, int dirfd,
                    const struct sfs_attr *attr)
{
    const struct sfs_extract *extract = extraction->extract;
    bool is_late = attr->mtime_sec > extract->epoch;
    struct timespec times[2] = {
        { .tv_nsec = UTIME_OMIT },
        { .tv_sec = (time_t)attr->mtime_sec, .tv_nsec = (long)attr->mtime_nsec },
    };
    if (extract->has_epoch && (is_late || extract->set_mtimes))
        times[1] = (struct timespec){ .tv_sec = (time_t)extract->epoch };
    if (utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return fail_here(extraction, errno, "setting its time");
    return 0;
}

/* Sets owner, attributes, mode and time of a name; "." is dirfd itself. */
static int set_metadata(struct extraction *extraction, const char *name, int dirfd, sfs_node node)
{
    struct sfs_attr attr;
    sfs_tree_attr(extraction->extract->tree, node, &attr);
    int r = set_owner(extraction, name, dirfd, &attr);
    if (r == 0)
        r = set_xattrs(extraction, name, dirfd, node);
    if (r == 0 && !S_ISLNK(attr.mode) && fchmodat(dirfd, name, attr.mode & 07777, 0) < 0)
        r = fail_here(extraction, errno, "setting its mode");
    return r == 0 ? set_time(extraction, name, dirfd, &attr) : r;
}

/* ---- items ---- */

static int make_file(struct extraction *extraction, const char *name, sfs_node node, uint64_t size)
{
    AUTO(sfs_close_fd)
    int fd =
        openat(extraction->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_here(extraction, errno, "making it");
    return write_content(extraction, fd, node, size);
}

static int make_special(struct extraction *extraction, const char *name,
                        const struct sfs_attr *attr)
{
    dev_t device = makedev(attr->rdev_major, attr->rdev_minor);
    bool is_device = S_ISCHR(attr->mode) || S_ISBLK(attr->mode);
    if (mknodat(extraction->dirfd, name, (attr->mode & S_IFMT) | 0600, is_device ? device : 0) == 0)
        return 0;
    if (errno == EPERM && is_device)
        return sfs_fail(extraction->err, EPERM,
                        "%s is a device, which only root can make: leave it out or be root",
                        extraction->path);
    return fail_here(extraction, errno, "making it");
}

static int make_link(struct extraction *extraction, const char *name, const struct sfs_item *item)
{
    const struct sfs_changes *changes = extraction->extract->changes;
    const char *first = sfs_changes_path(changes, &changes->items[item->first]);
    const char *base = base_of(first);
    AUTO(sfs_close_fd) int dirfd = -1;
    int r = open_dir(extraction, first, base > first ? (size_t)(base - first) - 1 : 0, &dirfd);
    if (r < 0)
        return r;
    return linkat(dirfd, base, extraction->dirfd, name, 0) < 0
               ? fail_here(extraction, errno, "linking it")
               : 0;
}

static int make_node(struct extraction *extraction, const char *name, const struct sfs_item *item)
{
    const struct sfs_tree *tree = extraction->extract->tree;
    struct sfs_attr attr;
    int r;
    sfs_tree_attr(tree, item->node, &attr);
    if (S_ISDIR(attr.mode))
        return mkdirat(extraction->dirfd, name, 0700) < 0
                   ? fail_here(extraction, errno, "making it")
                   : 0;
    if (S_ISREG(attr.mode))
        r = make_file(extraction, name, item->node, attr.size);
    else if (S_ISLNK(attr.mode))
        r = symlinkat(sfs_tree_target(tree, item->node), extraction->dirfd, name) < 0
                ? fail_here(extraction, errno, "making it")
                : 0;
    else
        r = make_special(extraction, name, &attr);
    return r == 0 ? set_metadata(extraction, name, extraction->dirfd, item->node) : r;
}

static int make_item(struct extraction *extraction, const struct sfs_item *item)
{
    extraction->path = sfs_changes_path(extraction->extract->changes, item);
    if (!*extraction->path || item->kind == SFS_ITEM_WHITEOUT)
        return 0; /* the root is there */
    int r = enter_parent(extraction);
    if (r < 0)
        return r;
    const char *name = base_of(extraction->path);
    return item->kind == SFS_ITEM_LINK ? make_link(extraction, name, item)
                                       : make_node(extraction, name, item);
}

static int finish_dir(struct extraction *extraction, const struct sfs_item *item)
{
    struct sfs_attr attr;
    sfs_tree_attr(extraction->extract->tree, item->node, &attr);
    extraction->path = sfs_changes_path(extraction->extract->changes, item);
    if (item->kind != SFS_ITEM_ENTRY || !S_ISDIR(attr.mode) || !*extraction->path)
        return 0;
    AUTO(sfs_close_fd) int fd = -1;
    int r = open_dir(extraction, extraction->path, strlen(extraction->path), &fd);
    return r == 0 ? set_metadata(extraction, ".", fd, item->node) : r;
}

static void warn_of_refused(const struct sfs_progress *progress, const char *kind,
                            const struct refused *refused)
{
    struct sfs_error words;
    bool takes_root = geteuid() != 0 && (refused->code == EPERM || refused->code == EACCES);
    sfs_fail(&words, refused->code,
             "%llu extended attributes %s* were not kept, such as of %s: %s%s",
             (unsigned long long)refused->count, kind, refused->path,
             takes_root ? "that takes root" : "the destination's file system says ",
             takes_root ? "" : strerror(refused->code));
    progress->warn(progress->user, words.text);
}

/* Warns once for each kind. */
static void warn_of_losses(const struct extraction *extraction)
{
    const struct sfs_progress *progress = extraction->extract->progress;
    struct sfs_error words;
    if (!progress || !progress->warn)
        return;
    if (extraction->lost_owners > 0) {
        sfs_fail(&words, EPERM, "owners of %llu file%s were not kept: that takes root",
                 (unsigned long long)extraction->lost_owners, sfs_plural(extraction->lost_owners));
        progress->warn(progress->user, words.text);
    }
    for (size_t i = 0; i < XATTR_KINDS; i++)
        if (extraction->refused[i].count > 0)
            warn_of_refused(progress, xattr_kinds[i], &extraction->refused[i]);
}

int sfs_extract(const struct sfs_extract *extract, struct sfs_error *err)
{
    const struct sfs_changes *changes = extract->changes;
    AUTO(extraction_done)
    struct extraction extraction = { .extract = extract,
                                     .err = err,
                                     .ahead = { .tree = extract->tree, .changes = changes },
                                     .dirfd = -1 };
    int r = 0;
    for (size_t i = 0; i < changes->count && r == 0; i++)
        r = make_item(&extraction, &changes->items[i]);
    for (size_t i = changes->count; i-- > 0 && r == 0;)
        r = finish_dir(&extraction, &changes->items[i]);
    extraction.path = "the root directory";
    if (r == 0)
        r = set_metadata(&extraction, ".", extract->fd, SFS_ROOT);
    if (r < 0)
        return r;
    report(&extraction, true);
    warn_of_losses(&extraction);
    return 0;
}
