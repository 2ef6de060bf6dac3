/* Programs of the host that are started for one answer: without a shell, with signals as a program
 * expects them. */
#ifndef STAGEFS_PROGRAM_H
#define STAGEFS_PROGRAM_H

#include <sys/types.h>

/* Starts argv[0], found on $PATH, with these three as its standard streams; -1: /dev/null. Of other
 * descriptors it gets those that are not closed on exec. The caller waits for it. -ENOENT: there is
 * no such program; other errors as posix_spawnp() gives them, negative. */
int sfs_program_start(const char *const argv[], const int streams[3], pid_t *ret_pid);
/* Waits until it has ended, however often a signal comes. Returns its exit status, 128 where a
 * signal ended it; -errno. */
int sfs_program_wait(pid_t pid);

#endif
