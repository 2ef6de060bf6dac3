/* A growing byte buffer: the one place that reallocs. All-zero is empty. */
#ifndef STAGEFS_BUF_H
#define STAGEFS_BUF_H

#include "base/banned.h"
#include <stddef.h>

struct sfs_buf {
    char *data; /* NUL-terminated behind `size` once anything was added */
    size_t size;
    size_t capacity;
};

/* Each returns 0 or -ENOMEM; the buffer is unchanged after a failure. */
int sfs_buf_add(struct sfs_buf *buf, const void *data, size_t size);
int sfs_buf_add_str(struct sfs_buf *buf, const char *text);
int sfs_buf_printf(struct sfs_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Room for `size` more bytes; returns where they go (valid until the next call), or NULL. */
void *sfs_buf_grow(struct sfs_buf *buf, size_t size);
void sfs_buf_close(struct sfs_buf *buf); /* frees; the buffer is empty again */

#endif
