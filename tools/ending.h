/* Ctrl-C and SIGTERM while other programs do the work: they are told to end, and what they left is
 * cleaned up by us. */
#ifndef STAGEFS_ENDING_H
#define STAGEFS_ENDING_H

#include <sys/types.h>

/* From now on SIGINT and SIGTERM end the child at work, not this process. */
void ending_watch(void);
/* Which of the two signals came; 0: none. */
int ending_signal(void);
/* To be called in a fresh child that runs our own code: the signals end it again. */
void ending_unwatch(void);
/* Waits for a child, which gets the signals that come meanwhile. Returns its exit status, or 128
 * plus the signal that ended it. */
int ending_wait(pid_t child);
/* The same in two steps, for a caller that has something to do in between: from now on the child
 * gets the signals. child 0: nobody does. */
void ending_begin(pid_t child);
/* Waits for the child. As ending_wait(). */
int ending_finish(pid_t child);

#endif
