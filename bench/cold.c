/* How pages are dropped from the page cache, and how that is tried first. */
#include "cold.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static int drop_everything(struct bench_reason *reason)
{
    static const char path[] = "/proc/sys/vm/drop_caches";
    AUTO(sfs_close_fd) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "3\n", 2) != 2)
        return bench_fail(reason, "%s: %s", path, strerror(errno));
    return 0;
}

int bench_cold_check(struct bench_reason *reason)
{
    sync(); /* pages that were just written (a copy made for this) cannot be dropped */
    return drop_everything(reason);
}

static void drop_file(const char *path)
{
    AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* Files, or directories of them. */
static void drop_all_in(char *path)
{
    char *const roots[] = { path, NULL };
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    for (FTSENT *entry; fts && (entry = fts_read(fts));)
        if (entry->fts_info == FTS_F)
            drop_file(entry->fts_accpath);
    if (fts)
        fts_close(fts);
}

static void drop_plan(const struct bench_dir *dir, const struct bench_list *plan)
{
    for (size_t i = 0; plan && i < plan->count; i++) {
        char path[PATH_MAX];
        int n = snprintf(path, sizeof path, "%s/%s", dir->path, plan->items[i]);
        if (n > 0 && (size_t)n < sizeof path)
            drop_file(path);
    }
}

int bench_cold_make(const struct bench_options *options, const struct bench_dir *dir,
                    const struct bench_list *plan, struct bench_reason *reason)
{
    for (size_t i = 0; i < options->before_cold.count; i++) {
        const char *command = options->before_cold.items[i];
        int status = system(command);
        if (status == -1 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
            return bench_fail(reason, "'%s' before a cold run did not work", command);
    }
    drop_plan(dir, plan);
    for (size_t i = 0; i < options->drop_extra.count; i++)
        drop_all_in(options->drop_extra.items[i]);
    return drop_everything(reason);
}
