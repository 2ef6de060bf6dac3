/* Inside of struct sfs_layout: layout.c opens and tags, layout_blob.c brings blobs in. */
#ifndef STAGEFS_LAYOUT_PARTS_H
#define STAGEFS_LAYOUT_PARTS_H

#include "image/layout.h"
#include "image/members.h"

struct sfs_layout {
    char *dir;
    char *blobs;  /* DIR/blobs/sha256 */
    int fd;       /* of dir; locked while the layout is created or tagged */
    int blobs_fd; /* share-locked as long as the layout is open */
    struct sfs_members *members;
    bool made_dir; /* the directory was not there */
    bool made;     /* it was no layout */
    bool tagged;
};

#endif
