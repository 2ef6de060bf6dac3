/* Mount targets that the image lacks are made before the command runs and removed after it, and the
 * times of the directories around them are set back, so that nothing of this becomes part of a
 * layer. */
#include "run/run_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define MAX_HOPS 8 /* how many dangling symlinks are followed */

int sfs_run_open_in(int root, const char *path, int flags)
{
    struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT };
    int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    return fd < 0 ? -errno : fd;
}

static int add_stub(struct run *run, int parent, const char *name, bool is_dir)
{
    struct run_stub *more = reallocarray(run->stubs, run->stub_count + 1, sizeof *more);
    struct stat before, after;
    if (!more)
        return sfs_fail_memory(run->err);
    run->stubs = more;
    struct run_stub *stub = &more[run->stub_count];
    *stub = (struct run_stub){ .parent = -1, .is_dir = is_dir };
    if (strlen(name) >= sizeof stub->name)
        return sfs_fail(run->err, ENOTSUP, "a mount target's name is too long");
    memcpy(stub->name, name, strlen(name) + 1);
    int made = fstat(parent, &before);
    if (made == 0 && is_dir)
        made = mkdirat(parent, name, 0755);
    else if (made == 0)
        made = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (made < 0)
        return sfs_fail_errno(run->err, errno, "making %s to mount on it", name);
    if (!is_dir)
        close(made);
    if (fstat(parent, &after) < 0)
        return sfs_fail_errno(run->err, errno, "%s", name);
    stub->before = before.st_mtim;
    stub->after = after.st_mtim;
    stub->parent = fcntl(parent, F_DUPFD_CLOEXEC, 3);
    run->stub_count++;
    return stub->parent < 0 ? sfs_fail_errno(run->err, errno, "%s", name) : 0;
}

/* Makes what is missing of `rest` below the directory `at`, which is closed. */
static int make_below(struct run *run, int at, const char *rest, bool is_dir)
{
    int r = 0;
    while (r == 0 && *rest) {
        size_t size = strcspn(rest, "/");
        bool is_last = !rest[size + strspn(rest + size, "/")];
        AUTO(sfs_free) char *name = strndup(rest, size);
        r = name ? add_stub(run, at, name, is_dir || !is_last) : sfs_fail_memory(run->err);
        if (r == 0 && !is_last) {
            int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (next < 0)
                r = sfs_fail_errno(run->err, errno, "%s", name);
            close(at);
            at = next;
        }
        rest += size;
        rest += strspn(rest, "/");
    }
    sfs_close_fd(&at);
    return r;
}

/* Opens the deepest directory of the path that exists; *ret_rest is what is missing behind it. */
static int open_deepest(struct run *run, const char *target, const char **ret_rest)
{
    AUTO(sfs_free) char *head = strdup(target);
    if (!head)
        return -ENOMEM;
    size_t size = strlen(head);
    int fd;
    do {
        while (size > 0 && head[size - 1] != '/')
            size--;
        *ret_rest = target + size;
        while (size > 0 && head[size - 1] == '/')
            size--;
        head[size] = 0;
        fd = sfs_run_open_in(run->root, size > 0 ? head : "/", O_RDONLY | O_DIRECTORY);
    } while (fd < 0 && size > 0);
    return fd;
}

/* If the first missing name is a dangling symlink, the path that it stands for. */
static char *follow(int dir, const char *target, const char *rest)
{
    char link[4096];
    size_t size = strcspn(rest, "/");
    AUTO(sfs_free) char *name = strndup(rest, size);
    ssize_t n = name ? readlinkat(dir, name, link, sizeof link - 1) : -1;
    char *path = NULL;
    if (n <= 0)
        return NULL;
    link[n] = 0;
    int printed =
        *link == '/' ? asprintf(&path, "%s%s", link, rest + size)
                     : asprintf(&path, "%.*s%s%s", (int)(rest - target), target, link, rest + size);
    return printed < 0 ? NULL : path;
}

int sfs_run_stub(struct run *run, const char *target, bool is_dir, int *ret_fd)
{
    AUTO(sfs_free) char *path = strdup(target);
    bool made = false;
    for (int hops = 0; path && hops < MAX_HOPS; hops++) {
        int there = sfs_run_open_in(run->root, path, O_PATH);
        if (there >= 0) {
            *ret_fd = there;
            return 0;
        }
        const char *rest;
        AUTO(sfs_close_fd) int dir = open_deepest(run, path, &rest);
        if (dir < 0 || made || there == -ELOOP)
            break;
        char *next = follow(dir, path, rest);
        if (!next) {
            int r = make_below(run, TAKE_FD(dir), rest, is_dir);
            if (r < 0)
                return sfs_fail_while(run->err, r, "%s cannot be mounted on", target);
            made = true;
            continue;
        }
        free(path);
        path = next;
    }
    if (!path)
        return sfs_fail_memory(run->err);
    return sfs_fail(run->err, ENOTSUP, "%s cannot be mounted on: its symbolic links lead nowhere",
                    target);
}

static void remove_stub(struct run_stub *stub)
{
    struct stat st, dir;
    if (stub->parent < 0)
        return;
    bool there = fstat(stub->parent, &dir) == 0 &&
                 fstatat(stub->parent, stub->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    bool same_kind = there && (stub->is_dir ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode));
    if (same_kind && (stub->is_dir || st.st_size == 0) &&
        unlinkat(stub->parent, stub->name, stub->is_dir ? AT_REMOVEDIR : 0) == 0) {
        bool untouched =
            dir.st_mtim.tv_sec == stub->after.tv_sec && dir.st_mtim.tv_nsec == stub->after.tv_nsec;
        const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
                                           untouched ? stub->before : dir.st_mtim };
        futimens(stub->parent, times);
    }
    sfs_close_fd(&stub->parent);
}

void sfs_run_unstub(struct run *run)
{
    while (run->stub_count > 0)
        remove_stub(&run->stubs[--run->stub_count]);
    free(run->stubs);
    run->stubs = NULL;
}
