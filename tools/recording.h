/* Mounts of a stage that record what is read, one after another, for a harness that asks for them
 * (bench/record.h has the questions). The stage is opened once, in a process that serves them. */
#ifndef STAGEFS_RECORDING_H
#define STAGEFS_RECORDING_H

#include "tool.h"

#include <sys/types.h>

struct recording {     /* all-zero is closed */
    char *dir, *trace; /* where the mounts are, and what they write; owned */
    int lent;          /* the harness's end of the socket; closed when exec comes */
    int asked;         /* ours */
    int wanted, told;  /* to the server, a byte a mount; from it, one when it answers, one when it
                          is gone */
    pid_t server;      /* 0: none yet, it is started by the first question */
    bool mounted;
    struct session *session; /* borrowed, not open in this process */
};

/* Below the directory `work`. */
int recording_open(struct recording *recording, struct session *session, const char *work,
                   struct sfs_error *err);
/* Closes our copy of the harness's end, and answers until the harness is gone. Waits. */
void recording_answer(struct recording *recording);
/* Ends the server, with its mount. */
void recording_close(struct recording *recording);

#endif
