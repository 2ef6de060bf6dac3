/* Notes what a mount is asked for, to make a profile of it (profile.h). Any thread may note;
 * each note takes a lock for a moment. The kernel asks for a name, a link or a page once and then
 * remembers, so there are few notes, and the first use is the one that is seen.
 *
 * A mount that records gives up what would hide uses: listings do not carry attributes along, and
 * opens are not skipped. Whoever wants to know pages has nothing fetched ahead, too. A mapping is
 * not told apart from a read: the kernel asks for the pages of both alike, and does not say that a
 * file is mapped. */
#ifndef STAGEFS_RECORDER_H
#define STAGEFS_RECORDER_H

#include "mount/forest.h"
#include "tree/profile.h"

struct sfs_recorder;

/* Makes a recorder, which the caller closes. `root`: the directory whose path is "/"; what is not
 * below it is not noted. with_pages: it tells which bytes of a file were asked for. */
int sfs_recorder_open(sfs_ino root, bool with_pages, struct sfs_recorder **ret_recorder,
                      struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. */
void sfs_recorder_close(struct sfs_recorder **recorder);

/* Notes that `name` was looked for in `dir`. ino 0: it is not there; `who` is then the program that
 * wanted it, as far as somebody knows (NULL: nobody does). */
void sfs_recorder_lookup(struct sfs_recorder *recorder, sfs_ino dir, const char *name, sfs_ino ino,
                         const char *who);
/* Notes the use of an inode whose name was looked up before, or of the root. */
void sfs_recorder_use(struct sfs_recorder *recorder, sfs_ino ino, enum sfs_use_kind kind);
/* Notes that bytes of such an inode were asked for. */
void sfs_recorder_read(struct sfs_recorder *recorder, sfs_ino ino, uint64_t offset, uint64_t size);

/* Calls `missing` for each path that was looked for in vain, in the order in which they came, with
 * the program that wanted it first ("": not known). */
void sfs_recorder_missing(struct sfs_recorder *recorder,
                          void (*missing)(void *user, const char *path, const char *who),
                          void *user);

/* Appends the profile, in the order of first use. 0 or -ENOMEM. */
int sfs_recorder_print(struct sfs_recorder *recorder, struct sfs_buf *buf);

#endif
