/* The command's standard streams. An open file or terminal of the host is more than bytes: by
 * /proc/self/fd/0 it can be opened anew for writing, its owner and mode can be changed, a directory
 * leads to all others beside it, and at a terminal what somebody types can be read. So a command
 * gets pipes, whose other ends are here, and /dev/null of its own. */
#include "run/run_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

static bool is_pipe(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type == PIPEFS_MAGIC;
}

static bool is_null(int fd)
{
    struct stat st;
    return fd < 0 || (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

static bool is_same(int a, int b)
{
    struct stat left, right;
    return a >= 0 && b >= 0 && fstat(a, &left) == 0 && fstat(b, &right) == 0 &&
           left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

/* What the command gets for one descriptor of the host. */
static int open_stream(struct sfs_run_streams *streams, int number, int host)
{
    struct run_copy *copy = &streams->copies[number];
    int *given = &streams->given[number], ends[2];
    if (is_null(host))
        *given = open("memory/dev/null", O_RDWR | O_CLOEXEC);
    else if (is_pipe(host))
        *given = fcntl(host, F_DUPFD_CLOEXEC, 3);
    else if (pipe2(ends, O_CLOEXEC) == 0) {
        const bool is_input = number == STDIN_FILENO;
        *given = ends[is_input ? 0 : 1];
        copy->own = ends[is_input ? 1 : 0];
        copy->from = is_input ? host : copy->own;
        copy->to = is_input ? copy->own : host;
        fcntl(copy->own, F_SETFL, O_NONBLOCK);
    }
    return *given < 0 ? -errno : 0;
}

static int open_all(struct sfs_run_streams *streams, const int host[SFS_RUN_STREAMS])
{
    for (int i = 0; i < SFS_RUN_STREAMS; i++)
        streams->given[i] = streams->copies[i].own = -1;
    for (int i = 0; i < SFS_RUN_STREAMS; i++) {
        int r = 0;
        /* Output that goes to one place keeps its order in one pipe. */
        if (i == STDERR_FILENO && is_same(host[STDOUT_FILENO], host[i]))
            streams->given[i] = fcntl(streams->given[STDOUT_FILENO], F_DUPFD_CLOEXEC, 3);
        else
            r = open_stream(streams, i, host[i]);
        if (r < 0 || streams->given[i] < 0)
            return r < 0 ? r : -errno;
    }
    return 0;
}

int sfs_run_streams_open(const int host[SFS_RUN_STREAMS], struct sfs_run_streams **ret_streams,
                         struct sfs_error *err)
{
    AUTO(sfs_run_streams_close) struct sfs_run_streams *streams = calloc(1, sizeof *streams);
    if (!streams)
        return sfs_fail_memory(err);
    int r = open_all(streams, host);
    if (r < 0)
        return sfs_fail_errno(err, -r, "making the command's standard streams");
    *ret_streams = TAKE(streams);
    return 0;
}

void sfs_run_streams_hand_over(struct sfs_run_streams *streams)
{
    for (int i = 0; i < SFS_RUN_STREAMS; i++)
        sfs_close_fd(&streams->given[i]);
}

void sfs_run_streams_close(struct sfs_run_streams **streams)
{
    struct sfs_run_streams *closed = TAKE(*streams);
    if (!closed)
        return;
    sfs_run_streams_hand_over(closed);
    for (int i = 0; i < SFS_RUN_STREAMS; i++)
        sfs_close_fd(&closed->copies[i].own);
    free(closed);
}

/* ---- passing on ---- */

void sfs_run_streams_polls(const struct sfs_run_streams *streams,
                           struct pollfd polls[SFS_RUN_STREAMS])
{
    for (int i = 0; i < SFS_RUN_STREAMS; i++) {
        const struct run_copy *copy = &streams->copies[i];
        polls[i] = (struct pollfd){ .fd = copy->size > 0 ? copy->to : copy->from,
                                    .events = copy->size > 0 ? POLLOUT : POLLIN };
        if (copy->own < 0)
            polls[i].fd = -1;
    }
}

/* Nobody reads any more, which the other side learns from its own end; a terminal that is another
 * job's says EIO. All else is an error that somebody has to be told. */
static void end_copy(struct sfs_run_streams *streams, struct run_copy *copy, int code)
{
    sfs_close_fd(&copy->own);
    copy->size = 0;
    if (code != 0 && code != EPIPE && !(code == EIO && isatty(copy->from)) && streams->code == 0)
        streams->code = code;
}

static void pass(struct sfs_run_streams *streams, struct run_copy *copy)
{
    const bool reads = copy->size == 0;
    ssize_t n = reads ? read(copy->from, copy->data, sizeof copy->data)
                      : write(copy->to, copy->data + copy->start, copy->size);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        end_copy(streams, copy, n < 0 ? errno : 0);
        return;
    }
    copy->start = reads ? 0 : copy->start + (size_t)n;
    copy->size = reads ? (size_t)n : copy->size - (size_t)n;
}

void sfs_run_streams_pass(struct sfs_run_streams *streams,
                          const struct pollfd polls[SFS_RUN_STREAMS])
{
    for (int i = 0; i < SFS_RUN_STREAMS; i++)
        if (polls[i].fd >= 0 && polls[i].revents)
            pass(streams, &streams->copies[i]);
}

int sfs_run_streams_drain(struct sfs_run_streams *streams, struct sfs_error *err)
{
    sfs_close_fd(&streams->copies[STDIN_FILENO].own);
    for (bool goes_on = true; goes_on;) {
        struct pollfd polls[SFS_RUN_STREAMS];
        bool has_rest = false;
        sfs_run_streams_polls(streams, polls);
        for (int i = 0; i < SFS_RUN_STREAMS; i++)
            has_rest = has_rest || (polls[i].fd >= 0 && polls[i].events == POLLOUT);
        int n = poll(polls, SFS_RUN_STREAMS, has_rest ? -1 : 0);
        goes_on = n > 0 || (n < 0 && errno == EINTR);
        if (n > 0)
            sfs_run_streams_pass(streams, polls);
    }
    return streams->code == 0
               ? 0
               : sfs_fail_errno(err, streams->code, "passing on the command's standard streams");
}
