/* What a sandbox may do: the same for every runtime, and no more than podman gives by default
 * (docs/security.md has the table, tests/e2e/sandbox.sh looks from inside). */
#include "run/run_parts.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/vfs.h>

/* Podman's capabilities. Docker's CAP_MKNOD is not among them: a command gets no devices but those
 * in /dev. */
const struct run_capability sfs_run_capabilities[] = {
    { "CAP_CHOWN", CAP_CHOWN },
    { "CAP_DAC_OVERRIDE", CAP_DAC_OVERRIDE },
    { "CAP_FOWNER", CAP_FOWNER },
    { "CAP_FSETID", CAP_FSETID },
    { "CAP_KILL", CAP_KILL },
    { "CAP_NET_BIND_SERVICE", CAP_NET_BIND_SERVICE },
    { "CAP_SETFCAP", CAP_SETFCAP },
    { "CAP_SETGID", CAP_SETGID },
    { "CAP_SETPCAP", CAP_SETPCAP },
    { "CAP_SETUID", CAP_SETUID },
    { "CAP_SYS_CHROOT", CAP_SYS_CHROOT },
    { NULL, 0 },
};

/* What podman and docker mask: files that tell of the host, or have been a way into it. */
const char *const sfs_run_masked_paths[] = {
    "/proc/acpi",        "/proc/asound",    "/proc/interrupts",
    "/proc/kcore",       "/proc/keys",      "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi",      "/proc/timer_list",
    "/proc/timer_stats", "/sys/dev/block",  "/sys/devices/virtual/powercap",
    "/sys/firmware",     "/sys/fs/selinux", NULL,
};

const char *const sfs_run_read_only_paths[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};

bool sfs_run_has_unified_cgroups(void)
{
    struct statfs fs;
    return statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

bool sfs_run_are_cores_piped(void)
{
    char first = '|';
    AUTO(sfs_close_fd) int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY | O_CLOEXEC);
    return fd < 0 || read(fd, &first, 1) < 0 || first == '|';
}
