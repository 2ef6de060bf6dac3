#include "mount/guard.h"

#include "base/io.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define MAX_REQUEST (2u << 20) /* bytes: the kernel wants room for its largest request */

struct sfs_guard {
    int device; /* the session's */
    int spare;  /* another of the same connection, for threads that store */
    int life;   /* closed with the table of files that all other threads share */
    pid_t process;
};

/* In the new process, made of the fork of one with threads: it may not allocate or lock. */
struct watched {
    int device, life, process;
};

/* ---- the process ---- */

/* What waits in the kernel's queue gets the answer of a mount that is dead. False: the connection
 * is gone. */
static bool refuse_one(int device)
{
    static char request[MAX_REQUEST];
    ssize_t n = read(device, request, sizeof request);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN || errno == ENOENT;
    struct fuse_in_header header;
    if ((size_t)n < sizeof header)
        return true;
    memcpy(&header, request, sizeof header);
    if (header.opcode == FUSE_FORGET || header.opcode == FUSE_BATCH_FORGET ||
        header.opcode == FUSE_INTERRUPT)
        return true;
    const struct fuse_out_header answer = { .len = sizeof answer,
                                            .error = -ENOTCONN,
                                            .unique = header.unique };
    return write(device, &answer, sizeof answer) >= 0 || errno == ENOENT;
}

static _Noreturn void guard(const struct watched *watched)
{
    struct pollfd fds[2] = { { .fd = watched->process, .events = POLLIN },
                             { .fd = watched->life, .events = POLLIN } };
    char byte;
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        continue;
    if (fds[1].revents && read(watched->life, &byte, 1) == 1) /* the mount has ended */
        _exit(0);
    fds[1].fd = watched->device;
    for (bool goes_on = true; goes_on;) {
        fds[0].revents = fds[1].revents = 0;
        if (poll(fds, 2, -1) < 0)
            continue;
        goes_on = !fds[0].revents && refuse_one(watched->device);
    }
    _exit(0);
}

/* All but what it needs: an open end of a pipe would keep somebody waiting. */
static void close_others(const struct watched *watched)
{
    const int keep[3] = { watched->device, watched->life, watched->process };
    for (unsigned from = 0;;) {
        unsigned next = UINT_MAX;
        for (int i = 0; i < 3; i++)
            if (keep[i] >= (int)from && (unsigned)keep[i] < next)
                next = (unsigned)keep[i];
        if (next > from)
            syscall(SYS_close_range, from, next == UINT_MAX ? next : next - 1, 0);
        if (next == UINT_MAX)
            return;
        from = next + 1;
    }
}

/* Where the kernel finds the words of the command line, which the new process is not to be taken
 * for. 0: not told. */
static size_t find_arguments(char **ret_start)
{
    AUTO(sfs_free) char *text = NULL;
    size_t size;
    unsigned long start = 0, end = 0;
    if (sfs_io_read_file(AT_FDCWD, "/proc/self/stat", 8192, &text, &size, NULL) < 0)
        return 0;
    char *at = strrchr(text, ')'); /* field 2 */
    for (int field = 2; at && field < 48; field++)
        at = strchr(at + 1, ' ');
    if (!at || sscanf(at, " %lu %lu", &start, &end) != 2 || end <= start)
        return 0;
    *ret_start = (char *)start;
    return end - start;
}

static void change_name(char *arguments, size_t size)
{
    static const char name[] = "stagefs-guard";
    prctl(PR_SET_NAME, name);
    memset(arguments, 0, size);
    memcpy(arguments, name, size < sizeof name ? size : sizeof name);
}

static pid_t start_process(const struct watched *watched)
{
    char *arguments = NULL;
    size_t size = find_arguments(&arguments);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        close_others(watched);
        if (size > 0)
            change_name(arguments, size);
        guard(watched);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

/* ---- the mount's process ---- */

static int clone_device(int device)
{
    AUTO(sfs_close_fd) int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    uint32_t master = (uint32_t)device;
    return fd < 0 || ioctl(fd, FUSE_DEV_IOC_CLONE, &master) < 0 ? -1 : TAKE_FD(fd);
}

struct sfs_guard *sfs_guard_start(int device)
{
    struct sfs_guard *guard = calloc(1, sizeof *guard);
    AUTO(sfs_close_fd) int own = clone_device(device);
    AUTO(sfs_close_fd) int spare = clone_device(device);
    AUTO(sfs_close_fd) int process = (int)syscall(SYS_pidfd_open, getpid(), 0);
    int life[2] = { -1, -1 };
    /* The queue may be empty again when it is read. */
    bool ready = guard && own >= 0 && fcntl(own, F_SETFL, O_NONBLOCK) == 0 && spare >= 0 &&
                 process >= 0 && pipe2(life, O_CLOEXEC) == 0;
    const struct watched watched = { own, life[0], process };
    pid_t pid = ready ? start_process(&watched) : -1;
    sfs_close_fd(&life[0]);
    if (pid < 0) {
        sfs_close_fd(&life[1]);
        free(guard);
        return NULL;
    }
    *guard = (struct sfs_guard){ device, TAKE_FD(spare), life[1], pid };
    return guard;
}

static void close_ends(int device)
{
    struct stat st;
    DIR *stream = opendir("/proc/thread-self/fd");
    const struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        if (fd > STDERR_FILENO && fd != device && fstat(fd, &st) == 0 &&
            (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
            close(fd);
    }
    if (stream)
        closedir(stream);
    AUTO(sfs_close_fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
}

void sfs_guard_enter(const struct sfs_guard *guard)
{
    if (unshare(CLONE_FILES) < 0)
        return;
    dup3(guard->spare, guard->device, O_CLOEXEC);
    close_ends(guard->device);
}

void sfs_guard_stop(struct sfs_guard **guard_ptr)
{
    struct sfs_guard *stopped = TAKE(*guard_ptr);
    if (!stopped)
        return;
    ssize_t n;
    do
        n = write(stopped->life, "", 1);
    while (n < 0 && errno == EINTR);
    sfs_close_fd(&stopped->life);
    sfs_close_fd(&stopped->spare);
    while (waitpid(stopped->process, NULL, 0) < 0 && errno == EINTR)
        continue;
    free(stopped);
}
