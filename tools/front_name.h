/* --front. */
#ifndef STAGEFS_FRONT_NAME_H
#define STAGEFS_FRONT_NAME_H

#include <stagefs/mount.h>

/* Reads a front's name; NULL is "auto". False: there is none of that name. */
bool front_parse(const char *name, enum sfs_front *ret_front);

#endif
