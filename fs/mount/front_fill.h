/* Bringing bytes of files into the cache of a front (EROFS), by asking the front for them. */
#ifndef STAGEFS_FRONT_FILL_H
#define STAGEFS_FRONT_FILL_H

#include "mount/fill.h"
#include "tree/profile.h"
#include <stdatomic.h>

struct sfs_front_fill { /* all borrowed */
    int root;           /* of the front's mount, open */
    struct sfs_fill *ahead;
    const atomic_bool *stop; /* true: what is wanted is that this ends */
};

/* Brings what the use says of a file, but for what is to be asked for (sfs_fill_spares()). A pack
 * may hold more of it: it is as old as the last one that was made. What is no regular file in the
 * mount is left alone. Waits for the front, and so for this process's session. Best effort, no
 * errors. */
void sfs_front_fill_file(const struct sfs_front_fill *fill, sfs_ino ino, const struct sfs_use *use);

/* Where what was left to be asked for is read without this process (the pack is a device of the
 * front), the front's cache tells what was asked for. Calls `seen` for what is there of the use's
 * ranges that `is_left` says were left. Waits for the front. False: it cannot be seen. */
struct sfs_front_look {
    int root;
    bool (*is_left)(void *user, sfs_ino ino, struct sfs_range range);
    void (*seen)(void *user, sfs_ino ino, struct sfs_range range);
    void *user;
};
bool sfs_front_look_at(const struct sfs_front_look *look, sfs_ino ino, const struct sfs_use *use);

#endif
