/* Walks a directory tree with a stack of its own: what is taken, what is left out, hard links,
 * holes. */
#include "layer/dir_scan.h"

#include "base/limits.h"
#include "layer/layer.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define MAX_NAMED      3 /* so many names are told of what is left out */
#define CONFIGFS_MAGIC 0x62656570
#define FUSE_CTL_MAGIC 0x65735543

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* A file with several names. */
struct seen_inode {
    struct {
        uint64_t dev, ino;
    } id;
    char *path; /* the path under which it was seen first; owned */
    UT_hash_handle hh;
};

/* Files of one kind that are left out. */
struct left_out {
    size_t count;
    struct sfs_buf names; /* the first MAX_NAMED paths */
};

struct dir_scan {
    int root;
    unsigned flags;
    struct sfs_builder *builder;
    struct sfs_dir_files *files;
    uint64_t dev;                     /* of the root */
    struct left_out sockets, systems; /* systems: file systems in which the kernel shows itself */
    struct seen_inode *links;         /* uthash */
    struct sfs_buf todo; /* a stack of paths of directories still to be read, NUL-terminated */
    struct sfs_buf path; /* path of the entry at hand */
    struct sfs_buf extents;
};

static void close_scan(struct dir_scan *scan)
{
    struct seen_inode *seen, *next;
    HASH_ITER(hh, scan->links, seen, next)
    {
        HASH_DEL(scan->links, seen);
        free(seen->path);
        free(seen);
    }
    sfs_buf_close(&scan->todo);
    sfs_buf_close(&scan->path);
    sfs_buf_close(&scan->extents);
    sfs_buf_close(&scan->sockets.names);
    sfs_buf_close(&scan->systems.names);
}

void sfs_dir_files_done(struct sfs_dir_files *files)
{
    sfs_buf_close(&files->files);
    sfs_buf_close(&files->paths);
    sfs_buf_close(&files->left_out);
}

/* ---- what is left out ---- */

static int leave_out(struct dir_scan *scan, struct left_out *kind, struct sfs_error *err)
{
    if (++kind->count <= MAX_NAMED)
        sfs_buf_printf(&kind->names, "%s%.200s", kind->count > 1 ? ", " : "", scan->path.data);
    return sfs_buf_check(&kind->names, err);
}

static void tell_kind(struct sfs_buf *text, const struct left_out *kind, const char *one,
                      const char *many)
{
    if (kind->count > 0)
        sfs_buf_printf(text, "%s%zu %s (%s%s)", text->size > 0 ? " and " : "", kind->count,
                       kind->count > 1 ? many : one, kind->names.data,
                       kind->count > MAX_NAMED ? ", ..." : "");
}

static int tell_left_out(const struct dir_scan *scan, struct sfs_error *err)
{
    struct sfs_buf *text = &scan->files->left_out;
    tell_kind(text, &scan->sockets, "socket", "sockets");
    tell_kind(text, &scan->systems, "file system of the kernel's own",
              "file systems of the kernel's own");
    return sfs_buf_check(text, err);
}

/* Is the file in a file system in which the kernel shows itself? Such files have no true sizes, and
 * their number has no end. */
static bool is_kernels_own(int fd)
{
    static const unsigned long magics[] = {
        PROC_SUPER_MAGIC, SYSFS_MAGIC,        CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
        DEBUGFS_MAGIC,    TRACEFS_MAGIC,      SECURITYFS_MAGIC,   BPF_FS_MAGIC,
        PSTOREFS_MAGIC,   EFIVARFS_MAGIC,     DEVPTS_SUPER_MAGIC, BINFMTFS_MAGIC,
        SELINUX_MAGIC,    CONFIGFS_MAGIC,     NSFS_MAGIC,         RDTGROUP_SUPER_MAGIC,
        FUSE_CTL_MAGIC,   AUTOFS_SUPER_MAGIC,
    };
    struct statfs st;
    if (fstatfs(fd, &st) < 0)
        return false;
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if ((unsigned long)st.f_type == magics[i])
            return true;
    return false;
}

/* ---- reading ---- */

static void close_stream(DIR **stream)
{
    if (*stream)
        closedir(*stream);
}

/* Opens component by component, so paths may be of any length. */
int sfs_dir_open_below(int root, const char *path, int flags)
{
    AUTO(sfs_close_fd) int dir = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (;;) {
        char name[SFS_MAX_NAME + 1];
        size_t size = strcspn(path, "/");
        if (dir < 0)
            return -errno;
        if (size > SFS_MAX_NAME)
            return -ENAMETOOLONG;
        memcpy(name, path, size);
        name[size] = '\0';
        bool last = path[size] == '\0';
        int wanted = last ? flags : O_PATH | O_DIRECTORY;
        int fd = openat(dir, size ? name : ".", wanted | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || last)
            return fd < 0 ? -errno : fd;
        close(dir);
        dir = fd;
        path += size + 1;
    }
}

