/* Looks at a sandbox from inside: one line a question, "NAME open" or "NAME closed". Static, so
 * that it runs in an empty image. On the host, "sandbox_probe keyring COMMAND..." puts a key into a
 * new session keyring and starts the command, which must not find it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYCTL_JOIN_SESSION_KEYRING 1
#define KEYCTL_SEARCH               10
#define KEYCTL_GET_KEYRING_ID       0
#define SESSION_KEYRING             (-3)
#define USER_KEYRING                (-4)
#define KEY                         "stagefs-sandbox-probe"

static void tell(const char *name, bool open)
{
    printf("%s %s\n", name, open ? "open" : "closed");
}

static bool can_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool can_read(const char *path)
{
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool read_some = fd >= 0 && read(fd, &byte, 1) == 1;
    if (fd >= 0)
        close(fd);
    return read_some;
}

/* In a process of its own: what it does to itself is gone with it. */
static bool can(int (*try)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    int status = 1;
    if (pid == 0)
        _exit(try() >= 0 ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static int try_mount(void)
{
    return mount("tmpfs", "/", "tmpfs", 0, NULL);
}
static int try_unshare_mount(void)
{
    return unshare(CLONE_NEWNS);
}
/* The first process must not be one that is confined less. */
static int try_trace_init(void)
{
    if (getpid() == 1 || ptrace(PTRACE_SEIZE, 1, NULL, NULL) < 0)
        return -1;
    char line[256];
    int filtered = 0;
    FILE *file = fopen("/proc/1/status", "re");
    while (file && fgets(line, sizeof line, file))
        sscanf(line, "Seccomp: %d", &filtered);
    return filtered == 2 ? -1 : 0;
}
/* With --init the first process is not the command's: it is started with files of the host. */
static bool is_first;
static int try_take_init(void)
{
    int init = is_first ? -1 : (int)syscall(SYS_pidfd_open, 1, 0);
    if (!is_first && ptrace(PTRACE_SEIZE, 1, NULL, NULL) == 0)
        return 0;
    if (!is_first && (can_open("/proc/1/exe", O_RDONLY) || can_open("/proc/1/mem", O_RDONLY) ||
                      can_open("/proc/1/cwd", O_RDONLY) || can_open("/proc/1/root", O_RDONLY)))
        return 0;
    for (int fd = 0; init >= 0 && fd < 64; fd++)
        if (syscall(SYS_pidfd_getfd, init, fd, 0) >= 0)
            return 0;
    return -1;
}
/* What hides files, or makes them read-only, can be taken away neither by root in the sandbox nor
 * by root in a user namespace of its own, where a fresh procfs or sysfs would show them, too. */
static int take_masks(void)
{
    static const char *const masks[] = { "/proc/kcore", "/proc/keys", "/proc/timer_list",
                                         "/proc/sys",   "/proc/bus",  "/sys/firmware",
                                         "/sys",        "/proc" };
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++)
        if (umount2(masks[i], MNT_DETACH) == 0 ||
            mount(NULL, masks[i], NULL, MS_REMOUNT | MS_BIND, NULL) == 0)
            return 0;
    return mount("proc", "/tmp", "proc", 0, NULL) == 0 ||
                   mount("sysfs", "/tmp", "sysfs", 0, NULL) == 0 ||
                   mount("/proc", "/tmp", NULL, MS_BIND, NULL) == 0
               ? 0
               : -1;
}
static int try_masks_in_namespace(void)
{
    int status = 1;
    if (unshare(CLONE_NEWUSER) < 0 || unshare(CLONE_NEWNS | CLONE_NEWPID) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(take_masks() == 0 ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}
static int try_masked_elsewhere(void)
{
    static const char *const roots[] = { "/proc/self/root", "/proc/1/root", "/proc/self/cwd" };
    static const char *const files[] = { "kcore", "keys", "timer_list", "interrupts" };
    char path[128];
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
        for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
            snprintf(path, sizeof path, "%s/proc/%s", roots[i], files[k]);
            if (can_read(path))
                return 0;
        }
    return -1;
}
static int try_bpf(void)
{
    char attr[128] = { 0 };
    return syscall(SYS_bpf, 0, attr, sizeof attr) < 0 && (errno == EPERM || errno == ENOSYS) ? -1
                                                                                             : 0;
}
static int try_perf(void)
{
    return syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0) < 0 && errno != EFAULT ? -1 : 0;
}
static int try_module(void)
{
    return syscall(SYS_finit_module, -1, "", 0) < 0 && errno != EBADF ? -1 : 0;
}
static int try_kexec(void)
{
    return syscall(SYS_kexec_load, 0, 0, NULL, ~0ul) < 0 && errno != EINVAL ? -1 : 0;
}
static int try_handle(void)
{
    return syscall(SYS_open_by_handle_at, -1, NULL, 0) < 0 && (errno == EPERM || errno == ENOSYS)
               ? -1
               : 0;
}
static int try_clock(void)
{
    return syscall(SYS_settimeofday, NULL, (void *)1) < 0 && errno != EFAULT ? -1 : 0;
}
static int try_hostname(void)
{
    return sethostname("probe", 5);
}
static int try_raw_socket(void)
{
    return socket(AF_INET, SOCK_RAW, 1);
}
static int try_alg_socket(void)
{
    return socket(AF_ALG, SOCK_SEQPACKET, 0);
}
static int try_vsock_socket(void)
{
    return socket(AF_VSOCK, SOCK_STREAM, 0);
}
static int try_audit_socket(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 9);
}
static int try_user_namespace(void)
{
    return unshare(CLONE_NEWUSER);
}
static int try_io_uring(void)
{
    return syscall(SYS_io_uring_setup, 1, NULL) < 0 && errno != EFAULT ? -1 : 0;
}
static int try_userfaultfd(void)
{
    return (int)syscall(SYS_userfaultfd, 0);
}
static int try_key(void)
{
    return (int)syscall(SYS_keyctl, KEYCTL_SEARCH, SESSION_KEYRING, "user", KEY, 0);
}
/* It belongs to root of the host as much as to root in here. */
static int try_user_keyring(void)
{
    return (int)syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, USER_KEYRING, 0);
}
/* Only a limit of 1 keeps a core dump from a program of the host's that takes them. */
static int try_core_limit(void)
{
    struct rlimit limit = { 0, 0 };
    setrlimit(RLIMIT_CORE, &limit);
    return getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 1 ? -1 : 0;
}
static int try_ioperm(void)
{
#ifdef SYS_ioperm
    return (int)syscall(SYS_ioperm, 0x80, 1, 1);
#else
    return -1;
#endif
}
#ifdef __x86_64__
/* The same question by the other table of system calls, where bpf is 357. */
static int try_bpf_32(void)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(357), "b"(0), "c"(0), "d"(0) : "memory");
    return result == -EPERM || result == -ENOSYS ? -1 : 0;
}
static int try_getpid_32(void)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
    return result > 0 ? 0 : -1;
}
#endif

