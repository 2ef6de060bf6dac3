#include "bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
