/* The directory in which one command runs: made, locked and removed. */
#include "run/run_parts.h"

#include <stagefs/format.h>
#include <errno.h>
#include <sys/stat.h>

int sfs_run_space_open(const char *dir, struct sfs_run_space **ret_space, struct sfs_error *err)
{
    static const char *const names[] = { "upper", "work", "fuse", "merged", "bundle", "memory" };
    AUTO(sfs_run_space_close) struct sfs_run_space *space = calloc(1, sizeof *space);
    if (!space)
        return sfs_fail_memory(err);
    space->temp = (struct sfs_temp_dir){ .fd = -1, .parent = -1 };
    int r = sfs_temp_dir_open(&space->temp, dir, err);
    if (r < 0)
        return r;
    space->path = space->temp.path;
    space->fd = space->temp.fd;
    space->upper = sfs_format("%s/upper", space->path);
    if (!space->upper)
        return sfs_fail_memory(err);
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
    sfs_temp_dir_close(&closed->temp);
    free(closed->upper);
    free(closed);
}
