/* The harness's side of the questions for recording mounts, and what their files say. */
#include "record.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

int bench_ranges_add(struct bench_ranges *ranges, uint64_t offset, uint64_t size)
{
    struct bench_range *last = ranges->count ? &ranges->items[ranges->count - 1] : NULL;
    ranges->bytes += size;
    if (last && last->offset + last->size == offset) {
        last->size += size;
        return 0;
    }
    /* Grown at every power of two. */
    if ((ranges->count & (ranges->count - 1)) == 0) {
        size_t room = ranges->count ? ranges->count * 2 : 1;
        struct bench_range *items = reallocarray(ranges->items, room, sizeof *items);
        if (!items)
            return -1;
        ranges->items = items;
    }
    ranges->items[ranges->count++] = (struct bench_range){ offset, size };
    return 0;
}

void bench_ranges_close(struct bench_ranges *ranges)
{
    free(ranges->items);
    *ranges = (struct bench_ranges){ 0 };
}

void bench_reads_close(struct bench_reads *reads)
{
    for (size_t i = 0; i < reads->count; i++) {
        free(reads->items[i].path);
        bench_ranges_close(&reads->items[i].ranges);
    }
    free(reads->items);
    *reads = (struct bench_reads){ 0 };
}

/* ---- talking */

/* One line, without its end. */
static int receive(int fd, unsigned timeout_s, char *line, size_t size, struct bench_reason *reason)
{
    for (size_t used = 0; used + 1 < size; used++) {
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        int r = poll(&poll_fd, 1, (int)timeout_s * 1000);
        if (r == 0)
            return bench_fail(reason, "the mount that records does not answer");
        ssize_t n = r < 0 ? -1 : read(fd, line + used, 1);
        if (n <= 0)
            return bench_fail(reason, "the mount that records is gone");
        if (line[used] == '\n') {
            line[used] = 0;
            return 0;
        }
    }
    return bench_fail(reason, "the mount that records gave a line that is too long");
}

/* What follows the word `wanted` of the answer. */
static int ask(int fd, const char *question, const char *wanted, unsigned timeout_s, char *answer,
               size_t size, struct bench_reason *reason)
{
    char line[4200];
    if (send(fd, question, strlen(question), MSG_NOSIGNAL) < 0)
        return bench_fail(reason, "the mount that records is gone");
    if (receive(fd, timeout_s, line, sizeof line, reason) < 0)
        return -1;
    char *rest = line;
    const char *word = strsep(&rest, " ");
    if (strcmp(word, wanted) != 0 || !rest)
        return bench_fail(reason, "the mount that records: %.200s", rest ? rest : word);
    snprintf(answer, size, "%s", rest);
    return 0;
}

int bench_record_start(int fd, unsigned timeout_s, char *dir, size_t size,
                       struct bench_reason *reason)
{
    return ask(fd, "start\n", "ready", timeout_s, dir, size, reason);
}

int bench_record_learning(int fd, unsigned timeout_s, char *dir, size_t size,
                          struct bench_reason *reason)
{
    return ask(fd, "learn\n", "ready", timeout_s, dir, size, reason);
}

int bench_record_end(int fd, unsigned timeout_s, struct bench_reason *reason)
{
    char path[4096];
    return ask(fd, "stop\n", "done", timeout_s, path, sizeof path, reason);
}

int bench_record_forget(int fd, unsigned timeout_s, struct bench_reason *reason)
{
    char words[4096];
    return ask(fd, "forget\n", "forgot", timeout_s, words, sizeof words, reason);
}

/* ---- what it wrote */

/* In place. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        unsigned a, b, c;
        if (from[0] == '\\' && (a = (unsigned)from[1] - '0') < 4 &&
            (b = (unsigned)from[2] - '0') < 8 && (c = (unsigned)from[3] - '0') < 8) {
            *to = (char)(a << 6 | b << 3 | c);
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = 0;
}

static int take_ranges(char *text, struct bench_ranges *ranges)
{
    uint64_t offset, size;
    char *one;
    while ((one = strsep(&text, " ")))
        if (sscanf(one, "%" SCNu64 "+%" SCNu64, &offset, &size) == 2 &&
            bench_ranges_add(ranges, offset, size) < 0)
            return -1;
    return 0;
}

static int take_line(char *line, struct bench_reads *reads)
{
    line[strcspn(line, "\n")] = 0;
    char *rest = line;
    const char *word = strsep(&rest, " ");
    char *path = strsep(&rest, " ");
    bool has_bytes = strcmp(word, "read") == 0 || strcmp(word, "exec") == 0;
    if (!has_bytes || !path || *path != '/' || !rest)
        return 0;
    struct bench_read *items = reallocarray(reads->items, reads->count + 1, sizeof *items);
    if (!items)
        return -1;
    reads->items = items;
    unescape(path);
    struct bench_read *read = &items[reads->count];
    *read = (struct bench_read){ .path = strdup(path + 1) };
    if (!read->path)
        return -1;
    reads->count++;
    return take_ranges(rest, &read->ranges);
}

int bench_record_stop(int fd, unsigned timeout_s, struct bench_reads *reads,
                      struct bench_reason *reason)
{
    char path[4096];
    if (ask(fd, "stop\n", "done", timeout_s, path, sizeof path, reason) < 0)
        return -1;
    AUTO(sfs_close_file) FILE *file = fopen(path, "re");
    if (!file)
        return bench_fail(reason, "%s: %s", path, strerror(errno));
    AUTO(sfs_free) char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, file) >= 0)
        if (take_line(line, reads) < 0)
            return bench_fail(reason, "out of memory");
    return 0;
}
