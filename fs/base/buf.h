/* A growing byte buffer: the one place that reallocs. All-zero is empty.
 *
 * It is sticky: what could not be added for lack of memory sets `failed`, and from then on nothing
 * is added. So a printer adds line after line without looking, and asks once, at its end:
 *   sfs_buf_printf(&text, ...); sfs_buf_add_str(&text, ...);
 *   if (sfs_buf_check(&text, err) < 0) ... */
#ifndef STAGEFS_BUF_H
#define STAGEFS_BUF_H

#include "base/banned.h"
#include <stagefs/error.h>
#include <stagefs/format.h>
#include <stdbool.h>
#include <stddef.h>

struct sfs_buf {
    char *data;      /* NUL-terminated behind `size` once anything was added */
    size_t size;     /* bytes in use, without the NUL */
    size_t capacity; /* bytes allocated */
    bool failed;     /* something could not be added: nothing is, from then on */
};

/* Adds a copy of `size` bytes. 0 or -ENOMEM; the bytes are unchanged after a failure. */
int sfs_buf_add(struct sfs_buf *buf, const void *data, size_t size);
/* Adds the text, without its NUL. As sfs_buf_add(). */
int sfs_buf_add_str(struct sfs_buf *buf, const char *text);
/* Adds formatted text. As sfs_buf_add(). */
int sfs_buf_printf(struct sfs_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Room for `size` more bytes; returns where they go (valid until the next call), or NULL. */
void *sfs_buf_grow(struct sfs_buf *buf, size_t size);
/* 0 if all that was added is there, else -ENOMEM in words. */
int sfs_buf_check(const struct sfs_buf *buf, struct sfs_error *err);
/* Frees the bytes; the buffer is empty again, and may be used again. */
void sfs_buf_close(struct sfs_buf *buf);

#endif
