/* Ctrl-C and SIGTERM while other programs do the work: they are told to end, and what they left is
 * cleaned up by us. */
#ifndef STAGEFS_ENDING_H
#define STAGEFS_ENDING_H

#include <sys/types.h>

/* From now on SIGINT and SIGTERM end the child at work, not this process. */
void ending_watch(void);
/* Which signal came; 0: none. */
int ending_signal(void);
/* In a fresh child that runs our own code: the signals are its own again. */
void ending_unwatch(void);
/* Waits for a child, which gets the signals that come meanwhile. Its exit status, or 128 and the
 * signal that ended it. */
int ending_wait(pid_t child);
/* The same in two steps, for whoever has something to do in between. ending_begin(0): the child is
 * no longer to be told. */
void ending_begin(pid_t child);
int ending_finish(pid_t child);

#endif
