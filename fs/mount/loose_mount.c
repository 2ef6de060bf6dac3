/* The system calls are made by their numbers, since glibc has functions only from 2.36 on. */
#include "mount/loose_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stagefs/auto.h>
#include <string.h>
#include <sys/syscall.h>

/* <linux/mount.h> has these, but not together with <sys/mount.h>. */
enum { OPEN_CLOEXEC = 1, SET_FLAG = 0, SET_STRING = 1, CREATE = 6, MOVE_FROM_EMPTY_PATH = 4 };

/* Reads the kernel's words, such as "e overlay: words": one message a read, of which the last says
 * most. The prefix tells how bad it is. */
static void read_words(int fd, char *words, size_t size)
{
    char text[512];
    ssize_t got;
    while ((got = read(fd, text, sizeof text - 1)) > 0) {
        text[got] = 0;
        text[strcspn(text, "\n")] = 0;
        if (text[0] == 'e' && text[1] == ' ')
            snprintf(words, size, "%s", text + 2);
    }
}

static int fail_in_words(int fd, const char *type, struct sfs_error *err)
{
    int code = errno;
    char words[512] = "";
    read_words(fd, words, sizeof words);
    return *words ? sfs_fail(err, code, "%s", words) : sfs_fail_errno(err, code, "%s", type);
}

int sfs_loose_mount(const char *type, const struct sfs_mount_parameter *parameters, size_t count,
                    unsigned attributes, int *ret_fd, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = (int)syscall(SYS_fsopen, type, OPEN_CLOEXEC);
    if (fd < 0)
        return sfs_fail_errno(err, errno, "%s", type);
    for (size_t i = 0; i < count; i++) {
        const struct sfs_mount_parameter *one = &parameters[i];
        if (syscall(SYS_fsconfig, fd, one->value ? SET_STRING : SET_FLAG, one->key, one->value, 0) <
            0)
            return fail_in_words(fd, type, err);
    }
    if (syscall(SYS_fsconfig, fd, CREATE, NULL, NULL, 0) < 0)
        return fail_in_words(fd, type, err);
    int made = (int)syscall(SYS_fsmount, fd, OPEN_CLOEXEC, attributes);
    if (made < 0)
        return fail_in_words(fd, type, err);
    *ret_fd = made;
    return 0;
}

int sfs_loose_mount_attach(int fd, const char *path, struct sfs_error *err)
{
    if (syscall(SYS_move_mount, fd, "", AT_FDCWD, path, MOVE_FROM_EMPTY_PATH) < 0)
        return sfs_fail_errno(err, errno, "mounting on %s", path);
    return 0;
}
