/* Who asks: of a request the kernel tells the process's number, and /proc tells the rest. */
#ifndef STAGEFS_ASKER_H
#define STAGEFS_ASKER_H

#include "base/banned.h"
#include <stdbool.h>
#include <sys/types.h>

/* May the process read trusted attributes, which takes CAP_SYS_ADMIN over this machine? `uid` is
 * the one that came with the request: if that is not the process's own, a file system in between,
 * such as an overlay, asks with the rights of the user who mounted it. False where /proc does not
 * tell. */
bool sfs_asker_is_trusted(pid_t pid, uid_t uid);

/* Is the process in the user namespace of the machine, and not in one that some user made? */
bool sfs_asker_is_of_machine(pid_t pid);

/* The program of a process: its path where the program saw it, or without that the name that /proc
 * calls it, with '?' for control bytes. Fills and returns `text`; "" where /proc does not tell. */
#define SFS_ASKER_PROGRAM 256
const char *sfs_asker_program(pid_t pid, char text[SFS_ASKER_PROGRAM]);

#endif
