/* Rights of the process that asks, as /proc tells them. */
#include "mount/asker.h"

#include <linux/capability.h>
#include <stagefs/auto.h>
#include <string.h>
#include <unistd.h>

static FILE *open_proc(pid_t pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return fopen(path, "re");
}

/* It is, if all user numbers of its namespace stand for themselves. Only there do capabilities hold
 * for the machine. */
bool sfs_asker_is_of_machine(pid_t pid)
{
    AUTO(sfs_close_file) FILE *file = open_proc(pid, "uid_map");
    unsigned inside, outside, count;
    return file && fscanf(file, "%u %u %u", &inside, &outside, &count) == 3 && inside == 0 &&
           outside == 0 && count == ~0u;
}

/* Reads /proc/PID/status. Of the four numbers behind "Uid:" (real, effective, saved, and that for
 * file systems) it takes the last. */
static bool read_status(pid_t pid, unsigned *ret_uid, unsigned long long *ret_capabilities)
{
    AUTO(sfs_close_file) FILE *file = open_proc(pid, "status");
    char line[256];
    int found = 0;
    while (file && found < 2 && fgets(line, sizeof line, file))
        found += sscanf(line, "Uid: %*u %*u %*u %u", ret_uid) == 1 ||
                 sscanf(line, "CapEff: %llx", ret_capabilities) == 1;
    return found == 2;
}

bool sfs_asker_is_trusted(pid_t pid, uid_t uid)
{
    unsigned own = 0;
    unsigned long long capabilities = 0;
    if (pid <= 0 || !read_status(pid, &own, &capabilities))
        return false;
    if (own != uid)
        return uid == 0;
    return capabilities >> CAP_SYS_ADMIN & 1 && sfs_asker_is_of_machine(pid);
}

/* Returns the size of what the link says, 0: it cannot be read. */
static size_t read_link(pid_t pid, const char *name, char *text)
{
    char link[64], found[SFS_ASKER_PROGRAM];
    snprintf(link, sizeof link, "/proc/%d/%s", (int)pid, name);
    ssize_t size = readlink(link, found, sizeof found - 1);
    size_t used = size > 0 ? (size_t)size : 0;
    memcpy(text, found, used);
    text[used] = 0;
    return used;
}

/* Takes away what the process does not see: where its root is another than ours (a chroot, a
 * runtime that does not pivot), the links of /proc name that root's place first. */
static void take_root_off(pid_t pid, char text[SFS_ASKER_PROGRAM])
{
    char root[SFS_ASKER_PROGRAM];
    size_t size = read_link(pid, "root", root);
    if (size > 1 && strncmp(text, root, size) == 0 && text[size] == '/')
        memmove(text, text + size, strlen(text + size) + 1);
}

/* Reads what the link of /proc says, or the short name. */
static void read_program(pid_t pid, char text[SFS_ASKER_PROGRAM])
{
    read_link(pid, "exe", text);
    if (*text == '/') {
        take_root_off(pid, text);
        return;
    }
    AUTO(sfs_close_file) FILE *file = open_proc(pid, "comm");
    if (!file || !fgets(text, SFS_ASKER_PROGRAM, file))
        *text = 0;
    text[strcspn(text, "\n")] = 0;
}

const char *sfs_asker_program(pid_t pid, char text[SFS_ASKER_PROGRAM])
{
    *text = 0;
    if (pid > 0)
        read_program(pid, text);
    for (char *at = text; *at; at++) /* an image chooses the names of its programs */
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    return text;
}