static int add_extent(struct dir_scan *scan, off_t from, off_t to)
{
    struct sfs_extent extent = { .file_offset = (uint64_t)from,
                                 .data_offset = (uint64_t)from,
                                 .size = (uint64_t)(to - from) };
    return from < to ? sfs_buf_add(&scan->extents, &extent, sizeof extent) : 0;
}

/* Leaves holes out, where the file system tells; otherwise the file is one run. */
static int find_extents(struct dir_scan *scan, int fd, off_t size)
{
    scan->extents.size = 0;
    for (off_t at = 0; at < size;) {
        off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            return 0;
        off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
        if (hole <= data || data >= size)
            return add_extent(scan, at, size);
        if (add_extent(scan, data, hole < size ? hole : size) < 0)
            return -ENOMEM;
        at = hole;
    }
    return 0;
}

static int remember_file(struct dir_scan *scan, const struct stat *st,
                         struct sfs_builder_item *item, struct sfs_error *err)
{
    struct sfs_dir_file file = { .path = scan->files->paths.size,
                                 .dev = st->st_dev,
                                 .ino = st->st_ino };
    if (sfs_buf_add(&scan->files->paths, scan->path.data, scan->path.size + 1) < 0 ||
        sfs_buf_add(&scan->files->files, &file, sizeof file) < 0)
        return sfs_fail_memory(err);
    item->inode.source = scan->files->files.size / sizeof file - 1;
    item->extents = (const void *)scan->extents.data;
    item->extent_count = (uint32_t)(scan->extents.size / sizeof *item->extents);
    return 0;
}

static unsigned hash_id(const struct seen_inode *seen)
{
    return (unsigned)((seen->id.ino ^ seen->id.dev << 40) * 0x9e3779b97f4a7c15ull >> 32);
}

/* *ret_path: the path under which the file was seen first. NULL: this is the first one, and is
 * remembered. */
static int find_first_name(struct dir_scan *scan, const struct stat *st, const char **ret_path)
{
    struct seen_inode *seen = NULL, key = { .id = { st->st_dev, st->st_ino } };
    HASH_FIND_BYHASHVALUE(hh, scan->links, &key.id, sizeof key.id, hash_id(&key), seen);
    if (seen) {
        *ret_path = seen->path;
        return 0;
    }
    *ret_path = NULL;
    seen = calloc(1, sizeof *seen);
    if (!seen)
        return -ENOMEM;
    seen->id = key.id;
    seen->path = strdup(scan->path.data);
    if (seen->path)
        HASH_ADD_BYHASHVALUE(hh, scan->links, id, sizeof seen->id, hash_id(seen), seen);
    if (seen->path && seen->hh.tbl)
        return 0;
    free(seen->path);
    free(seen);
    return -ENOMEM;
}

static int read_target(int fd, char target[SFS_MAX_SYMLINK + 1])
{
    ssize_t size = readlinkat(fd, "", target, SFS_MAX_SYMLINK);
    if (size < 0)
        return -errno;
    target[size] = '\0';
    return 0;
}

static struct sfs_inode_rec make_inode(const struct stat *st)
{
    return (struct sfs_inode_rec){
        .size = (uint64_t)st->st_size,
        .mtime_sec = st->st_mtim.tv_sec,
        .mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
        .mode = st->st_mode,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .rdev_major = major(st->st_rdev),
        .rdev_minor = minor(st->st_rdev),
    };
}

static int add_entry(struct dir_scan *scan, int fd, const struct stat *st,
                     const struct sfs_dir_xattrs *xattrs, struct sfs_error *err)
{
    char target[SFS_MAX_SYMLINK + 1];
    struct sfs_builder_item item = { .inode = make_inode(st),
                                     .xattrs = xattrs->list,
                                     .xattr_count = xattrs->count };
    int r = 0;
    if (S_ISLNK(st->st_mode)) {
        r = read_target(fd, target);
        if (r < 0)
            return sfs_fail_errno(err, -r, "reading the link");
        item.target = target;
    } else if (S_ISREG(st->st_mode)) {
        if (find_extents(scan, fd, st->st_size) < 0)
            return sfs_fail_memory(err);
        r = remember_file(scan, st, &item, err);
    }
    if (r == 0)
        r = sfs_builder_add(scan->builder, scan->path.data, &item, err);
    if (r == 0 && xattrs->opaque && S_ISDIR(st->st_mode))
        r = sfs_builder_opaque(scan->builder, scan->path.data, err);
    return r;
}

/* Regular files are opened for reading so that holes can be asked for; others, and files that may
 * not be read, by name only. */
static int open_entry(int dir, const char *name, struct stat *st)
{
    AUTO(sfs_close_fd) int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, st) < 0)
        return -errno;
    if (!S_ISREG(st->st_mode))
        return TAKE_FD(fd);
    int readable = openat(dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
    struct stat again;
    if (readable < 0)
        return TAKE_FD(fd);
    if (fstat(readable, &again) < 0 || again.st_ino != st->st_ino || again.st_dev != st->st_dev) {
        close(readable);
        return -ESTALE;
    }
    return readable;
}

static int push_dir(struct dir_scan *scan, struct sfs_error *err)
{
    if (sfs_buf_add(&scan->todo, scan->path.data, scan->path.size + 1) < 0)
        return sfs_fail_memory(err);
    return 0;
}