static void look_at_calls(void)
{
    static const struct {
        const char *name;
        int (*try)(void);
    } calls[] = {
        { "call:mount", try_mount },
        { "call:unshare-mount", try_unshare_mount },
        { "call:unshare-user", try_user_namespace },
        { "call:ptrace-init", try_trace_init },
        { "call:take-init", try_take_init },
        { "mask:umount", take_masks },
        { "mask:umount-in-namespace", try_masks_in_namespace },
        { "mask:other-root", try_masked_elsewhere },
        { "call:bpf", try_bpf },
        { "call:perf_event_open", try_perf },
        { "call:finit_module", try_module },
        { "call:kexec_load", try_kexec },
        { "call:open_by_handle_at", try_handle },
        { "call:settimeofday", try_clock },
        { "call:sethostname", try_hostname },
        { "call:ioperm", try_ioperm },
        { "call:core-limit", try_core_limit },
        { "call:io_uring_setup", try_io_uring },
        { "call:userfaultfd", try_userfaultfd },
        { "socket:raw", try_raw_socket },
        { "socket:alg", try_alg_socket },
        { "socket:vsock", try_vsock_socket },
        { "socket:audit", try_audit_socket },
        { "keyring:of-the-caller", try_key },
        { "keyring:of-the-user", try_user_keyring },
#ifdef __x86_64__
        { "call:bpf-32", try_bpf_32 },
        { "works:getpid-32", try_getpid_32 },
#endif
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        tell(calls[i].name, can(calls[i].try));
}

/* Besides those that every program has. */
static void look_at_descriptors(void)
{
    bool more = false;
    for (int fd = 3; fd < 4096; fd++)
        more = more || fcntl(fd, F_GETFD) >= 0;
    tell("descriptors:more", more);
    /* What can be opened anew, or changed: files, directories, terminals, devices. */
    bool of_the_host = false;
    struct stat null, st;
    for (int fd = 0; fd < 3; fd++)
        of_the_host = of_the_host ||
                      (fstat(fd, &st) == 0 && !S_ISFIFO(st.st_mode) &&
                       (stat("/dev/null", &null) < 0 || st.st_dev != null.st_dev || isatty(fd)));
    tell("descriptors:of-the-host", of_the_host);
}

static void look_at_paths(void)
{
    static const char *const written[] = {
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/uevent_helper",
        "/sys/power/state",
        "/sys/module/fuse/parameters/max_user_bgreq",
    };
    static const char *const read_ones[] = { "/proc/kcore", "/proc/keys", "/proc/timer_list",
                                             "/proc/sched_debug", "/proc/interrupts" };
    static const char *const listed[] = { "/sys/firmware", "/proc/acpi", "/proc/scsi",
                                          "/sys/dev/block" };
    char name[128];
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        snprintf(name, sizeof name, "write:%s", written[i]);
        tell(name, can_open(written[i], O_WRONLY));
    }
    for (size_t i = 0; i < sizeof read_ones / sizeof *read_ones; i++) {
        snprintf(name, sizeof name, "read:%s", read_ones[i]);
        tell(name, can_read(read_ones[i]));
    }
    for (size_t i = 0; i < sizeof listed / sizeof *listed; i++) {
        struct stat st;
        snprintf(name, sizeof name, "list:%s", listed[i]);
        /* what hides it is an empty file system of its own */
        tell(name, stat(listed[i], &st) == 0 && st.st_nlink > 2);
    }
}

