/* Bringing bytes of files into the cache of a front (EROFS), by asking the front for them. */
#ifndef STAGEFS_FRONT_FILL_H
#define STAGEFS_FRONT_FILL_H

#include "mount/fill.h"
#include "mount/pack.h"
#include "tree/profile.h"
#include <stdatomic.h>

struct sfs_front_fill { /* all borrowed */
    int root;           /* of the front's mount, open */
    struct sfs_fill *ahead;
    const struct sfs_pack *pack; /* NULL: there is none */
    const atomic_bool *stop;     /* true: what is wanted is that this ends */
};

/* Brings what the pack has of a file, else what the use says of it, but for what is to be asked for
 * (sfs_fill_spares()). What is no regular file in the mount is left alone. Waits for the front, and
 * so for this process's session. Best effort, no errors. */
void sfs_front_fill_file(const struct sfs_front_fill *fill, sfs_ino ino, const struct sfs_use *use);

#endif
