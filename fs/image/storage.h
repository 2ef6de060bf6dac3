/* What containers/storage (podman, buildah, CRI-O) has of an image, read from its files: nothing is
 * written, and its locks are taken as its readers take them.
 *
 *   DRIVER-images/images.json        names, ids, top layers; DRIVER-images/ID/ has the documents
 *   DRIVER-layers/layers.json        parents, diff_ids; ID.tar-split.gz: see layer/tar_split.h
 *   overlay/ID/diff or vfs/dir/ID    the files */
#ifndef STAGEFS_STORAGE_H
#define STAGEFS_STORAGE_H

#include "image/members.h"
#include "image/reference.h"
#include "image/storage_place.h"
#include <jansson.h>
#include <stagefs/digest.h>

struct sfs_storage_root {
    char *path;         /* owned */
    const char *driver; /* "overlay" or "vfs" */
    int fd;
    struct sfs_members *files; /* what is below the path; owned */
};

struct sfs_storage_layer {
    char *id;    /* a file name; owned */
    size_t root; /* which of the roots has it */
    bool has_diff_id;
    struct sfs_digest diff_id; /* of its tar, as the store has it */
    uint64_t size;             /* bytes of its tar, as the store has it; 0: not said */
};

/* One image of the stores that a reference names. */
struct sfs_storage {
    struct sfs_storage_root roots[SFS_MAX_STORES];
    size_t root_count;
    char *id;    /* of the image: a file name; owned */
    size_t root; /* which of the roots has it */
    struct sfs_digest manifest;
    struct sfs_storage_layer *layers; /* lowest first; owned */
    size_t layer_count;
};

/* Opens the stores, and finds the image and its layers. Waits for those who write to the stores, a
 * minute at most. The caller calls sfs_storage_done(), after a failure too. ENOENT: there is no
 * such image; the words list those that there are. EAGAIN: the stores stay locked. EBADMSG: their
 * files are malformed. ENOTSUP: they are of a driver that keeps no directories. */
int sfs_storage_find(const struct sfs_reference *reference, struct sfs_storage *storage,
                     struct sfs_error *err);
/* Frees what it holds. Fine on an all-zero struct. */
void sfs_storage_done(struct sfs_storage *storage);

/* Takes a reader's lock of `root`: "images" or "layers". The caller closes *ret_fd, which gives it
 * back; -1: there is none to take. Waits a minute at most. EAGAIN: it is not given. */
int sfs_storage_lock(const struct sfs_storage_root *root, const char *what, int *ret_fd,
                     struct sfs_error *err);

/* Opens the directory that the files of a layer are below; the caller closes *ret_fd. `*ret_path`
 * is freed by the caller. No symlink is followed. ENOENT: it is not there. */
int sfs_storage_open_files(const struct sfs_storage *storage, const struct sfs_storage_layer *layer,
                           int *ret_fd, char **ret_path, struct sfs_error *err);
/* Is what the layer's tar has beside its files kept? */
bool sfs_storage_has_split(const struct sfs_storage *storage,
                           const struct sfs_storage_layer *layer);

/* What the members call layer I, the lowest being 0: this with the number behind it. */
#define SFS_STORAGE_LAYER "layers/"
/* Makes members of the image's documents and layers: manifest and config by their digests, layers
 * as tars by that name or by the diff_id that the store has of them. Takes over what is in
 * `storage`. The caller closes *ret_members. */
int sfs_storage_open_members(struct sfs_storage *storage, struct sfs_members **ret_members,
                             struct sfs_error *err);
/* What the members were made of; borrowed from them. */
const struct sfs_storage *sfs_storage_of(const struct sfs_members *members);

#endif
