/* The library's side of init.c: carrying it, telling it what to run, hearing from it. */
#include "run/run_parts.h"

#include "base/buf.h"
#include "run/init_spec.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* Defined in the assembler file that init_bytes.sh makes. */
extern const unsigned char sfs_init_bytes[], sfs_init_bytes_end[];

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

int sfs_run_memory_file(const char *name, const void *data, size_t size, struct sfs_error *err)
{
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    AUTO(sfs_close_fd) int fd = memfd_create(name, flags | MFD_EXEC);
    if (fd < 0) /* before Linux 6.3 all of them could be executed */
        fd = memfd_create(name, flags);
    int r = fd < 0 ? -errno : sfs_io_write_all(fd, data, size);
    if (r == 0 && (lseek(fd, 0, SEEK_SET) < 0 ||
                   fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) < 0))
        r = -errno;
    return r < 0 ? sfs_fail_errno(err, -r, "making a file in memory") : TAKE_FD(fd);
}

/* Adds the groups; as container tools have it, the primary group is among them. */
static void add_groups(const struct sfs_run_request *request, struct sfs_init_spec *spec,
                       struct sfs_buf *buf)
{
    bool there = false;
    for (size_t i = 0; i < request->group_count; i++)
        there = there || request->groups[i] == request->gid;
    spec->group_count = (uint32_t)request->group_count + !there;
    sfs_buf_add(buf, spec, sizeof *spec);
    sfs_buf_add(buf, request->groups, request->group_count * sizeof *request->groups);
    if (!there)
        sfs_buf_add(buf, &request->gid, sizeof request->gid);
}

static int write_spec(const struct run *run, struct sfs_buf *buf)
{
    const struct sfs_run_request *request = run->request;
    struct sfs_init_spec spec = { .uid = request->uid, .gid = request->gid };
    if (request->terminal)
        spec.flags |= SFS_INIT_TERMINAL | (isatty(STDERR_FILENO) ? SFS_INIT_TERMINAL_STDERR : 0u);
    if (request->init)
        spec.flags |= SFS_INIT_REAP;
    if (run->runtime->ends_by_parent)
        spec.flags |= SFS_INIT_END_WITH_PARENT;
    if (!sfs_run_wants_suid(run))
        spec.flags |= SFS_INIT_NO_NEW_PRIVILEGES;
    if (run->filter.holds_cores)
        spec.flags |= SFS_INIT_HOLD_CORES;
    for (const struct run_capability *own = sfs_run_capabilities; own->name; own++)
        spec.capabilities |= 1ull << own->number;
    while (request->args[spec.arg_count])
        spec.arg_count++;
    while (request->env[spec.env_count])
        spec.env_count++;
    add_groups(request, &spec, buf);
    sfs_buf_add(buf, request->cwd, strlen(request->cwd) + 1);
    for (uint32_t i = 0; i < spec.arg_count; i++)
        sfs_buf_add(buf, request->args[i], strlen(request->args[i]) + 1);
    for (uint32_t i = 0; i < spec.env_count; i++)
        sfs_buf_add(buf, request->env[i], strlen(request->env[i]) + 1);
    return sfs_buf_check(buf, run->err);
}

