/* A control group that limits how many processes a command has, where the runtime sets no such
 * limit by itself. On hosts with version 1 (or both) it is below the group that this process is in,
 * in the tree of the controller of processes. On hosts with version 2, where a group has either
 * processes or limits for groups below, it is below the nearest one that hands that controller on.
 *
 * Moving a process by cgroup.procs makes the kernel wait until no thread anywhere is forking, 10 ms
 * or more. It does not wait for a thread that moves itself (version 1), nor for a child that is
 * born in the group (version 2). A thread makes the group, and tries it, while the mounts are made.
 */
#include "run/run_parts.h"

#include "base/thread.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <mntent.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PREFIX       "stagefs-run-"
#define CONTROLLER   "pids"
#define MAX_FILE     (64u << 10) /* bytes of a file of the kernel that is read here */
#define MAX_ATTEMPTS 100

/* ---- finding the place ---- */

/* Is the word in a list of words, which are separated by one of `separators`? */
static bool has_word(const char *list, const char *separators, const char *word)
{
    for (; *list; list += strspn(list, separators)) {
        size_t size = strcspn(list, separators);
        if (size == strlen(word) && strncmp(list, word, size) == 0)
            return true;
        list += size;
    }
    return false;
}

/* The group that this process is in: its path in the tree of the controller (version 1), or in the
 * one tree. The caller frees; NULL: there is none. */
static char *find_own(bool *ret_is_unified)
{
    AUTO(sfs_free) char *text = NULL;
    AUTO(sfs_free) char *own = NULL;
    size_t size;
    if (sfs_io_read_file(AT_FDCWD, "/proc/thread-self/cgroup", MAX_FILE, &text, &size, NULL) < 0)
        return NULL;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        const bool is_unified = !names[1];
        if ((!is_unified || own) && !has_word(names + 1, ",", CONTROLLER))
            continue;
        free(own);
        own = strdup(path);
        *ret_is_unified = is_unified;
    }
    return TAKE(own);
}

/* Where the tree is mounted. The caller frees; NULL: nowhere. */
static char *find_tree(bool is_unified)
{
    char room[4096];
    struct mntent entry;
    FILE *file = setmntent("/proc/thread-self/mounts", "re");
    char *dir = NULL;
    while (file && !dir && getmntent_r(file, &entry, room, sizeof room))
        if (is_unified ? strcmp(entry.mnt_type, "cgroup2") == 0
                       : strcmp(entry.mnt_type, "cgroup") == 0 && hasmntopt(&entry, CONTROLLER))
            dir = strdup(entry.mnt_dir);
    if (file)
        endmntent(file);
    return dir;
}

