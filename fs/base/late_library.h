/* A shared library that is loaded when it is first needed: what it brings along costs no other
 * start of the program, and a system without it can do all that does not need it. Its headers are
 * taken at compile time; its functions are found by name, and kept in a struct of pointers that has
 * one member a function. */
#ifndef STAGEFS_LATE_LIBRARY_H
#define STAGEFS_LATE_LIBRARY_H

#include <pthread.h>
#include <stagefs/error.h>
#include <stdbool.h>
#include <stddef.h>

struct sfs_late_function {
    const char *name;
    size_t place; /* of its pointer, in the struct of functions */
};

/* To be static: { .loading = PTHREAD_MUTEX_INITIALIZER, ... }. */
struct sfs_late_library {
    const char *name;           /* as sentences call it */
    const char *needed_for;     /* begins a sentence: "X is spoken by" */
    const char *package;        /* Debian's name of it */
    const char *const *sonames; /* the first that is there is taken; NULL ends them */
    const struct sfs_late_function *table;
    size_t count;
    void *functions;                      /* the struct of pointers, which is filled */
    int (*set_up)(struct sfs_error *err); /* called once they are there; may be NULL */
    pthread_mutex_t loading;
    bool is_loaded; /* guarded by loading */
};

/* Loads it, if no call before did; it stays loaded. Any thread. Waits for the disk. ENOTSUP: it is
 * not installed, or too old. Failures of set_up() are handed on. After a failure the next call
 * tries again. */
int sfs_late_library_load(struct sfs_late_library *library, struct sfs_error *err);

#endif
