/* A tar file as named files: one pass over its headers, bodies skipped by seeking; a member is then
 * a range of the file. A name that comes twice means the last one, as after an extraction. */
#include "image/members.h"

#include "base/limits.h"
#include "base/array.h"
#include "layer/tar_stream.h"
#include <stagefs/format.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#define MAX_MEMBERS (1u << 20)
#define READ_BLOCK  (64u << 10)

enum kind { KIND_FILE, KIND_SYMLINK, KIND_HARDLINK, KIND_SPARSE, KIND_OTHER };

struct archive_member {
    char *name;            /* without "./" and "//" */
    char *link;            /* KIND_SYMLINK, KIND_HARDLINK: the target, as written */
    uint64_t offset, size; /* where its bytes are in the tar */
    uint32_t position;     /* its number in the tar: of equal names the last one counts */
    enum kind kind;
};

struct tar_members {
    struct sfs_members base;
    int fd;
    uint64_t file_size;
    bool complete; /* the tar's end mark was found */
    struct archive_member *members;
    size_t count, capacity;
};

/* `path` seen from directory `dir` (NULL: the root), without ".", ".." and doubled slashes.
 * NULL: it leads out of the archive, or there is no memory. */
static char *join_path(const char *dir, const char *path)
{
    size_t dir_size = dir && path[0] != '/' ? strlen(dir) : 0;
    char *joined = malloc(dir_size + strlen(path) + 2);
    if (!joined)
        return NULL;
    size_t end = 0;
    if (dir_size > 0)
        memcpy(joined, dir, end = dir_size);
    for (const char *p = path; *p;) {
        size_t size = strcspn(p, "/");
        if (size == 2 && p[0] == '.' && p[1] == '.') {
            if (end == 0) {
                free(joined);
                return NULL;
            }
            while (end > 0 && joined[--end] != '/')
                continue;
        } else if (size > 0 && !(size == 1 && p[0] == '.')) {
            if (end > 0)
                joined[end++] = '/';
            memcpy(joined + end, p, size);
            end += size;
        }
        p += size + (p[size] == '/');
    }
    joined[end] = 0;
    return joined;
}

static int compare_names(const void *a, const void *b)
{
    const struct archive_member *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->position > y->position) - (x->position < y->position);
}

