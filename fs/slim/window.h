/* A part of a file in memory: where one reads a header here and a block there, mostly onwards. */
#ifndef STAGEFS_WINDOW_H
#define STAGEFS_WINDOW_H

#include <stagefs/error.h>
#include <stddef.h>
#include <stdint.h>

/* A file to be looked into. */
struct sfs_device_source {
    /* Reads exactly `size` bytes at `offset`, which are in the file: 0, or -errno in words. */
    int (*read)(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err);
    void *user;
    uint64_t size; /* bytes of the file */
};

#define SFS_WINDOW_STEP (64u << 10)  /* bytes that are read at a time, at least */
#define SFS_WINDOW_ROOM (256u << 10) /* bytes that one may ask for */

struct sfs_window { /* all-zero but for `source` before it is used */
    const struct sfs_device_source *source;
    char *bytes; /* owned */
    uint64_t offset;
    size_t size;
};
/* Lends `size` bytes at `offset` until the next call. May wait. EBADMSG: the file ends before.
 * ENOMEM, or what the source says. */
int sfs_window_get(struct sfs_window *window, uint64_t offset, size_t size, const char **ret_bytes,
                   struct sfs_error *err);
/* The same, and tells how many bytes are there, `size` or more. */
int sfs_window_get_more(struct sfs_window *window, uint64_t offset, size_t size,
                        const char **ret_bytes, size_t *ret_size, struct sfs_error *err);
/* Frees what is in it. */
void sfs_window_done(struct sfs_window *window);

#endif
