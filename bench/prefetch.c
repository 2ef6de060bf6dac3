/* The rival that a start is held against: a command in a plain directory, while all that it will
 * touch is asked for ahead, in the order in which it wants it. What it wants is told by a profile
 * (stagefs(1), PROFILES), as a mount is told.
 *
 *   prefetch PROFILE ROOT COMMAND [ARGUMENT]... */
#include <stagefs/auto.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* Replaces "\040" by the byte that it stands for. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from;) {
        if (*from == '\\' && strspn(from + 1, "01234567") >= 3) {
            *to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to++ = *from++;
        }
    }
    *to = 0;
}

/* Has the kernel read the ranges "OFFSET+SIZE ..." of a file; none told: its first MiB. */
static void ask_ranges(int fd, char *ranges)
{
    char *rest = NULL, *word = ranges ? strtok_r(ranges, " \n", &rest) : NULL;
    if (!word)
        posix_fadvise(fd, 0, 1 << 20, POSIX_FADV_WILLNEED);
    for (; word; word = strtok_r(NULL, " \n", &rest)) {
        char *plus = NULL;
        long long offset = strtoll(word, &plus, 10);
        long long size = *plus == '+' ? strtoll(plus + 1, NULL, 10) : 0;
        posix_fadvise(fd, offset, size, POSIX_FADV_WILLNEED);
    }
}

/* Takes one line of the profile. */
static void ask_line(int root, char *line)
{
    line[strcspn(line, "\n")] = 0;
    if (strncmp(line, "read /", 6) != 0 && strncmp(line, "exec /", 6) != 0)
        return;
    char *path = line + 6, *ranges = strchr(path, ' ');
    if (ranges)
        *ranges++ = 0;
    unescape(path);
    AUTO(sfs_close_fd) int fd = openat(root, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        ask_ranges(fd, ranges);
}

static void ask_all(FILE *profile, int root)
{
    AUTO(sfs_free) char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, profile) >= 0)
        ask_line(root, line);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "prefetch: needs PROFILE ROOT COMMAND\n");
        return 2;
    }
    AUTO(sfs_close_file) FILE *profile = fopen(argv[1], "re");
    AUTO(sfs_close_fd) int root = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!profile || root < 0) {
        fprintf(stderr, "prefetch: %s: %s\n", argv[profile ? 2 : 1], strerror(errno));
        return 1;
    }
    pid_t asker = fork();
    if (asker == 0) {
        ask_all(profile, root);
        _exit(0);
    }
    if (asker < 0 || fchdir(root) < 0 || chroot(".") < 0 || chdir("/") < 0) {
        fprintf(stderr, "prefetch: %s: %s\n", argv[2], strerror(errno));
        return 1;
    }
    execv(argv[3], argv + 3);
    fprintf(stderr, "prefetch: %s: %s\n", argv[3], strerror(errno));
    return 127;
}
