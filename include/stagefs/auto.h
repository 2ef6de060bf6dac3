/* Cleanup at scope exit, and moving out of it. No goto, no reference counts.
 *
 *   AUTO(sfs_tree_close) struct sfs_tree *tree = NULL;    closed when the scope is left
 *   *ret_tree = TAKE(tree);                               moved out: the scope keeps NULL
 *
 * Every sfs_*_close takes `T **`, accepts NULL and half-built objects, and sets NULL. */
#ifndef STAGEFS_AUTO_H
#define STAGEFS_AUTO_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Calls close(&variable) when the scope of the variable is left. */
#define AUTO(close) __attribute__((cleanup(close)))

/* The pointer's value, leaving NULL in the pointer: who takes the value owns what it points to. */
#define TAKE(ptr)                                                                                  \
    __extension__({                                                                                \
        __auto_type sfs_taken = (ptr);                                                             \
        (ptr) = NULL;                                                                              \
        sfs_taken;                                                                                 \
    })

/* The same for a file descriptor, leaving -1. */
#define TAKE_FD(fd)                                                                                \
    __extension__({                                                                                \
        int sfs_taken = (fd);                                                                      \
        (fd) = -1;                                                                                 \
        sfs_taken;                                                                                 \
    })

/* AUTO(sfs_free) char *text = ...; works for any pointer. */
static inline void sfs_free(void *ptr_to_ptr)
{
    void **ptr = ptr_to_ptr;
    free(*ptr);
    *ptr = NULL;
}

/* AUTO(sfs_close_fd) int fd = ...; closes what is open, and sets -1. */
static inline void sfs_close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* AUTO(sfs_close_file) FILE *file = ...; closes what is open, and sets NULL. Tells of no failure:
 * whoever writes a file closes it by hand. */
static inline void sfs_close_file(FILE **file)
{
    if (*file)
        fclose(*file);
    *file = NULL;
}

#endif
