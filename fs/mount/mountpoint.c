/* What is mounted where is read from mountinfo, as the calling thread sees it: it may have a mount
 * namespace of its own. Whether a server lives is not asked of the mountpoint by stat(): attributes
 * that the kernel keeps outlive the server. */
#include "mount/mountpoint.h"

#include "mount/control.h"
#include <stagefs/format.h>
#include <errno.h>
#include <limits.h>
#include <stagefs/auto.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MAX_DEAD_MOUNTS 16 /* so many, one over another, are cleared */
#define MOUNTINFO       "/proc/thread-self/mountinfo"

/* The real path of the parent, with the name behind it. The name itself cannot be looked at, since
 * its server is dead or lets nobody else in, not even root. */
static char *resolve_parent(const char *mountpoint)
{
    AUTO(sfs_free) char *copy = strdup(mountpoint);
    if (!copy)
        return NULL;
    size_t size = strlen(copy);
    while (size > 1 && copy[size - 1] == '/')
        copy[--size] = 0;
    char *slash = strrchr(copy, '/');
    const char *name = slash ? slash + 1 : copy;
    AUTO(sfs_free) char *parent = NULL;
    if (slash == copy) {
        parent = strdup("");
    } else {
        if (slash)
            *slash = 0;
        parent = realpath(slash ? copy : ".", NULL);
    }
    return parent ? sfs_format("%s/%s", parent, name) : NULL;
}

int sfs_mountpoint_resolve(const char *mountpoint, char **ret_path, struct sfs_error *err)
{
    if (!*mountpoint)
        return sfs_fail(err, EINVAL, "the mountpoint's name is empty");
    char *path = realpath(mountpoint, NULL);
    if (!path && (errno == ENOTCONN || errno == ECONNABORTED || errno == EIO || errno == EACCES))
        path = resolve_parent(mountpoint);
    if (!path)
        return sfs_fail_errno(err, errno, "mountpoint %s", mountpoint);
    *ret_path = path;
    return 0;
}

/* Decodes, in place, what mountinfo writes as \ooo: blank, tab, newline and backslash. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        bool octal = from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
                     from[2] <= '7' && from[3] >= '0' && from[3] <= '7';
        if (octal) {
            *to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = 0;
}

struct mount_line {
    long id;
    const char *path;
    struct sfs_mounted mounted;
};

/* "36 35 98:0 / /mnt ro - fuse.stagefs source options": id, parent, device, root, mountpoint,
 * options and optional fields, a dash, type, source, options of the file system. */
static bool parse_line(char *text, struct mount_line *line)
{
    char *rest = text, *fields[5] = { 0 };
    unsigned major, minor;
    for (int i = 0; i < 5; i++)
        fields[i] = strsep(&rest, " ");
    line->id = strtol(fields[0], NULL, 10);
    if (!rest || sscanf(fields[2], "%u:%u", &major, &minor) != 2)
        return false;
    char *dash = strstr(rest, " - ");
    if (!dash)
        return false;
    rest = dash + 3;
    const char *type = strsep(&rest, " ");
    char *source = strsep(&rest, " \n");
    if (!source)
        return false;
    const char *owner = rest ? strstr(rest, "user_id=") : NULL;
    unescape(fields[4]);
    unescape(source);
    line->path = fields[4];
    line->mounted.owner = owner ? (uid_t)strtoul(owner + strlen("user_id="), NULL, 10) : 0;
    line->mounted.device = makedev(major, minor);
    snprintf(line->mounted.type, sizeof line->mounted.type, "%s", type);
    snprintf(line->mounted.source, sizeof line->mounted.source, "%s", source);
    return true;
}

/* The last one that is mounted on `path`, or, if that is NULL, has the id: later lines lie over
 * earlier ones. */
static int find_line(const char *path, long id, struct sfs_mounted *ret_mounted,
                     struct sfs_error *err)
{
    AUTO(sfs_close_file) FILE *file = fopen(MOUNTINFO, "re");
    if (!file)
        return sfs_fail_errno(err, errno, MOUNTINFO);
    AUTO(sfs_free) char *text = NULL;
    size_t capacity = 0;
    bool found = false;
    while (getline(&text, &capacity, file) >= 0) {
        struct mount_line line;
        if (!parse_line(text, &line) || !(path ? strcmp(line.path, path) == 0 : line.id == id))
            continue;
        *ret_mounted = line.mounted;
        found = true;
    }
    return found ? 0 : -ENOENT;
}

int sfs_mountpoint_find(const char *path, struct sfs_mounted *ret_mounted, struct sfs_error *err)
{
    int r = find_line(path, 0, ret_mounted, err);
    return r == -ENOENT ? sfs_fail(err, ENOENT, "nothing is mounted on %s", path) : r;
}

/* The id of the mount that fd was opened by; -1: not known. A device number would not do: a file in
 * an overlay has one of its own. */
