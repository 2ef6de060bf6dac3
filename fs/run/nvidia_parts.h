/* Between the files that find out what there is for GPUs. */
#ifndef STAGEFS_NVIDIA_PARTS_H
#define STAGEFS_NVIDIA_PARTS_H

#include "base/banned.h"
#include <stagefs/nvidia.h>
#include <stdbool.h>

/* One word of NVIDIA_VISIBLE_DEVICES after another: NULL at the end. *list moves on; the word's end
 * is at *ret_size. */
const char *sfs_nvidia_word(const char **list, size_t *ret_size);

/* Adds a device file whose path below `root` is `path`. 1: it is none, and nothing was added.
 * ENOMEM. */
int sfs_nvidia_add_device(struct sfs_nvidia *nvidia, const char *root, const char *path,
                          struct sfs_error *err);
/* Adds a file of the driver, by its path below `root`: a library for the libraries' directory, or
 * a program for `target`. What is no regular file, or there already, is passed over. ENOMEM. */
int sfs_nvidia_add_file(struct sfs_nvidia *nvidia, const char *root, const char *path,
                        const char *target, struct sfs_error *err);
/* Adds the symlinks that lead to libraries which are there already, as they are beside them. */
int sfs_nvidia_add_links(struct sfs_nvidia *nvidia, struct sfs_error *err);

/* Takes all that a description of the machine tells of the GPUs. 1: there is none that names them
 * all. ENOMEM. */
int sfs_nvidia_read_cdi(struct sfs_nvidia *nvidia, const char *root, const char *visible,
                        struct sfs_error *err);

#endif
