/* Whole reads and writes, and files that appear complete or not at all.
 * All of it waits for the disk. Errors name the path. */
#ifndef STAGEFS_IO_H
#define STAGEFS_IO_H

#include "base/banned.h"
#include <stagefs/auto.h>
#include <stagefs/error.h>
#include <stagefs/output.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads `size` bytes at `offset`, or fewer at the end of the file. Returns the count, or -errno. */
ssize_t sfs_io_read_at(int fd, void *buf, size_t size, uint64_t offset);

/* Writes all of it. Returns 0 or -errno. */
int sfs_io_write_all(int fd, const void *buf, size_t size);

/* Reads the whole file `name` in directory `dirfd` (AT_FDCWD allowed) into fresh memory,
 * NUL-terminated behind its *ret_size bytes. The caller frees. E2BIG: larger than `max`. Waits for
 * whoever writes to a pipe, but to one that has a name (mkfifo) only some seconds: ETIMEDOUT. This
 * is for files that the user names, and the kernel's. */
int sfs_io_read_file(int dirfd, const char *name, size_t max, char **ret_data, size_t *ret_size,
                     struct sfs_error *err);

/* Opens for reading what somebody else may have put there: only a regular file, or a symlink to
 * one, and without waiting for who writes to a pipe. The caller closes *ret_fd. EISDIR; EBADMSG: it
 * is something else that is no regular file. */
int sfs_io_open_regular(int dirfd, const char *name, int *ret_fd, struct sfs_error *err);
/* As sfs_io_read_file(), of what sfs_io_open_regular() opens. */
int sfs_io_read_regular(int dirfd, const char *name, size_t max, char **ret_data, size_t *ret_size,
                        struct sfs_error *err);

/* Gives the calling thread a table of open files of its own, with 0, 1 and 2 alone in it. A thread
 * that waits for a file system which its own process serves must not hold that open: after SIGKILL
 * it would keep alive what it waits for. Best effort: Linux before 5.9 cannot. */
void sfs_io_own_files(void);

/* mkdir -p: makes the directory and those above it that lack, with mode 0777 less umask. */
int sfs_io_make_dirs(const char *path, struct sfs_error *err);
/* A directory of this user's alone: mode 0700 whatever the umask, if it is not there yet. What
 * lacks above it is made as by sfs_io_make_dirs(). */
int sfs_io_make_private_dir(const char *path, struct sfs_error *err);

/* A file under a temporary name ("." SFS_IO_TEMP "XXXXXX" in the directory it will live in), locked
 * (flock) while it is written so that sfs_io_sweep() can tell a live one from one that was left
 * behind. */
#define SFS_IO_TEMP "stagefs-tmp-"
struct sfs_io_temp {
    int fd;        /* open for reading and writing; -1: none */
    int dirfd;     /* the directory that it is in; -1: none */
    char name[64]; /* its temporary name; empty once it was committed */
};
/* Fills `name` with a random temporary name. Something may have it already: open with O_EXCL. */
void sfs_io_temp_name(char name[64]);
/* Makes a file in `dir`, open and locked. The caller closes it with sfs_io_temp_close(), which may
 * be called after a failure, too. */
int sfs_io_temp_open(struct sfs_io_temp *temp, const char *dir, mode_t mode, struct sfs_error *err);
/* Brings the file to the disk under `name` in the same directory, replacing what is there: fsync,
 * rename, fsync of the directory. */
int sfs_io_temp_commit(struct sfs_io_temp *temp, const char *name, struct sfs_error *err);
/* The same without waiting for the disk: after a crash of the machine the file may be there and
 * hold something else. For what is checked when it is read, and costs little if it is lost. */
int sfs_io_temp_rename(struct sfs_io_temp *temp, const char *name, struct sfs_error *err);
/* Removes it if it was not committed. Fine after commit, and on an all-zero struct with fd -1. */
void sfs_io_temp_close(struct sfs_io_temp *temp);
/* Where temporary files go that may be large: $TMPDIR, else /var/tmp, since /tmp is often in
 * memory. Borrowed. */
const char *sfs_io_temp_parent(void);
/* Opens a file there that has no name, for reading and writing. It is gone when the caller closes
 * *ret_fd. */
int sfs_io_open_unnamed(int *ret_fd, struct sfs_error *err);

/* Removes this user's temporary files in `dir` whose writer is gone. Best effort, no errors. */
void sfs_io_sweep(const char *dir);

/* Writes the file `name` in `dir` so that it appears complete or not at all, replacing what is
 * there. */
int sfs_io_replace_file(const char *dir, const char *name, const void *data, size_t size,
                        mode_t mode, struct sfs_error *err);

#endif
