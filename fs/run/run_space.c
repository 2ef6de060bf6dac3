#include "run/run_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/file.h>
#include <sys/stat.h>

#define PREFIX "stagefs-run-"

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (type == FTW_DP || type == FTW_D || type == FTW_DNR)
        rmdir(path);
    else
        unlink(path);
    return 0;
}

void sfs_run_remove(const char *path)
{
    nftw(path, remove_one, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Directories whose lock nobody holds: their processes are gone. */
static void sweep(const char *dir)
{
    DIR *list = opendir(dir);
    struct dirent *entry;
    while (list && (entry = readdir(list))) {
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0)
            continue;
        AUTO(sfs_close_fd)
        int fd =
            openat(dirfd(list), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        AUTO(sfs_free) char *path = NULL;
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
            continue;
        if (asprintf(&path, "%s/%s", dir, entry->d_name) >= 0)
            sfs_run_remove(path);
        else
            path = NULL;
    }
    if (list)
        closedir(list);
}

/* A sweeper may come between the making and the locking: then there is nothing there any more. */
static int make_locked(struct sfs_run_space *space, const char *dir, struct sfs_error *err)
{
    for (int tries = 0; tries < 16; tries++) {
        free(space->path);
        sfs_close_fd(&space->fd);
        if (asprintf(&space->path, "%s/" PREFIX "XXXXXX", dir) < 0) {
            space->path = NULL;
            return sfs_fail_memory(err);
        }
        if (!mkdtemp(space->path))
            return sfs_fail_errno(err, errno, "making a directory in %s", dir);
        space->fd = open(space->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat mine, there;
        if (space->fd >= 0 && flock(space->fd, LOCK_EX) == 0 && fstat(space->fd, &mine) == 0 &&
            lstat(space->path, &there) == 0 && mine.st_ino == there.st_ino)
            return 0;
    }
    return sfs_fail(err, EBUSY, "no directory could be made in %s", dir);
}

int sfs_run_space_open(const char *dir, struct sfs_run_space **ret_space, struct sfs_error *err)
{
    static const char *const names[] = { "upper", "work", "fuse", "merged", "bundle", "memory" };
    AUTO(sfs_free) char *real = NULL;
    int r = sfs_io_make_dirs(dir, err);
    if (r < 0)
        return r;
    real = realpath(dir, NULL);
    if (!real)
        return sfs_fail_errno(err, errno, "%s", dir);
    sweep(real);
    AUTO(sfs_run_space_close) struct sfs_run_space *space = calloc(1, sizeof *space);
    if (!space)
        return sfs_fail_memory(err);
    space->fd = -1;
    r = make_locked(space, real, err);
    if (r < 0)
        return r;
    if (asprintf(&space->upper, "%s/upper", space->path) < 0) {
        space->upper = NULL;
        return sfs_fail_memory(err);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mkdirat(space->fd, names[i], 0700) < 0)
            return sfs_fail_errno(err, errno, "%s/%s", space->path, names[i]);
    *ret_space = TAKE(space);
    return 0;
}

void sfs_run_space_close(struct sfs_run_space **space)
{
    struct sfs_run_space *closed = TAKE(*space);
    if (!closed)
        return;
    if (closed->path && closed->fd >= 0)
        sfs_run_remove(closed->path);
    sfs_close_fd(&closed->fd);
    free(closed->path);
    free(closed->upper);
    free(closed);
}
