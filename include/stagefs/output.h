/* Files that a user asked for by name. */
#ifndef STAGEFS_OUTPUT_H
#define STAGEFS_OUTPUT_H

#include <stddef.h>
#include <sys/types.h>

struct sfs_error;

/* Writes what a user asked for to the file that the user named, as a shell's ">" would: what is no
 * regular file (a device, a pipe) stays and is written to, and a symlink is followed, by the
 * kernel's rules for other users' links. A regular file is replaced, and appears complete or not at
 * all. "-" is standard output. Waits for who reads a pipe. */
int sfs_io_write_output(const char *path, const void *data, size_t size, mode_t mode,
                        struct sfs_error *err);

#endif
