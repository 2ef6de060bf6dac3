/* The inside of struct sfs_layout: layout.c opens and tags, layout_blob.c brings blobs in. */
#ifndef STAGEFS_LAYOUT_PARTS_H
#define STAGEFS_LAYOUT_PARTS_H

#include "image/layout.h"
#include "image/members.h"

struct sfs_layout {
    char *dir;
    char *blobs;                 /* DIR/blobs/sha256 */
    int fd;                      /* `dir`, open; locked while the layout is created or tagged */
    int blobs_fd;                /* `blobs`, open, with a shared lock as long as the layout is */
    struct sfs_members *members; /* the layout as it is read */
    bool made_dir;               /* open made the directory */
    bool made;                   /* open made a layout of it */
    bool tagged;                 /* somebody has tagged something since */
};

#endif