static long mount_of(int fd)
{
    char name[64], line[64];
    long id = -1;
    snprintf(name, sizeof name, "/proc/thread-self/fdinfo/%d", fd);
    AUTO(sfs_close_file) FILE *file = fopen(name, "re");
    while (file && id < 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "mnt_id: %ld", &id) != 1)
            id = -1;
    return id;
}

int sfs_mountpoint_find_fd(int fd, struct sfs_mounted *ret_mounted, struct sfs_error *err)
{
    int r = find_line(NULL, mount_of(fd), ret_mounted, err);
    return r == -ENOENT ? sfs_fail(err, ENOENT, "nothing is mounted that way") : r;
}

static bool is_front(const struct sfs_mounted *mounted)
{
    bool known = strcmp(mounted->type, "erofs") == 0 || strcmp(mounted->type, "overlay") == 0;
    return known && strstr(mounted->source, SFS_FRONT_DIR) == mounted->source;
}

/* The source ends with both numbers: SFS_FRONT_DIR. */
pid_t sfs_mounted_server(const struct sfs_mounted *mounted)
{
    int pid;
    unsigned long namespace;
    const char *dot = strrchr(mounted->source, '.');
    if (!is_front(mounted) || !dot || sscanf(dot, ".%d-%lu", &pid, &namespace) != 2)
        return 0;
    return pid > 0 && namespace == sfs_control_pid_namespace() ? pid : 0;
}

bool sfs_mounted_is_ours(const struct sfs_mounted *mounted)
{
    return strcmp(mounted->type, "fuse.stagefs") == 0 || is_front(mounted);
}

/* Does the process run? Its stat is "1234 (stagefs) Z ..."; one that was killed, and that its
 * parent has not waited for, has ended, too. */
static bool is_running(pid_t pid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    AUTO(sfs_close_file) FILE *file = fopen(path, "re");
    if (!file || !fgets(text, sizeof text, file))
        return errno != ENOENT && errno != ESRCH;
    const char *state = strrchr(text, ')');
    return !state || !state[1] || !strchr("ZX", state[2]);
}

/* Has the process of a front ended? That it has no socket here does not tell: a live one in another
 * network namespace has none either. */
static bool has_ended(pid_t server)
{
    return sfs_control_ask(server, 0, NULL) == -ECONNREFUSED && !is_running(server);
}

bool sfs_mounted_is_dead(const struct sfs_mounted *mounted, const char *path)
{
    struct statfs st;
    pid_t server = sfs_mounted_server(mounted);
    if (is_front(mounted))
        return server > 0 && has_ended(server);
    bool fuse = strcmp(mounted->type, "fuse") == 0 || strncmp(mounted->type, "fuse.", 5) == 0;
    return fuse && statfs(path, &st) < 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

/* May only root go through this directory? */
static bool is_roots(const char *dir)
{
    struct stat st;
    return stat(dir, &st) == 0 && st.st_uid == 0 && !(st.st_mode & (S_IXGRP | S_IXOTH));
}

bool sfs_mountpoint_is_private(const char *path)
{
    AUTO(sfs_free) char *dir = strdup(path);
    char *slash = dir ? strrchr(dir, '/') : NULL;
    for (; slash && slash > dir; slash = strrchr(dir, '/')) {
        *slash = 0;
        if (*dir && is_roots(dir))
            return true;
    }
    return false;
}

static int clear_dead(const char *path, struct sfs_error *err)
{
    for (int i = 0; i < MAX_DEAD_MOUNTS; i++) {
        struct sfs_mounted mounted;
        int r = sfs_mountpoint_find(path, &mounted, err);
        if (r == -ENOENT)
            return 0;
        if (r < 0)
            return r;
        if (!sfs_mounted_is_dead(&mounted, path)) {
            if (sfs_mounted_is_ours(&mounted))
                return sfs_fail(err, EBUSY, "%s is already mounted (%s)", path, mounted.source);
            return sfs_fail(err, EBUSY, "%s is a mountpoint already (%s, %s)", path, mounted.type,
                            mounted.source);
        }
        r = sfs_mountpoint_detach(path, true, err);
        if (r < 0)
            return sfs_fail_while(err, r, "clearing the dead mount on %s", path);
    }
    return sfs_fail(err, EBUSY, "%s has too many dead mounts, one over another", path);
}

int sfs_mountpoint_prepare(const char *mountpoint, char **ret_path, struct sfs_error *err)
{
    AUTO(sfs_free) char *path = NULL;
    int r = sfs_mountpoint_resolve(mountpoint, &path, err);
    if (r < 0)
        return r;
    r = clear_dead(path, err);
    if (r < 0)
        return r;
    struct stat st;
    if (stat(path, &st) < 0)
        return sfs_fail_errno(err, errno, "mountpoint %s", mountpoint);
    if (!S_ISDIR(st.st_mode))
        return sfs_fail(err, ENOTDIR, "mountpoint %s is not a directory", mountpoint);
    if (geteuid() != 0 && access(path, W_OK) < 0)
        return sfs_fail(err, EACCES,
                        "mountpoint %s is not writable by you; only root may mount there",
                        mountpoint);
    *ret_path = TAKE(path);
    return 0;
}
