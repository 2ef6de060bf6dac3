/* Where containers/storage keeps images on this machine: by storage.conf, as podman reads it, or as
 * a reference says it. */
#ifndef STAGEFS_STORAGE_PLACE_H
#define STAGEFS_STORAGE_PLACE_H

#include <stagefs/auto.h>
#include <stagefs/error.h>
#include <stddef.h>

#define SFS_MAX_STORES 64u /* stores that one setting names */

struct sfs_storage_places {
    char *driver; /* NULL: not said */
    /* The stores' roots; owned. First the one that podman writes to, then those that it only reads
     * (imagestore, additionalimagestores). */
    char *roots[SFS_MAX_STORES];
    size_t count;
};

/* Finds the stores. `text` is what a reference has in brackets,
 * [DRIVER@]ROOT[+RUNROOT][:OPTION,...], or NULL: $CONTAINERS_STORAGE_CONF, else storage.conf of the
 * user or the system, else the place that podman takes without one. The caller calls
 * sfs_storage_places_done(), after a failure too. EINVAL: no such text. EBADMSG: a bad file. */
int sfs_storage_places_find(const char *text, struct sfs_storage_places *ret_places,
                            struct sfs_error *err);
/* Frees what it holds. Fine on an all-zero struct. */
void sfs_storage_places_done(struct sfs_storage_places *places);

#endif
