/* Mounts of a stage that record what is read, or learn of it, one after another, for a harness that
 * asks for them (bench/record.h has the questions). The stage is opened once, in a process that
 * serves them. */
#ifndef STAGEFS_RECORDING_H
#define STAGEFS_RECORDING_H

#include "tool.h"

#include <sys/types.h>

struct recording {     /* all-zero is closed */
    char *dir, *trace; /* where the mounts are, and the file that they write; owned */
    char *learned;     /* a cache directory of their own, for what they learn; owned */
    int lent;          /* the harness's end of the socket */
    int asked;         /* our end of it */
    int wanted;        /* a pipe to the server: a byte says what for */
    int told;     /* a pipe from the server: a byte when a mount answers, and when it is gone */
    pid_t server; /* 0: not started yet, the first question does */
    bool mounted; /* there is a mount now */
    struct session *session; /* borrowed; not opened in this process */
};

/* Makes the directory of the mounts below `work`, and the socket. The caller closes it. */
int recording_open(struct recording *recording, struct session *session, const char *work,
                   struct sfs_error *err);
/* Closes our copy of the harness's end, and answers until the harness is gone. Waits. */
void recording_answer(struct recording *recording);
/* Ends the server, with its mount. */
void recording_close(struct recording *recording);

#endif
