/* How work that takes long says how far it is. fs/ never prints: tools/ draws the bar. */
#ifndef STAGEFS_PROGRESS_H
#define STAGEFS_PROGRESS_H

#include <stdint.h>

struct sfs_progress {
    /* Called from any thread, several at a time, at most some hundred times a second.
     * `what` is a short phrase ("indexing sha256:0123456789ab"); done and total are bytes; total 0:
     * unknown. done == total ends that piece of work. */
    void (*report)(void *user, const char *what, uint64_t done, uint64_t total);
    /* One sentence worth telling although nothing failed. May be NULL. */
    void (*warn)(void *user, const char *text);
    /* One sentence for those who want to know how things are done (-v). May be NULL. */
    void (*note)(void *user, const char *text);
    void *user;
};

#endif
