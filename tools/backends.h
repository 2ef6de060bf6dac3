/* The back ends that a stage is measured on: the stagefs mount, and the same files elsewhere. */
#ifndef STAGEFS_BACKENDS_H
#define STAGEFS_BACKENDS_H

#include <stagefs/error.h>
#include <stddef.h>

#define MAX_BACKENDS 8

struct backend {
    const char *label; /* "stagefs", "dir", "overlay", "squashfs", "erofs" */
    char *path;        /* the tree's root; owned */
    int mounted;       /* it is a mount, and unmounted at the end */
};

struct backends {
    char *work; /* path of the temporary directory that holds all; owned */
    struct backend list[MAX_BACKENDS];
    size_t count;
    unsigned left_out; /* how many files the last copy left out, as this user may not read them */
};

/* Makes the working directory below $TMPDIR; backends_close() removes it. */
int backends_open(struct backends *backends, struct sfs_error *err);
/* Makes an empty directory below the working directory for `label` and enters it in the list. */
int backends_add(struct backends *backends, const char *label, struct sfs_error *err);
/* Fills the last one with the files of `source`: "dir" copies them, "overlay" mounts the kernel's
 * overlayfs over the copy, "squashfs" and "erofs" pack and mount them. ENOTSUP: the tool or the
 * right is missing; the words say which. */
int backends_fill(struct backends *backends, const char *source, struct sfs_error *err);
/* Unmounts and removes everything. */
void backends_close(struct backends *backends);
/* Copies `size` bytes of paths, each ended by a NUL, from one directory to another, which is empty,
 * with the directories that they are in. Waits. EINTR: ending_signal() came. */
int backends_copy_files(struct backends *backends, const char *source, const char *destination,
                        const char *paths, size_t size, struct sfs_error *err);

#endif
