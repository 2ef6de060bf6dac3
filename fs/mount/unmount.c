/* Unmounting, by umount2() or by fusermount3. */
#include "mount/mountpoint.h"

#include "base/program.h"
#include <errno.h>
#include <fcntl.h>
#include <stagefs/auto.h>
#include <stagefs/mount.h>
#include <sys/mount.h>
#include <unistd.h>

static bool is_program(const char *dir, size_t size)
{
    char path[512];
    int written = snprintf(path, sizeof path, "%.*s/fusermount3", (int)size, dir);
    return written < (int)sizeof path && access(path, X_OK) == 0;
}

bool sfs_mountpoint_has_helper(void)
{
    const char *path = getenv("PATH");
    for (const char *dir = path; dir && *dir; dir += dir[0] == ':') {
        size_t size = strcspn(dir, ":");
        if (is_program(dir, size))
            return true;
        dir += size;
    }
    return is_program("/usr/bin", strlen("/usr/bin")); /* libfuse looks there first */
}

/* Runs fusermount3, whose words go to `out`. Returns its exit status, or -errno. */
static int run_fusermount(const char *path, bool lazy, int out)
{
    const char *argv[] = { "fusermount3", lazy ? "-uz" : "-u", "--", path, NULL };
    pid_t pid = -1;
    int r = sfs_program_start(argv, (int[]){ -1, -1, out }, &pid);
    return r < 0 ? r : sfs_program_wait(pid);
}

static int fail_busy(const char *path, struct sfs_error *err)
{
    return sfs_fail(err, EBUSY, "%s is in use (fuser -vm %s shows by whom)", path, path);
}

/* The helper looks there before it unmounts anything. */
#define MTAB "/etc/mtab"

/* The helper is the only one who may unmount for an ordinary user; what it says is all we know. */
static int detach_as_user(const char *path, bool lazy, struct sfs_error *err)
{
    AUTO(sfs_close_file) FILE *words = tmpfile();
    if (!words)
        return sfs_fail_errno(err, errno, "making a temporary file");
    int r = run_fusermount(path, lazy, fileno(words));
    if (r == 0)
        return 0;
    if (r == -ENOENT)
        return sfs_fail(err, ENOENT, "unmounting %s: " SFS_NO_HELPER, path);
    if (r < 0)
        return sfs_fail_errno(err, -r, "running fusermount3");
    rewind(words);
    char text[256] = "";
    if (!fgets(text, sizeof text, words))
        return sfs_fail(err, EIO, "fusermount3 could not unmount %s", path);
    if (strstr(text, strerror(EBUSY)) || strstr(text, "busy"))
        return fail_busy(path, err);
    text[strcspn(text, "\n")] = 0;
    if (access(MTAB, F_OK) < 0)
        return sfs_fail(err, ENOENT,
                        "%s: fusermount3 needs " MTAB ", which is not there: as root, ln -s "
                        "/proc/self/mounts " MTAB,
                        path);
    return sfs_fail(err, EACCES, "%s", text);
}

int sfs_mountpoint_detach(const char *path, bool lazy, struct sfs_error *err)
{
    if (geteuid() != 0)
        return detach_as_user(path, lazy, err);
    if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return 0;
    if (errno == EBUSY)
        return fail_busy(path, err);
    return sfs_fail_errno(err, errno, "unmounting %s", path);
}

static int fail_owner(const char *path, uid_t owner, struct sfs_error *err)
{
    if (owner == 0)
        return sfs_fail(err, EACCES, "%s was mounted by root: only root may unmount it", path);
    return sfs_fail(err, EACCES,
                    "%s was mounted by the user %u: only that user and root may unmount it", path,
                    (unsigned)owner);
}

int sfs_unmount(const char *mountpoint, struct sfs_error *err)
{
    AUTO(sfs_free) char *path = NULL;
    int r = sfs_mountpoint_resolve(mountpoint, &path, err);
    if (r < 0)
        return r;
    struct sfs_mounted mounted;
    r = sfs_mountpoint_find(path, &mounted, err);
    if (r == -ENOENT)
        return sfs_fail(err, EINVAL, "nothing is mounted on %s", path);
    if (r < 0)
        return r;
    bool dead = sfs_mounted_is_dead(&mounted, path);
    if (!dead && !sfs_mounted_is_ours(&mounted))
        return sfs_fail(err, EINVAL, "%s is not a stagefs mount (%s, %s)", path, mounted.type,
                        mounted.source);
    if (geteuid() != 0 && mounted.owner != geteuid())
        return fail_owner(path, mounted.owner, err);
    /* Nobody can use what is dead, but many may still have it open. */
    return sfs_mountpoint_detach(path, dead, err);
}
