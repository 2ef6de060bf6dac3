/* Lists, failures, sizes and signals: what bench.h declares. */
#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

static volatile sig_atomic_t stop_signal;
static int stop_fd = -1;

int bench_fail(struct bench_reason *reason, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(reason->text, sizeof reason->text, format, args);
    va_end(args);
    return -1;
}

int bench_list_add(struct bench_list *list, const char *text)
{
    /* Grown at every power of two. */
    if ((list->count & (list->count - 1)) == 0) {
        size_t room = list->count ? list->count * 2 : 1;
        char **items = reallocarray(list->items, room, sizeof *items);
        if (!items)
            return -1;
        list->items = items;
    }
    char *copy = strdup(text);
    if (!copy)
        return -1;
    list->items[list->count++] = copy;
    return 0;
}

void bench_list_close(struct bench_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct bench_list){ 0 };
}

static void stop(int number)
{
    uint64_t one = 1;
    int code = errno;
    if (!stop_signal)
        stop_signal = number;
    ssize_t n = write(stop_fd, &one, sizeof one);
    (void)n;
    errno = code;
}

int bench_stop_watch(struct bench_reason *reason)
{
    struct sigaction action = { .sa_handler = stop };
    stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop_fd < 0 || sigaction(SIGINT, &action, NULL) < 0 ||
        sigaction(SIGTERM, &action, NULL) < 0)
        return bench_fail(reason, "watching for signals: %s", strerror(errno));
    return 0;
}

int bench_stopped(void)
{
    return stop_signal;
}

int bench_stop_fd(void)
{
    return stop_fd;
}

const char *bench_format_size(uint64_t bytes, char *buf, size_t size)
{
    static const char units[] = "KMGTPE";
    unsigned unit = 0;
    if (bytes < 1024) {
        snprintf(buf, size, "%u", (unsigned)bytes);
        return buf;
    }
    while (bytes >> 10 * unit >= 1024)
        unit++;
    uint64_t mask = (1ull << 10 * unit) - 1, part = bytes & mask, whole = bytes >> 10 * unit;
    uint64_t tenths = whole < 10 ? (part * 10 >> 10 * unit) + ((part * 10 & mask) > 0)
                      : part > 0 ? 10
                                 : 0;
    whole += tenths / 10;
    tenths %= 10;
    if (whole == 1024 && unit < 6) {
        whole = 1;
        unit++;
    }
    if (whole < 10)
        snprintf(buf, size, "%u.%u%c", (unsigned)whole, (unsigned)tenths, units[unit - 1]);
    else
        snprintf(buf, size, "%u%c", (unsigned)whole, units[unit - 1]);
    return buf;
}