static void look_at_devices(void)
{
    struct statvfs fs;
    struct stat st;
    mode_t kinds[] = { S_IFCHR, S_IFBLK };
    for (int i = 0; i < 2; i++) {
        static const char *const places[] = { "/probe-node", "/dev/probe-node", "/tmp/probe-node" };
        for (int k = 0; k < 3; k++) {
            char name[64];
            snprintf(name, sizeof name, "mknod:%s%s", i ? "block" : "char", places[k]);
            tell(name, mknod(places[k], kinds[i] | 0600, makedev(1, 1)) == 0);
            unlink(places[k]);
        }
    }
    tell("device:of-the-image", can_open("/image-null", O_RDWR));
    tell("device:/dev/fuse", can_open("/dev/fuse", O_RDWR));
    tell("device:/dev/kmsg", can_open("/dev/kmsg", O_RDWR));
    tell("works:/dev/null", can_open("/dev/null", O_RDWR));
    tell("works:/dev/ptmx", can_open("/dev/ptmx", O_RDWR | O_NOCTTY));
    tell("mount:root-dev", statvfs("/", &fs) == 0 && !(fs.f_flag & ST_NODEV));
    tell("mount:sys-write", statvfs("/sys", &fs) == 0 && !(fs.f_flag & ST_RDONLY));
    tell("mount:shm-exec", statvfs("/dev/shm", &fs) == 0 && !(fs.f_flag & ST_NOEXEC));
    /* devtmpfs: the host's own node, whose mode root could change */
    tell("mount:dev-of-the-host",
         stat("/dev/null", &st) == 0 && major(st.st_dev) == 0 && st.st_ino < 16 && st.st_nlink > 1);
}

/* As many as podman's limit, and some more: where none stands in the way, all of them come. */
static void look_at_processes(void)
{
    static pid_t pids[2300];
    const int count = sizeof pids / sizeof *pids;
    int n = 0;
    fflush(stdout);
    for (; n < count; n++) {
        pids[n] = fork();
        if (pids[n] == 0) {
            pause();
            _exit(0);
        }
        if (pids[n] < 0)
            break;
    }
    tell("processes:unlimited", n == count || errno != EAGAIN);
    for (int i = 0; i < n; i++)
        kill(pids[i], SIGKILL);
    while (n > 0 && wait(NULL) > 0)
        n--;
}

static void look_at_status(void)
{
    char line[256];
    unsigned long long bits;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file)) {
        int number;
        if (sscanf(line, "Cap%*3[a-zA-Z]: %llx", &bits) == 1)
            for (int i = 0; i < 64; i++)
                if (bits >> i & 1)
                    printf("%.6s:%d open\n", line, i);
        if (sscanf(line, "NoNewPrivs: %d", &number) == 1)
            tell("new-privileges", number == 0);
        if (sscanf(line, "Seccomp: %d", &number) == 1)
            tell("unfiltered", number != 2);
    }
    if (file)
        fclose(file);
}

/* The numbers of the host's, given as arguments, are not to be seen. */
static void look_at_namespaces(int count, char **of_host)
{
    static const char *const kinds[] = { "pid", "mnt", "ipc", "uts", "net", "cgroup" };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char path[64], own[64] = "";
        bool same = false;
        snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
        if (readlink(path, own, sizeof own - 1) < 0)
            continue;
        for (int k = 0; k < count; k++)
            same = same || strcmp(own, of_host[k]) == 0;
        snprintf(path, sizeof path, "namespace:%s", kinds[i]);
        tell(path, same);
    }
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "keyring") == 0) {
        syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
        syscall(SYS_add_key, "user", KEY, "x", 1ul, SESSION_KEYRING);
        if (try_key() < 0)
            fprintf(stderr, "no keys here\n");
        execvp(argv[2], argv + 2);
        return 127;
    }
    is_first = getpid() == 1;
    look_at_descriptors();
    look_at_status();
    look_at_namespaces(argc - 1, argv + 1);
    look_at_devices();
    look_at_paths();
    look_at_calls();
    look_at_processes();
    return 0;
}