static const struct archive_member *find_member(const struct tar_members *tar, const char *name)
{
    size_t low = 0, high = tar->count;
    while (low < high) { /* first one behind `name` */
        size_t middle = low + (high - low) / 2;
        if (strcmp(tar->members[middle].name, name) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && strcmp(tar->members[low - 1].name, name) == 0 ? &tar->members[low - 1] : NULL;
}

static int fail_missing(const struct tar_members *tar, const char *name, struct sfs_error *err)
{
    if (tar->complete)
        return sfs_fail(err, ENOENT, "%s has no member %.200s", tar->base.label, name);
    return sfs_fail(err, EBADMSG, "%s is truncated: it has no end mark, and no member %.200s",
                    tar->base.label, name);
}

/* Follows links inside the archive: old versions of `docker save` write equal layers as links. */
static int resolve(const struct tar_members *tar, const char *name,
                   const struct archive_member **ret_member, struct sfs_error *err)
{
    AUTO(sfs_free) char *path = join_path(NULL, name);
    for (int hop = 0; path && hop < SFS_MAX_LINK_HOPS; hop++) {
        const struct archive_member *member = find_member(tar, path);
        if (!member)
            return fail_missing(tar, path, err);
        if (member->kind == KIND_FILE) {
            *ret_member = member;
            return 0;
        }
        if (member->kind == KIND_SPARSE)
            return sfs_fail(err, ENOTSUP,
                            "%s: member %.200s is a sparse file; write the archive without "
                            "tar --sparse",
                            tar->base.label, name);
        if (member->kind == KIND_OTHER)
            return sfs_fail(err, EBADMSG, "%s: member %.200s is not a regular file",
                            tar->base.label, name);
        char *slash = strrchr(path, '/');
        if (slash)
            *slash = 0;
        char *next = join_path(member->kind == KIND_SYMLINK && slash ? path : NULL, member->link);
        free(path);
        path = next;
    }
    return sfs_fail(err, EBADMSG, "%s: member %.200s leads nowhere", tar->base.label, name);
}

static int tar_open(struct sfs_members *members, const char *name, struct sfs_blob **ret_blob,
                    struct sfs_error *err)
{
    const struct tar_members *tar = (struct tar_members *)members;
    const struct archive_member *member = NULL;
    int r = resolve(tar, name, &member, err);
    if (r < 0)
        return r;
    AUTO(sfs_close_fd) int fd = fcntl(tar->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return sfs_fail_errno(err, errno, "%s", members->label);
    AUTO(sfs_free) char *label = NULL;
    label = sfs_format("%s: %s", members->label, member->name);
    if (!label)
        return sfs_fail_memory(err);
    return sfs_blob_open_file(&fd, label, member->offset, member->size, ret_blob, err);
}

static void tar_close(struct sfs_members *members)
{
    struct tar_members *tar = (struct tar_members *)members;
    for (size_t i = 0; i < tar->count; i++) {
        free(tar->members[i].name);
        free(tar->members[i].link);
    }
    free(tar->members);
    sfs_close_fd(&tar->fd);
}

static const struct sfs_members_ops tar_ops = { .open = tar_open, .close = tar_close };

/* ---- reading the headers ---- */

struct tar_scan {
    struct tar_members *tar;
    struct sfs_tar_stream *stream;
    uint64_t at;  /* what comes next of the file */
    char *block;  /* READ_BLOCK bytes of it */
    uint64_t end; /* where the last member ends */
};

static void scan_done(struct tar_scan *scan)
{
    sfs_tar_stream_close(&scan->stream);
    free(scan->block);
}

static int lend_file(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err)
{
    struct tar_scan *scan = user;
    ssize_t n = sfs_io_read_at(scan->tar->fd, scan->block, READ_BLOCK, scan->at);
    if (n < 0)
        return sfs_fail_errno(err, (int)-n, "reading %s", scan->tar->base.label);
    scan->at += (uint64_t)n;
    *ret_data = scan->block;
    *ret_size = (size_t)n;
    return 0;
}

static int skip_file(void *user, uint64_t size, uint64_t *ret_skipped, struct sfs_error *err)
{
    struct tar_scan *scan = user;
    (void)err;
    uint64_t left = scan->tar->file_size - scan->at;
    *ret_skipped = size < left ? size : left;
    scan->at += *ret_skipped;
    return 0;
}

static enum kind kind_of(const struct sfs_tar_member *member)
{
    if (member->hard_link)
        return KIND_HARDLINK;
    if (S_ISLNK(member->inode.mode))
        return KIND_SYMLINK;
    if (!S_ISREG(member->inode.mode))
        return KIND_OTHER;
    uint64_t size = member->inode.size;
    bool is_whole = size == 0 || (member->extent_count == 1 && member->extents[0].size == size);
    return is_whole ? KIND_FILE : KIND_SPARSE;
}

/* Where the member's bytes end in the tar. */
static uint64_t end_of(const struct sfs_tar_member *member)
{
    if (member->extent_count == 0)
        return member->data_offset;
    const struct sfs_extent *last = &member->extents[member->extent_count - 1];
    return last->data_offset + last->size;
}

/* Notes one member. Names that lead out of the archive are of no use to an image: they are passed
 * over. */
static int add_member(struct tar_members *tar, const struct sfs_tar_member *member,
                      uint32_t position, struct sfs_error *err)
{
    struct archive_member own = { .kind = kind_of(member), .position = position };
    if (end_of(member) > tar->file_size)
        return sfs_fail(err, EBADMSG,
                        "%s is truncated: member %.200s does not fit into its %" PRIu64 " bytes",
                        tar->base.label, member->name, tar->file_size);
    if (SFS_ARRAY_GROW(tar->members, tar->count, tar->capacity, 64) < 0)
        return sfs_fail_memory(err);
    own.offset = member->extent_count > 0 ? member->extents[0].data_offset : member->data_offset;
    own.size = own.kind == KIND_FILE ? member->inode.size : 0;
    own.name = join_path(NULL, member->name);
    if (!own.name)
        return 0;
    own.link = member->link ? strdup(member->link) : NULL;
    tar->members[tar->count++] = own;
    return member->link && !own.link ? sfs_fail_memory(err) : 0;
}

/* Is there a block of zeros where the last member ends? */
static bool has_end_mark(const struct tar_members *tar, uint64_t end)
{
    char block[SFS_TAR_BLOCK];
    end = (end + sizeof block - 1) / sizeof block * sizeof block;
    return sfs_io_read_at(tar->fd, block, sizeof block, end) == (ssize_t)sizeof block &&
           sfs_tar_is_zero_block(block);
}

/* Tells a file that is no tar from one whose headers are refused. */
static int fail_headers(const struct tar_members *tar, int code, struct sfs_error *err)
{
    char block[SFS_TAR_BLOCK];
    if (code != -EBADMSG && code != -E2BIG)
        return code;
    if (sfs_io_read_at(tar->fd, block, sizeof block, 0) != (ssize_t)sizeof block ||
        !sfs_tar_is_header(block))
        return sfs_fail(err, EBADMSG, "%s is not a tar file", tar->base.label);
    return sfs_fail_while(err, code, "%s", tar->base.label);
}

static int read_headers(struct tar_scan *scan, struct sfs_error *err)
{
    struct tar_members *tar = scan->tar;
    for (uint32_t position = 0;; position++) {
        struct sfs_tar_member member;
        int r = sfs_tar_stream_next(scan->stream, &member, err);
        if (r < 0)
            return fail_headers(tar, r, err);
        if (r == 0)
            break;
        if (position == MAX_MEMBERS)
            return sfs_fail(err, E2BIG, "%s has more than %u members", tar->base.label,
                            MAX_MEMBERS);
        r = add_member(tar, &member, position, err);
        if (r < 0)
            return r;
        scan->end = end_of(&member);
    }
    tar->complete = has_end_mark(tar, scan->end);
    if (tar->count > 0)
        qsort(tar->members, tar->count, sizeof *tar->members, compare_names);
    return 0;
}

static int index_tar(struct tar_members *tar, struct sfs_error *err)
{
    AUTO(scan_done) struct tar_scan scan = { .tar = tar, .block = malloc(READ_BLOCK) };
    const struct sfs_tar_source source = { .next = lend_file, .user = &scan, .skip = skip_file };
    scan.stream = sfs_tar_stream_open(&source);
    return scan.block && scan.stream ? read_headers(&scan, err) : sfs_fail_memory(err);
}

/* Refuses a compressed file, whose ranges cannot be read without decoding all that is before
 * them. */
static int refuse_compressed(const struct tar_members *tar, struct sfs_error *err)
{
    static const struct {
        const char *magic, *name, *tool;
        size_t size;
    } kinds[] = {
        { "\x1f\x8b", "gzip", "gunzip", 2 },
        { "\x28\xb5\x2f\xfd", "zstd", "unzstd", 4 },
        { "\xfd"
          "7zXZ",
          "xz", "unxz", 5 },
        { "BZh", "bzip2", "bunzip2", 3 },
    };
    char start[8] = { 0 };
    ssize_t n = sfs_io_read_at(tar->fd, start, sizeof start, 0);
    if (n < 0)
        return sfs_fail_errno(err, (int)-n, "reading %s", tar->base.label);
    if (n == 0)
        return sfs_fail(err, EBADMSG, "%s is empty", tar->base.label);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (memcmp(start, kinds[i].magic, kinds[i].size) == 0)
            return sfs_fail(err, ENOTSUP,
                            "%s is compressed as a whole (%s), so nothing in it can be read "
                            "lazily; unpack it first: %s < %s > FILE.tar",
                            tar->base.label, kinds[i].name, kinds[i].tool, tar->base.label);
    return 0;
}

static int check_file(struct tar_members *tar, struct sfs_error *err)
{
    struct stat st;
    if (fstat(tar->fd, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", tar->base.label);
    if (S_ISDIR(st.st_mode))
        return sfs_fail(err, EINVAL, "%s is a directory; for an OCI layout write oci:%s",
                        tar->base.label, tar->base.label);
    if (!S_ISREG(st.st_mode))
        return sfs_fail(err, EINVAL, "%s is not a regular file", tar->base.label);
    tar->file_size = (uint64_t)st.st_size;
    return refuse_compressed(tar, err);
}

int sfs_members_open_tar(const char *path, struct sfs_members **ret_members, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return sfs_fail_errno(err, errno, "%s", path);
    struct tar_members *tar = calloc(1, sizeof *tar);
    if (!tar)
        return sfs_fail_memory(err);
    *tar = (struct tar_members){ .base = { .ops = &tar_ops, .label = strdup(path) },
                                 .fd = TAKE_FD(fd) };
    AUTO(sfs_members_close) struct sfs_members *members = &tar->base;
    if (!members->label)
        return sfs_fail_memory(err);
    int r = check_file(tar, err);
    if (r == 0)
        r = index_tar(tar, err);
    if (r < 0)
        return r;
    *ret_members = TAKE(members);
    return 0;
}
