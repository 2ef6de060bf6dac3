/* What frees readers when a mount's process is killed.
 *
 * The kernel ends what was asked of a FUSE process when its last device is closed. But a thread
 * that stores pages ahead waits, and cannot be killed while it does, for a page that a reader
 * holds, who waits for an answer of that very process: its device stays open, and all of them wait
 * for ever.
 *
 * So such threads get a table of open files of their own, with another device of the same
 * connection: the others' device is then closed with the last of the others, which ends all that
 * was read from it. What nobody had read yet is refused by a process that does nothing else: it
 * begins when the others' table is gone, and ends with the process that it is of. */
#ifndef STAGEFS_GUARD_H
#define STAGEFS_GUARD_H

struct sfs_guard;

/* Starts the process, for the mounted session's `device`. NULL: this kernel cannot, or there is no
 * memory; then there is none. */
struct sfs_guard *sfs_guard_start(int device);
/* For the calling thread, which is going to store pages: from now on it has a table of open files
 * of its own, in which the number of the device means another one. Before anybody uses the mount:
 * what is open in it would be held by that table. Files, directories and sockets stay open there;
 * pipes, terminals and the standard descriptors do not, since others wait for their end. */
void sfs_guard_enter(const struct sfs_guard *guard);
/* Ends it and sets *guard to NULL. */
void sfs_guard_stop(struct sfs_guard **guard);

#endif