/* What a small file of a group says; "" if it has no such file. */
static void read_value(int group, const char *name, char value[256])
{
    AUTO(sfs_close_fd) int fd = openat(group, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : sfs_io_read_at(fd, value, 255, 0);
    value[n > 0 ? n : 0] = 0;
}

bool sfs_run_group_is_for_runc(void)
{
    char controllers[256];
    AUTO(sfs_free) char *tree = NULL;
    if (!sfs_run_has_unified_cgroups()) {
        tree = find_tree(false);
        return tree != NULL;
    }
    AUTO(sfs_close_fd)
    int top = open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    read_value(top, "cgroup.controllers", controllers);
    return has_word(controllers, " \n", CONTROLLER);
}

/* Does the group limit what a command in another group would have without limit? */
static bool has_other_limits(int group)
{
    static const char *const names[] = { "memory.max", "memory.high", "memory.swap.max", "cpu.max",
                                         "io.max",     "cpuset.cpus", "cpuset.mems" };
    char value[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        read_value(group, names[i], value);
        if (*value && *value != '\n' && strncmp(value, "max", 3) != 0)
            return true;
    }
    return false;
}

/* A command that leaves a group must not leave a lower limit of processes behind. */
static void keep_limit(struct run_group *group, int left)
{
    char value[256];
    read_value(left, CONTROLLER ".max", value);
    unsigned long limit = strtoul(value, NULL, 10); /* 0: "max" */
    if (limit > 0 && limit < group->limit)
        group->limit = (unsigned)limit;
}

/* From the directory *at up to the first that gives its children the controller. */
static int find_parent(struct run_group *group, int tree, int *at)
{
    struct stat top, st;
    if (fstat(tree, &top) < 0)
        return -errno;
    for (;;) {
        char value[256];
        read_value(*at, "cgroup.subtree_control", value);
        if (has_word(value, " \n", CONTROLLER))
            return 0;
        if (fstat(*at, &st) < 0 || (st.st_ino == top.st_ino && st.st_dev == top.st_dev))
            return -ENOTSUP;
        if (has_other_limits(*at))
            return -EBUSY;
        keep_limit(group, *at);
        AUTO(sfs_close_fd) int up = openat(*at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (up < 0)
            return -errno;
        close(*at);
        *at = TAKE_FD(up);
    }
}

/* Opens the group in which one can be made: group->parent. */
static int open_parent(struct run_group *group)
{
    bool is_unified = false;
    AUTO(sfs_free) char *own = find_own(&is_unified);
    AUTO(sfs_free) char *dir = own ? find_tree(is_unified) : NULL;
    AUTO(sfs_close_fd) int tree = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (tree < 0)
        return -ENOENT;
    /* In a container the path may be one of the host's, and the tree begins at this process. */
    AUTO(sfs_close_fd) int at = -1;
    if (own[1] && !strstr(own, ".."))
        at = openat(tree, own + 1, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (at < 0)
        at = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = at < 0 ? -errno : is_unified ? find_parent(group, tree, &at) : 0;
    if (r == 0)
        group->parent = TAKE_FD(at);
    return r;
}

/* ---- making ---- */

/* Removes what dead processes left. Whatever still runs in there lost what it reads from with the
 * process that served it; version 2 has a file to end it by. */
static void sweep(int parent)
{
    AUTO(sfs_close_fd) int own = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = own >= 0 ? fdopendir(own) : NULL;
    if (!stream)
        return;
    own = -1;
    const struct dirent *entry;
    while ((entry = readdir(stream))) {
        if (strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) != 0)
            continue;
        AUTO(sfs_close_fd)
        int fd = openat(parent, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
            continue;
        AUTO(sfs_close_fd) int end = openat(fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
        if (end >= 0)
            (void)sfs_io_write_all(end, "1", 1);
        unlinkat(parent, entry->d_name, AT_REMOVEDIR);
    }
    closedir(stream);
}

static int make_locked(struct run_group *group)
{
    for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        char random[64];
        struct stat ours, named;
        sfs_io_temp_name(random);
        snprintf(group->name, sizeof group->name, PREFIX "%.12s", strrchr(random, '-') + 1);
        if (mkdirat(group->parent, group->name, 0755) < 0 && errno != EEXIST)
            return -errno;
        AUTO(sfs_close_fd)
        int fd = openat(group->parent, group->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        /* A sweeper may have come in the instant before the lock: then take another. */
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &ours) < 0 ||
            fstatat(group->parent, group->name, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
            ours.st_ino != named.st_ino)
            continue;
        group->dir = TAKE_FD(fd);
        return 0;
    }
    return -EEXIST;
}

static int write_value(int group, const char *name, const char *value)
{
    AUTO(sfs_close_fd) int fd = openat(group, name, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : sfs_io_write_all(fd, value, strlen(value));
}

/* Moves the calling process, which has one thread. Only version 1 has the file of threads, and does
 * without the wait there since Linux 5.4. */
static int enter(int group)
{
    int r = write_value(group, "tasks", "0");
    return r == -ENOENT ? write_value(group, "cgroup.procs", "0") : r;
}

pid_t sfs_run_group_fork(int dir, int *ret_r)
{
    /* Version 2, since Linux 5.7. What else can stand in the way is told by the slow way, too. */
    struct clone_args args = { .flags = CLONE_INTO_CGROUP,
                               .exit_signal = SIGCHLD,
                               .cgroup = (uint64_t)dir };
    pid_t child = dir < 0 ? -1 : (pid_t)syscall(SYS_clone3, &args, sizeof args);
    *ret_r = 0;
    if (child >= 0)
        return child;
    child = fork();
    if (child == 0 && dir >= 0)
        *ret_r = enter(dir);
    return child;
}

/* A process goes in and ends: whether that is allowed is known then, before it matters. */
static int try_it(const struct run_group *group)
{
    int status = 0, r;
    pid_t child = sfs_run_group_fork(group->dir, &r);
    if (child < 0)
        return -errno;
    if (child == 0)
        _exit(-r & 0x7f);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

static void *make_group(void *arg)
{
    struct run_group *group = arg;
    char limit[16];
    int r = open_parent(group);
    if (r == 0) {
        sweep(group->parent);
        r = make_locked(group);
    }
    snprintf(limit, sizeof limit, "%u", group->limit);
    if (r == 0)
        r = write_value(group->dir, CONTROLLER ".max", limit);
    if (r == 0)
        r = try_it(group);
    if (r < 0)
        sfs_run_group_remove(group);
    group->r = r;
    return NULL;
}

int sfs_run_group_start(struct run_group *group, struct sfs_error *err)
{
    group->limit = SFS_RUN_MAX_PROCESSES;
    int r = sfs_thread_start(&group->thread, make_group, group, "makes a control group", err);
    group->runs = r == 0;
    return r;
}

void sfs_run_group_wait(struct run_group *group, const struct sfs_progress *progress)
{
    static atomic_flag was_told = ATOMIC_FLAG_INIT;
    if (!group->runs)
        return;
    pthread_join(group->thread, NULL);
    group->runs = false;
    if (group->r == 0 || !progress || !progress->note || atomic_flag_test_and_set(&was_told))
        return;
    struct sfs_error text;
    if (group->r == -EBUSY)
        sfs_fail(&text, EBUSY,
                 "no limit of processes: a control group of its own would leave the limits that "
                 "the one of this process has");
    else
        sfs_fail_errno(&text, -group->r,
                       "no limit of processes: no control group can be made for the command");
    progress->note(progress->user, text.text);
}

/* ---- removing ---- */

void sfs_run_group_remove(struct run_group *group)
{
    const struct timespec moment = { .tv_nsec = 5000000 };
    /* What was killed takes a moment to leave. */
    for (int attempt = 0; group->dir >= 0 && attempt < MAX_ATTEMPTS; attempt++) {
        if (unlinkat(group->parent, group->name, AT_REMOVEDIR) == 0 || errno != EBUSY)
            break;
        nanosleep(&moment, NULL);
    }
    sfs_close_fd(&group->dir);
    sfs_close_fd(&group->parent);
}

void sfs_run_group_close(struct run_group *group)
{
    sfs_run_group_wait(group, NULL);
    sfs_run_group_remove(group);
}
