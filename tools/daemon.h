/* Going to the background, for a command that serves. */
#ifndef STAGEFS_DAEMON_H
#define STAGEFS_DAEMON_H

#include <stagefs/error.h>

/* Splits into a child that goes on (returns 0 there, with *ret_fd to report on) and a parent, which
 * never returns: it waits for the report and exits with its status. Until then the child keeps the
 * terminal, so its words and Ctrl-C arrive as if there were one process; a child that ends without
 * a report makes the parent exit with its status, or with 1 and a sentence. Call before any thread
 * is started. */
int daemon_start(int *ret_fd, struct sfs_error *err);
/* In the child: lets the parent exit with `status` (0: the mount answers). Then detaches from the
 * terminal. */
void daemon_report(int fd, int status);

#endif
