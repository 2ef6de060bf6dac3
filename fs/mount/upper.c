/* Whose directory it is that writes go to, and the overlay that writes there. */
#include "mount/upper.h"

#include "base/buf.h"
#include "base/io.h"
#include "base/path.h"
#include "mount/asker.h"
#include "mount/loose_mount.h"
#include "mount/mountpoint.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#define NOTE      "stage"
#define NOTE_HEAD "stagefs-upper 1\n"
#define MAX_NOTE  (64u << 10)
/* The process of a mount ends a little after its unmounting. */
#define PATIENCE_MS 5000
#define STEP_MS     20

struct sfs_upper {
    const struct sfs_mount_options *options;
    char *dir; /* absolute */
    int fd;    /* the directory, open; holds the lock. Threads with files of their own lack it */
    dev_t dev; /* which directory that is */
    ino_t ino;
};

/* --- whose it is ------------------------------------------------------------------------------ */

/* A layer's name for messages holds the beginning of its digest. */
static int print_note(const struct sfs_mount_options *options, const struct sfs_tree *tree,
                      struct sfs_buf *note, struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf names = { 0 };
    char text[SFS_DIGEST_TEXT];
    struct sfs_digest digest;
    for (size_t i = 0; i < sfs_tree_layers(tree); i++)
        sfs_buf_printf(&names, "%s\n", sfs_tree_layer_label(tree, i));
    int r = sfs_buf_check(&names, err);
    if (r < 0)
        return r;
    if (sfs_digest_of(names.data, names.size, &digest) < 0)
        return sfs_fail_memory(err);
    sfs_buf_printf(note, NOTE_HEAD "%s\n%s\n", sfs_digest_print(&digest, text),
                   options->source ? options->source : "stagefs");
    return sfs_buf_check(note, err);
}

/* Do both notes name the same stage? Their last line, its name, may differ. */
static bool is_same_stage(const char *note, const char *wanted)
{
    size_t size = strlen(NOTE_HEAD) + strcspn(wanted + strlen(NOTE_HEAD), "\n") + 1;
    return strncmp(note, wanted, size) == 0;
}

static const char *name_in(const char *note)
{
    const char *line = note;
    for (int i = 0; i < 2 && line; i++) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return line && *line ? line : "another stage";
}

/* Fails if the directory holds anything; but a fresh disk has lost+found. */
static int check_empty(const struct sfs_upper *upper, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = openat(upper->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir)
        fd = -1;
    if (!dir)
        return sfs_fail_errno(err, errno, "%s", upper->dir);
    int r = 0;
    for (const struct dirent *entry; r == 0 && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, "lost+found") != 0)
            r = sfs_fail(err, EEXIST,
                         "--upper %s: holds other things (such as %s); take an empty directory",
                         upper->dir, entry->d_name);
    closedir(dir);
    return r;
}

static int check_note(const struct sfs_upper *upper, const struct sfs_tree *tree,
                      struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf wanted = { 0 };
    AUTO(sfs_free) char *note = NULL;
    size_t size;
    int r = print_note(upper->options, tree, &wanted, err);
    if (r < 0)
        return r;
    r = sfs_io_read_regular(upper->fd, NOTE, MAX_NOTE, &note, &size, err);
    if (r == -ENOENT) {
        char self[32];
        snprintf(self, sizeof self, "/proc/self/fd/%d", upper->fd);
        r = check_empty(upper, err);
        return r < 0 ? r : sfs_io_replace_file(self, NOTE, wanted.data, wanted.size, 0644, err);
    }
    if (r < 0)
        return sfs_fail_while(err, r, "--upper %s", upper->dir);
    if (is_same_stage(note, wanted.data))
        return 0;
    const char *name = name_in(note);
    return sfs_fail(err, EEXIST,
                    "--upper %s: was written over %.*s, whose layers are others; take another "
                    "directory, or remove %s/" NOTE " and all beside it",
                    upper->dir, (int)strcspn(name, "\n"), name, upper->dir);
}

/* --- making it -------------------------------------------------------------------------------- */

