/* The first program in every sandbox: a static one, carried in the library and started from a
 * sealed memory file, so that it needs nothing of the image and nothing can write to it. Runtimes
 * differ in how they set users, terminals and working directories, and in what they say when a
 * command is not there; they all do no more than to start this one, as root, which does the rest.
 *
 * It runs in the sandbox, before anything of the image does, and holds one capability that it drops
 * before the command starts (SFS_RUN_INIT_CAPABILITY). */
#include "run/init_spec.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct job {
    const struct sfs_init_spec *spec;
    const gid_t *groups;
    const char *directory;
    char **args, **env;
};

/* Sends one message, with open files beside it. The other side may be gone; then there is nobody to
 * be told. */
static void say_with(struct sfs_init_message message, const int *fds, size_t count)
{
    struct iovec part = { &message, sizeof message };
    union {
        char room[CMSG_SPACE(SFS_INIT_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control = { .room = { 0 } };
    struct msghdr head = { .msg_iov = &part, .msg_iovlen = 1 };
    if (count > 0) {
        head.msg_control = control.room;
        head.msg_controllen = CMSG_SPACE(count * sizeof *fds);
        *CMSG_FIRSTHDR(&head) = (struct cmsghdr){ .cmsg_len = CMSG_LEN(count * sizeof *fds),
                                                  .cmsg_level = SOL_SOCKET,
                                                  .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&head)), fds, count * sizeof *fds);
    }
    while (sendmsg(SFS_INIT_CHANNEL, &head, MSG_NOSIGNAL) < 0 && errno == EINTR)
        continue;
}

static _Noreturn void fail(enum sfs_init_what what, int code)
{
    say_with((struct sfs_init_message){ .what = (uint32_t)what, .code = (uint32_t)code }, NULL, 0);
    /* As shells have it, and docker. */
    _exit(what == SFS_INIT_FAILED_COMMAND && code == ENOENT ? 127 : 126);
}

/* Says that the sandbox stands. Beside it go this process, opened, so that signals reach it and
 * never another one that got its number, and the terminal's other end (-1: none). */
static void say_ready(int terminal)
{
    int fds[SFS_INIT_MAX_FDS] = { (int)syscall(SYS_pidfd_open, getpid(), 0), terminal };
    if (fds[0] < 0)
        fail(SFS_INIT_FAILED_SETUP, errno);
    say_with((struct sfs_init_message){ .what = SFS_INIT_READY }, fds, terminal < 0 ? 1 : 2);
    close(fds[0]);
    if (terminal >= 0)
        close(terminal);
}

static char **take_strings(char **at, uint32_t count)
{
    char **list = calloc((size_t)count + 1, sizeof *list);
    if (!list)
        fail(SFS_INIT_FAILED_SETUP, ENOMEM);
    for (uint32_t i = 0; i < count; i++) {
        list[i] = *at;
        *at += strlen(*at) + 1;
    }
    return list;
}

static void read_job(struct job *job)
{
    struct stat st;
    if (fstat(SFS_INIT_SPEC, &st) < 0)
        fail(SFS_INIT_FAILED_SETUP, errno);
    char *data =
        mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, SFS_INIT_SPEC, 0);
    if (data == MAP_FAILED)
        fail(SFS_INIT_FAILED_SETUP, errno);
    job->spec = (const void *)data;
    job->groups = (const void *)(job->spec + 1);
    data += sizeof *job->spec + job->spec->group_count * sizeof *job->groups;
    job->directory = data;
    data += strlen(data) + 1;
    job->args = take_strings(&data, job->spec->arg_count);
    job->env = take_strings(&data, job->spec->env_count);
}

static bool has(const struct job *job, enum sfs_init_flag flag)
{
    return job->spec->flags & flag;
}

/* A terminal of the sandbox's own /dev/pts: the other end goes out, and no terminal of the host
 * comes in. Returns the end to be sent. */