int sfs_run_init_open(struct run *run)
{
    AUTO(sfs_buf_close) struct sfs_buf spec = { 0 };
    struct run_init *init = &run->init;
    const size_t size = (size_t)(sfs_init_bytes_end - sfs_init_bytes);
    const int on = 1;
    int r = write_spec(run, &spec);
    if (r < 0)
        return r;
    init->program = sfs_run_memory_file("stagefs-init", sfs_init_bytes, size, run->err);
    init->spec = init->program < 0
                     ? -1
                     : sfs_run_memory_file("stagefs-spec", spec.data, spec.size, run->err);
    if (init->spec < 0)
        return -EIO;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return sfs_fail_errno(run->err, errno, "making a socket");
    init->channel = pair[0];
    init->far_end = pair[1];
    if (setsockopt(init->channel, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
        return sfs_fail_errno(run->err, errno, "asking a socket who writes");
    return 0;
}

void sfs_run_init_close(struct run_init *init)
{
    sfs_close_fd(&init->program);
    sfs_close_fd(&init->spec);
    sfs_close_fd(&init->channel);
    sfs_close_fd(&init->far_end);
    sfs_close_fd(&init->log);
}

/* Takes open files that came beside a message: the command's process, and perhaps a terminal. */
static void take_files(struct run *run, const struct cmsghdr *part)
{
    int fds[SFS_INIT_MAX_FDS] = { -1, -1 };
    size_t size = part->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(part), size < sizeof fds ? size : sizeof fds);
    sfs_close_fd(&run->command_fd);
    run->command_fd = fds[0];
    if (fds[1] >= 0) {
        sfs_close_fd(&run->terminal);
        run->terminal = fds[1];
    }
}

/* Takes what came beside a message: the sender's number here, and open files. */
static void take_control(struct run *run, struct msghdr *head)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(head); part; part = CMSG_NXTHDR(head, part)) {
        if (part->cmsg_level != SOL_SOCKET)
            continue;
        if (part->cmsg_type == SCM_CREDENTIALS &&
            part->cmsg_len >= CMSG_LEN(sizeof(struct ucred))) {
            struct ucred who;
            memcpy(&who, CMSG_DATA(part), sizeof who);
            run->command = run->command > 0 ? run->command : who.pid;
        }
        if (part->cmsg_type == SCM_RIGHTS && part->cmsg_len >= CMSG_LEN(sizeof(int)))
            take_files(run, part);
    }
}

static void tell_failure(struct run *run, const struct sfs_init_message *message)
{
    const struct sfs_run_request *request = run->request;
    struct sfs_error *err = &run->not_started;
    const int code = (int)message->code;
    run->has_failed = true;
    if (message->what == SFS_INIT_FAILED_COMMAND && !*request->args[0])
        sfs_fail(err, code, "the command has no name");
    else if (message->what == SFS_INIT_FAILED_COMMAND && code == ENOENT)
        sfs_fail(err, code, "there is no %s in the stage's file system, or not what it is run by",
                 request->args[0]);
    else if (message->what == SFS_INIT_FAILED_COMMAND)
        sfs_fail_errno(err, code, "%s cannot be executed", request->args[0]);
    else if (message->what == SFS_INIT_FAILED_DIRECTORY)
        sfs_fail_errno(err, code, "the working directory %s", request->cwd);
    else
        sfs_fail_errno(err, code, "setting up the command's user and terminal");
}

/* The answer that init waits for is what the command may ask the kernel for. */
static bool send_filters(struct run *run)
{
    const struct run_filter *filter = &run->filter;
    const struct sfs_buf *const programs[] = { &filter->cores, &filter->program };
    if (sfs_run_filter_wait(&run->filter) < 0)
        return false;
    for (size_t i = filter->holds_cores ? 0 : 1; i < sizeof programs / sizeof *programs; i++)
        if (send(run->init.channel, programs[i]->data, programs[i]->size, MSG_NOSIGNAL) !=
            (ssize_t)programs[i]->size)
            return false;
    return true;
}

bool sfs_run_init_hear(struct run *run)
{
    struct sfs_init_message message = { 0 };
    struct iovec part = { &message, sizeof message };
    union {
        char room[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(SFS_INIT_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr head = { .msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control.room,
                           .msg_controllen = sizeof control.room };
    ssize_t n = recvmsg(run->init.channel, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n == 0)
        sfs_close_fd(&run->init.channel); /* nobody has the other end any more */
    if (n != (ssize_t)sizeof message)
        return false;
    take_control(run, &head);
    if (message.what != SFS_INIT_READY) {
        tell_failure(run, &message);
        return true;
    }
    run->is_ready = send_filters(run);
    if (!run->is_ready)
        sfs_close_fd(&run->init.channel); /* it ends itself then */
    return run->is_ready;
}