static int check_place(const struct sfs_upper *upper, const char *path, struct sfs_error *err)
{
    if (strcmp(path, upper->dir) == 0 || sfs_path_is_below(upper->dir, path) ||
        sfs_path_is_below(path, upper->dir))
        return sfs_fail(err, EINVAL, "--upper %s and the mountpoint %s lie in one another",
                        upper->dir, path);
    struct statfs st;
    if (fstatfs(upper->fd, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", upper->dir);
    if (st.f_type == OVERLAYFS_SUPER_MAGIC)
        return sfs_fail(err, ENOTSUP,
                        "--upper %s: is on an overlay (a container's root, perhaps), where the "
                        "kernel keeps no other's files; take a directory of a disk, a volume or a "
                        "tmpfs",
                        upper->dir);
    return 0;
}

static int lock_dir(const struct sfs_upper *upper, struct sfs_error *err)
{
    struct timespec pause = { .tv_nsec = STEP_MS * 1000000 };
    for (int waited = 0; flock(upper->fd, LOCK_EX | LOCK_NB) < 0; waited += STEP_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return sfs_fail_errno(err, errno, "locking %s", upper->dir);
        if (waited >= PATIENCE_MS)
            return sfs_fail(err, EBUSY,
                            "--upper %s: another mount writes to it, or one whose unmounting a "
                            "mount namespace (of a container, perhaps) has not seen",
                            upper->dir);
        nanosleep(&pause, NULL);
    }
    return 0;
}

/* Remembers which directory it is. Whoever else could put something there could have root write
 * where a symlink leads. */
static int check_owner(struct sfs_upper *upper, struct sfs_error *err)
{
    struct stat st;
    if (fstat(upper->fd, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", upper->dir);
    upper->dev = st.st_dev;
    upper->ino = st.st_ino;
    bool is_of_group = (st.st_mode & S_IWGRP) && st.st_gid != 0 && st.st_gid != getegid();
    if ((st.st_uid == 0 || st.st_uid == geteuid()) && !is_of_group && !(st.st_mode & S_IWOTH))
        return 0;
    return sfs_fail(err, EPERM,
                    "--upper %s: another user can write to it, and could have what is written land "
                    "elsewhere; take a directory that is yours alone to write to",
                    upper->dir);
}

/* A part that is a directory, and no symlink to one. */
static int open_part(const struct sfs_upper *upper, int dir, const char *part, int *ret_fd,
                     struct sfs_error *err)
{
    *ret_fd = openat(dir, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *ret_fd < 0 ? sfs_fail_errno(err, errno, "%s/%s", upper->dir, part) : 0;
}

/* Makes the directories. The upper one is the overlay's root, so it gets the attributes of the
 * tree's root; it gets its name last, so that it is complete wherever it exists. */
static int make_parts(const struct sfs_upper *upper, const struct sfs_tree *tree,
                      struct sfs_error *err)
{
    struct stat st;
    struct sfs_attr attr;
    AUTO(sfs_close_fd) int made = -1;
    sfs_tree_attr(tree, SFS_ROOT, &attr);
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
                                       { attr.mtime_sec, (long)attr.mtime_nsec } };
    if (mkdirat(upper->fd, "work", 0700) < 0 && errno != EEXIST)
        return sfs_fail_errno(err, errno, "%s/work", upper->dir);
    if (fstatat(upper->fd, "upper", &st, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    if (mkdirat(upper->fd, "upper.new", 0700) < 0 && errno != EEXIST)
        return sfs_fail_errno(err, errno, "%s/upper", upper->dir);
    int r = open_part(upper, upper->fd, "upper.new", &made, err);
    if (r == 0 &&
        (fchown(made, attr.uid, attr.gid) < 0 || fchmod(made, attr.mode & 07777) < 0 ||
         futimens(made, times) < 0 || renameat(upper->fd, "upper.new", upper->fd, "upper") < 0))
        r = sfs_fail_errno(err, errno, "%s/upper", upper->dir);
    return r;
}

int sfs_upper_open(const struct sfs_mount_options *options, const struct sfs_tree *tree,
                   const char *path, struct sfs_upper **ret_upper, struct sfs_error *err)
{
    int r = sfs_io_make_dirs(options->upper, err);
    if (r < 0)
        return r;
    AUTO(sfs_upper_close) struct sfs_upper *upper = calloc(1, sizeof *upper);
    if (!upper)
        return sfs_fail_memory(err);
    upper->options = options;
    upper->dir = realpath(options->upper, NULL);
    upper->fd = upper->dir ? open(upper->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (upper->fd < 0)
        return sfs_fail_errno(err, errno, "--upper %s", options->upper);
    r = check_place(upper, path, err);
    if (r == 0)
        r = check_owner(upper, err);
    if (r == 0)
        r = lock_dir(upper, err);
    if (r == 0)
        r = check_note(upper, tree, err);
    if (r == 0)
        r = make_parts(upper, tree, err);
    if (r < 0)
        return r;
    *ret_upper = TAKE(upper);
    return 0;
}

void sfs_upper_close(struct sfs_upper **upper)
{
    if (!*upper)
        return;
    sfs_close_fd(&(*upper)->fd);
    free((*upper)->dir);
    free(*upper);
    *upper = NULL;
}

/* --- mounting --------------------------------------------------------------------------------- */

/* Can nobody else put another directory in this one's place? */
static bool has_safe_path(const struct sfs_upper *upper)
{
    AUTO(sfs_free) char *dir = strdup(upper->dir);
    struct stat st;
    for (char *slash; dir && (slash = strrchr(dir, '/'));) {
        *slash = 0;
        if (stat(*dir ? dir : "/", &st) < 0 || (st.st_uid != 0 && st.st_uid != geteuid()) ||
            ((st.st_mode & 0022) && !(st.st_mode & S_ISVTX)))
            return false;
    }
    return dir;
}

/* The path of a part, as an option of the mount: by its name, which mountinfo then shows, or by a
 * descriptor if the name has what separates options, is too long for one, or could become another
 * directory's. *fd must stay open until all is mounted. */
static int name_part(const struct sfs_upper *upper, const char *part, int *fd, char **ret_path,
                     struct sfs_error *err)
{
    AUTO(sfs_close_fd) int dir = open(upper->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (dir < 0 || fstat(dir, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", upper->dir);
    if (st.st_dev != upper->dev || st.st_ino != upper->ino)
        return sfs_fail(err, ESTALE, "%s: is another directory now", upper->dir);
    int r = open_part(upper, dir, part, fd, err);
    if (r < 0)
        return r;
    AUTO(sfs_free) char *path = sfs_format("%s/%s", upper->dir, part);
    bool is_plain = path && !strpbrk(path, ",:\\") && strlen(path) < 256;
    *ret_path =
        is_plain && has_safe_path(upper) ? TAKE(path) : sfs_format("/proc/thread-self/fd/%d", *fd);
    return *ret_path ? 0 : sfs_fail_memory(err);
}

static int explain(const struct sfs_upper *upper, int r, struct sfs_error *err)
{
    if (r == -ENODEV)
        return sfs_fail(err, ENOTSUP, "--upper: this kernel has no overlays (modprobe overlay)");
    struct sfs_mounted mounted = { .type = "its file system" };
    AUTO(sfs_close_fd) int fd = open(upper->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    sfs_mountpoint_find_fd(fd, &mounted, NULL);
    if (r == -EINVAL || r == -ENOTSUP)
        return sfs_fail_while(err, -ENOTSUP,
                              "--upper %s: an overlay cannot write there (%s; it takes extended "
                              "attributes, whiteouts and types of names)",
                              upper->dir, mounted.type);
    return sfs_fail_while(err, r, "--upper %s", upper->dir);
}

/* Makes the overlay, without redirects and without files that hold metadata alone: so the directory
 * can be read by programs that know nothing of what lies below it. */
static int make_overlay(const struct sfs_upper *upper, const char *source, const char *path,
                        int *ret_fd, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int upper_fd = -1;
    AUTO(sfs_close_fd) int work_fd = -1;
    AUTO(sfs_close_fd) int lower_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO(sfs_free) char *up = NULL;
    AUTO(sfs_free) char *work = NULL;
    char lower[48];
    int r = name_part(upper, "upper", &upper_fd, &up, err);
    if (r == 0)
        r = name_part(upper, "work", &work_fd, &work, err);
    if (r < 0)
        return r;
    if (lower_fd < 0)
        return sfs_fail_errno(err, errno, "%s", path);
    snprintf(lower, sizeof lower, "/proc/thread-self/fd/%d", lower_fd);
    const struct sfs_mount_parameter parameters[] = {
        { "source", source }, { "lowerdir", lower }, { "upperdir", up },
        { "workdir", work },  { "metacopy", "off" }, { "redirect_dir", "nofollow" },
        { "index", "off" },   { "userxattr", NULL },
    };
    size_t count = sizeof parameters / sizeof *parameters - sfs_asker_is_of_machine(getpid());
    unsigned attributes =
        (upper->options->suid ? 0 : SFS_LOOSE_NOSUID) | (upper->options->dev ? 0 : SFS_LOOSE_NODEV);
    r = sfs_loose_mount("overlay", parameters, count, attributes, ret_fd, err);
    return r < 0 ? explain(upper, r, err) : 0;
}

int sfs_upper_mount(const struct sfs_upper *upper, const char *source, const char *path,
                    struct sfs_error *err)
{
    AUTO(sfs_close_fd) int overlay = -1;
    int r = make_overlay(upper, source, path, &overlay, err);
    if (r < 0)
        return r;
    /* From here on the overlay is what keeps the session. */
    if (umount2(path, MNT_DETACH) < 0)
        return sfs_fail_errno(err, errno, "unmounting %s", path);
    return sfs_loose_mount_attach(overlay, path, err);
}