static int open_terminal(const struct job *job)
{
    int unlock = 0;
    int other = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (other < 0 || ioctl(other, TIOCSPTLCK, &unlock) < 0)
        fail(SFS_INIT_FAILED_SETUP, errno);
    int own = ioctl(other, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (own < 0 || ioctl(own, TIOCSCTTY, 0) < 0)
        fail(SFS_INIT_FAILED_SETUP, errno);
    dup2(own, STDIN_FILENO);
    dup2(own, STDOUT_FILENO);
    if (has(job, SFS_INIT_TERMINAL_STDERR))
        dup2(own, STDERR_FILENO);
    return other;
}

/* Gives the streams to the command's user: programs that log to /dev/stdout open it anew, which
 * only its owner may. */
static void give_streams(uid_t uid)
{
    struct stat null, st;
    if (stat("/dev/null", &null) < 0)
        return;
    for (int fd = 0; fd < 3; fd++)
        if (fstat(fd, &st) == 0 && st.st_uid != uid &&
            !(S_ISCHR(st.st_mode) && st.st_rdev == null.st_rdev) && fchown(fd, uid, (gid_t)-1) < 0)
            continue;
}

/* Waits for a filter of system calls, and loads it. */
static void load_filter(const struct job *job)
{
    static struct sock_filter steps[SFS_INIT_MAX_FILTER / sizeof(struct sock_filter)];
    ssize_t n;
    do
        n = read(SFS_INIT_CHANNEL, steps, sizeof steps);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        _exit(126); /* whoever waits for it is gone, or has no filter */
    struct sock_fprog program = { .len = (unsigned short)((size_t)n / sizeof *steps),
                                  .filter = steps };
    if (has(job, SFS_INIT_NO_NEW_PRIVILEGES) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        fail(SFS_INIT_FAILED_SETUP, errno);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        fail(SFS_INIT_FAILED_SETUP, errno);
}

/* Bounds the capabilities: bubblewrap leaves the bounding set as it is, and makes what it gives
 * inheritable. */
static void bound_capabilities(uint64_t kept)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };
    for (unsigned i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
        if (!(kept >> i & 1) && prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1 &&
            prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
            fail(SFS_INIT_FAILED_SETUP, errno);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int i = 0; i < 2; i++)
        data[i].effective = data[i].permitted = (uint32_t)(kept >> (32 * i));
    if (syscall(SYS_capset, &head, data) < 0)
        fail(SFS_INIT_FAILED_SETUP, errno);
}

static void become_user(const struct job *job)
{
    const struct sfs_init_spec *spec = job->spec;
    if (spec->uid != 0)
        give_streams(spec->uid);
    if (setgroups(spec->group_count, job->groups) < 0 ||
        setresgid(spec->gid, spec->gid, spec->gid) < 0 ||
        setresuid(spec->uid, spec->uid, spec->uid) < 0)
        fail(SFS_INIT_FAILED_SETUP, errno);
}

/* Finds and executes the program. Unlike execvp(), it does not give a file that is no program to a
 * shell. */
static void execute(const struct job *job)
{
    const char *name = job->args[0], *dirs = DEFAULT_PATH;
    int code = ENOENT;
    for (char **env = job->env; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            dirs = *env + 5;
    if (strchr(name, '/')) {
        execve(name, job->args, job->env);
        code = errno;
    }
    while (*name && !strchr(name, '/') && dirs) {
        char path[4096];
        size_t size = strcspn(dirs, ":"), length = strlen(name);
        if (size + length + 2 <= sizeof path) {
            memcpy(path, dirs, size);
            path[size] = '/';
            memcpy(path + size + (size > 0), name, length + 1);
            execve(path, job->args, job->env);
            code = errno == ENOENT || errno == ENOTDIR ? code : errno;
        }
        dirs = dirs[size] ? dirs + size + 1 : NULL;
    }
    fail(SFS_INIT_FAILED_COMMAND, code == ENOTDIR ? ENOENT : code);
}

static _Noreturn void become_command(const struct job *job)
{
    sigset_t none;
    sigemptyset(&none);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execute(job);
    _exit(126);
}

static void block_signals(sigset_t *ret_all)
{
    sigfillset(ret_all);
    sigprocmask(SIG_SETMASK, ret_all, NULL);
}

/* Hands signals on, and takes in processes whose parents have ended, until the command ends. */
static _Noreturn void reap(const struct job *job)
{
    sigset_t all;
    block_signals(&all);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    pid_t command = fork();
    if (command < 0)
        fail(SFS_INIT_FAILED_SETUP, errno);
    if (command == 0) {
        if (setpgid(0, 0) == 0 && has(job, SFS_INIT_TERMINAL))
            tcsetpgrp(STDIN_FILENO, getpid());
        become_command(job);
    }
    for (int i = 0; i < SFS_INIT_FD_END; i++)
        close(i);
    for (;;) {
        siginfo_t info;
        int number = sigwaitinfo(&all, &info), status;
        if (number > 0 && number != SIGCHLD)
            kill(command, number); /* the number is its own until it is waited for, just below */
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            if (pid == command && (WIFEXITED(status) || WIFSIGNALED(status)))
                _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
}

int main(void)
{
    struct job job;
    /* With --init this program goes on beside the command, which could be root too: nothing in the
     * sandbox may trace it, or take what it has open. What is executed can be traced again. */
    prctl(PR_SET_DUMPABLE, 0);
    for (int fd = SFS_INIT_PROGRAM; fd < SFS_INIT_FD_END; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    /* Closes whatever else a runtime left open. */
    syscall(SYS_close_range, (unsigned)SFS_INIT_FD_END, ~0u, 0);
    read_job(&job);
    umask(022);
    dup2(SFS_INIT_STDERR, STDERR_FILENO);
    setsid();
    int terminal = has(&job, SFS_INIT_TERMINAL) ? open_terminal(&job) : -1;
    sigset_t all;
    /* Once it has said that it is there it may be sent some, which a first process loses. */
    if (has(&job, SFS_INIT_REAP))
        block_signals(&all);
    say_ready(terminal);
    if (has(&job, SFS_INIT_HOLD_CORES))
        load_filter(&job);
    load_filter(&job); /* nothing is heard from outside after that */
    bound_capabilities(job.spec->capabilities);
    become_user(&job);
    if (has(&job, SFS_INIT_END_WITH_PARENT))
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(job.directory) < 0)
        fail(SFS_INIT_FAILED_DIRECTORY, errno);
    if (has(&job, SFS_INIT_REAP))
        reap(&job);
    become_command(&job);
}
