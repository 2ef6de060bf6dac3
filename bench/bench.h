/* What the parts of the harness share: options, results, and failures in words. The harness takes
 * directories, mounted or not, and uses no code of fs/, so that it cannot favour it. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stagefs/auto.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_MAX_DIRS   16u
#define BENCH_MAX_VALUES 32u /* times that one run can report */
#define BENCH_REASON     240u

struct bench_reason {
    char text[BENCH_REASON];
};

/* Sets the words; returns -1. */
int bench_fail(struct bench_reason *reason, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct bench_dir {
    const char *label;
    char *path;        /* absolute; owned */
    unsigned delay_ms; /* put in on purpose, to see whether the harness finds it */
};

/* Texts in a growing list. All-zero is empty. */
struct bench_list {
    char **items;
    size_t count;
};
/* Adds a copy of `text`. -1: out of memory. */
int bench_list_add(struct bench_list *list, const char *text);
/* Frees what is in it. Fine on an all-zero struct. */
void bench_list_close(struct bench_list *list);

/* From now on SIGINT and SIGTERM end nothing by themselves: what measures asks bench_stopped(), and
 * keeps what it has. -1: the reason says why not. */
int bench_stop_watch(struct bench_reason *reason);
/* Which of the two signals came; 0: none. */
int bench_stopped(void);
/* A file descriptor that is readable once one came, for poll(); borrowed. -1: bench_stop_watch()
 * was not called. */
int bench_stop_fd(void);

/* Writes a size into buf as `ls -h` and stagefs tell it: powers of 1024, rounded up; "59M". Returns
 * buf. */
const char *bench_format_size(uint64_t bytes, char *buf, size_t size);

#define BENCH_MAX_IDS 66u

struct bench_options {
    struct bench_dir dirs[BENCH_MAX_DIRS];
    unsigned dir_count;
    unsigned reference; /* number of the directory that the others are compared with */
    unsigned found_in;  /* number of the directory that patterns are looked up in */
    struct bench_list libs, execs, env, before_cold, drop_extra;
    struct bench_list about; /* "KEY=VALUE", for whoever reads the report */
    bool cold, gpu, no_root, json, quiet, list_needed;
    const char *workdir;             /* of commands; NULL: the root */
    struct {                         /* who commands are; count 0: who we are */
        unsigned ids[BENCH_MAX_IDS]; /* user, group, other groups */
        unsigned count;
    } user;
    const char *html;
    int record_fd; /* record.h; 0: none */
    unsigned runs, timeout_s;
    uint64_t seed;
};

/* What one run of a child reported. */
struct bench_result {
    struct {
        char name[32];
        double seconds;
    } values[BENCH_MAX_VALUES];
    unsigned count;
    struct {
        char name[32];
        struct bench_reason reason;
    } left_out[BENCH_MAX_VALUES];
    unsigned left_out_count;
    bool failed; /* values that were reported before are kept */
    struct bench_reason reason;
};

#endif