/* Takes the entry whose path is scan->path into the builder. */
static int take_entry(struct dir_scan *scan, int dir, const char *name, struct sfs_error *err)
{
    bool overlay = scan->flags & SFS_LAYER_DIR_OVERLAY;
    struct stat st;
    AUTO(sfs_close_fd) int fd = open_entry(dir, name, &st);
    if (fd == -ENOENT) /* gone since it was listed */
        return 0;
    if (fd < 0)
        return sfs_fail_errno(err, -fd, "opening");
    if (S_ISSOCK(st.st_mode) && !(scan->flags & SFS_LAYER_DIR_STUBS))
        return leave_out(scan, &scan->sockets, err);
    if (S_ISSOCK(st.st_mode)) {
        st.st_mode = S_IFREG | (st.st_mode & 07777);
        st.st_size = 0;
    }
    if (overlay && S_ISCHR(st.st_mode) && st.st_rdev == 0)
        return sfs_builder_whiteout(scan->builder, scan->path.data, err);
    const char *first = NULL;
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && find_first_name(scan, &st, &first) < 0)
        return sfs_fail_memory(err);
    if (first)
        return sfs_builder_link(scan->builder, scan->path.data, first, err);

    AUTO(sfs_dir_xattrs_done) struct sfs_dir_xattrs xattrs = { 0 };
    int r = sfs_dir_xattrs_read(fd, overlay, &xattrs, err);
    if (r == 0 && xattrs.whiteout && S_ISREG(st.st_mode))
        return sfs_builder_whiteout(scan->builder, scan->path.data, err);
    if (r == 0)
        r = add_entry(scan, fd, &st, &xattrs, err);
    if (r < 0 || !S_ISDIR(st.st_mode))
        return r;
    bool is_mounted = st.st_dev != scan->dev && is_kernels_own(fd);
    return is_mounted ? leave_out(scan, &scan->systems, err) : push_dir(scan, err);
}

/* Makes scan->path the path of an entry of the directory whose path its first `dir_size` bytes
 * are. */
static int set_path(struct dir_scan *scan, size_t dir_size, const char *name)
{
    scan->path.size = dir_size;
    if (dir_size > 0 && sfs_buf_add_str(&scan->path, "/") < 0)
        return -ENOMEM;
    return sfs_buf_add_str(&scan->path, name);
}

/* Reads the directory whose path is scan->path. */
static int scan_dir(struct dir_scan *scan, struct sfs_error *err)
{
    int fd = sfs_dir_open_below(scan->root, scan->path.data, O_RDONLY | O_DIRECTORY);
    AUTO(close_stream) DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (fd < 0)
        return sfs_fail_errno(err, -fd, "%s", scan->path.data);
    if (!stream) {
        close(fd);
        return sfs_fail_memory(err);
    }
    size_t dir_size = scan->path.size;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry) {
            scan->path.data[dir_size] = '\0';
            return errno ? sfs_fail_errno(err, errno, "reading %s", scan->path.data) : 0;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (set_path(scan, dir_size, entry->d_name) < 0)
            return sfs_fail_memory(err);
        int r = take_entry(scan, fd, entry->d_name, err);
        if (r < 0)
            return sfs_fail_while(err, r, "%s", scan->path.data);
    }
}

/* Takes the path on top of the stack into scan->path. */
static int pop_dir(struct dir_scan *scan)
{
    size_t start = scan->todo.size - 1;
    while (start > 0 && scan->todo.data[start - 1] != '\0')
        start--;
    scan->path.size = 0;
    if (sfs_buf_add_str(&scan->path, scan->todo.data + start) < 0)
        return -ENOMEM;
    scan->todo.size = start;
    return 0;
}

static int add_root(struct dir_scan *scan, struct sfs_error *err)
{
    AUTO(sfs_dir_xattrs_done) struct sfs_dir_xattrs xattrs = { 0 };
    struct stat st;
    if (sfs_buf_add_str(&scan->path, "") < 0)
        return sfs_fail_memory(err);
    if (fstat(scan->root, &st) < 0)
        return sfs_fail_errno(err, errno, "reading its metadata");
    scan->dev = st.st_dev;
    int r = sfs_dir_xattrs_read(scan->root, scan->flags & SFS_LAYER_DIR_OVERLAY, &xattrs, err);
    if (r == 0)
        r = add_entry(scan, scan->root, &st, &xattrs, err);
    return r < 0 ? r : push_dir(scan, err);
}

int sfs_dir_scan(int root, unsigned flags, struct sfs_builder *builder, struct sfs_dir_files *files,
                 struct sfs_error *err)
{
    AUTO(close_scan)
    struct dir_scan scan = { .root = root, .flags = flags, .builder = builder, .files = files };
    int r = add_root(&scan, err);
    while (r == 0 && scan.todo.size > 0) {
        if (pop_dir(&scan) < 0)
            return sfs_fail_memory(err);
        r = scan_dir(&scan, err);
    }
    return r < 0 ? r : tell_left_out(&scan, err);
}
