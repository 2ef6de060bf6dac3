/* The names that --front takes. */
#include "front_name.h"

#include <string.h>

bool front_parse(const char *name, enum sfs_front *ret_front)
{
    static const char *const names[] = {
        [SFS_FRONT_FUSE] = "fuse",
        [SFS_FRONT_AUTO] = "auto",
        [SFS_FRONT_EROFS] = "erofs",
    };
    *ret_front = SFS_FRONT_AUTO;
    for (unsigned i = 0; name && i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) {
            *ret_front = (enum sfs_front)i;
            return true;
        }
    return !name;
}
