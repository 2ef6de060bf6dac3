/* How the sticky buffer grows, and what makes it fail: see buf.h. */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>

static int reserve(struct sfs_buf *buf, size_t size)
{
    size_t needed;
    if (buf->failed)
        return -ENOMEM;
    buf->failed = true;
    if (__builtin_add_overflow(buf->size, size, &needed) || needed >= SIZE_MAX / 2)
        return -ENOMEM;
    if (needed + 1 <= buf->capacity) {
        buf->failed = false;
        return 0;
    }
    size_t capacity = buf->capacity ? buf->capacity : 64;
    while (capacity < needed + 1)
        capacity *= 2;
    char *data = realloc(buf->data, capacity);
    if (!data)
        return -ENOMEM;
    buf->data = data;
    buf->capacity = capacity;
    buf->failed = false;
    return 0;
}

void *sfs_buf_grow(struct sfs_buf *buf, size_t size)
{
    if (reserve(buf, size) < 0)
        return NULL;
    void *place = buf->data + buf->size;
    buf->size += size;
    buf->data[buf->size] = 0;
    return place;
}

int sfs_buf_add(struct sfs_buf *buf, const void *data, size_t size)
{
    void *place = sfs_buf_grow(buf, size);
    if (!place)
        return -ENOMEM;
    if (size > 0)
        memcpy(place, data, size);
    return 0;
}

int sfs_buf_add_str(struct sfs_buf *buf, const char *text)
{
    return sfs_buf_add(buf, text, strlen(text));
}

int sfs_buf_printf(struct sfs_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0) {
        buf->failed = true;
        return -ENOMEM;
    }
    int r = sfs_buf_add(buf, text, (size_t)size);
    free(text);
    return r;
}

int sfs_buf_check(const struct sfs_buf *buf, struct sfs_error *err)
{
    return buf->failed ? sfs_fail_memory(err) : 0;
}

char *sfs_format(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    return size < 0 ? NULL : text;
}

const char *sfs_plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

void sfs_buf_close(struct sfs_buf *buf)
{
    free(buf->data);
    *buf = (struct sfs_buf){ 0 };
}
