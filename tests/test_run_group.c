/* A child is born in a control group, of whichever tree this machine lets groups be made in. */
#include "run/run_parts.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* What a child in the group comes to: 0 where it reads of itself that it is in `name`. */
static int fork_into(int dir, const char *name)
{
    int r, status;
    pid_t pid = sfs_run_group_fork(dir, &r);
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        char text[8192] = "";
        int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
        if (r == 0 && (fd < 0 || read(fd, text, sizeof text - 1) < 0 || !strstr(text, name)))
            r = -200;
        _exit(-r);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

/* Makes a group in a tree, if that may be, and forks into it. */
static void try_tree(const char *tree)
{
    char name[40];
    snprintf(name, sizeof name, "stagefs-test-%d", (int)getpid());
    AUTO(sfs_close_fd) int top = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0 || mkdirat(top, name, 0755) < 0)
        return;
    AUTO(sfs_close_fd) int dir = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fork_into(dir, name);
    unlinkat(top, name, AT_REMOVEDIR);
    cr_expect(r == 0 || r == -EACCES || r == -EPERM || r == -EBUSY, "%s: %d", tree, r);
}

Test(run_group, a_child_is_in_the_group_from_its_start)
{
    struct mntent *entry;
    FILE *file = setmntent("/proc/self/mounts", "re");
    cr_assert(file);
    while ((entry = getmntent(file)))
        if (strcmp(entry->mnt_type, "cgroup2") == 0 ||
            (strcmp(entry->mnt_type, "cgroup") == 0 && hasmntopt(entry, "pids")))
            try_tree(entry->mnt_dir);
    endmntent(file);
}

Test(run_group, a_child_without_a_group_is_where_its_parent_is)
{
    cr_expect_eq(fork_into(-1, ":"), 0);
}

Test(run_group, a_child_tells_why_it_is_not_in_the_group)
{
    AUTO(sfs_close_fd) int dir = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_expect_eq(fork_into(dir, ""), -ENOENT);
}
