/* Who asks: what the kernel tells of a request is a number, and /proc the rest. */
#ifndef STAGEFS_ASKER_H
#define STAGEFS_ASKER_H

#include "base/banned.h"
#include <stdbool.h>
#include <sys/types.h>

/* May the asker read trusted attributes, which takes CAP_SYS_ADMIN over this machine? `uid` is the
 * one that it asks with: if that is not its own, a file system in between, such as an overlay, asks
 * with the rights of who mounted it. False where /proc does not tell. */
bool sfs_asker_is_trusted(pid_t pid, uid_t uid);

/* Is the process in the user namespace of the machine, and not in one that some user made? */
bool sfs_asker_is_of_machine(pid_t pid);

#endif
