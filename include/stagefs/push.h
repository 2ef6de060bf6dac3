/* Copying an image to a registry. */
#ifndef STAGEFS_PUSH_H
#define STAGEFS_PUSH_H

#include <stagefs/cache.h>
#include <stagefs/digest.h>
#include <stagefs/error.h>
#include <stagefs/progress.h>
#include <stagefs/registry.h>

struct sfs_push_options {
    const char *destination; /* docker://HOST[:PORT]/NAME[:TAG|@DIGEST] */
    const char *platform;    /* which image of an index; NULL: the host's */
    bool all;                /* the index with all its images */
    struct sfs_store *store; /* where what comes from a registry is kept; NULL: nowhere */
    const struct sfs_registry_options *registry; /* NULL: all-zero */
    const struct sfs_progress *progress;         /* NULL: nobody is told */
};

struct sfs_push_result {
    struct sfs_digest manifest; /* of what the tag names now */
    uint64_t manifests;         /* how many were put: images and indexes */
    uint64_t blobs;             /* how many they name, each counted once; */
    uint64_t there, mounted,
        sent;                 /* of them: were there, came from another repository, were sent */
    uint64_t size, sent_size; /* bytes of all, and of those that were sent */
};

/* Copies the image, with the bytes of its manifest as they are. Blobs go first, several at a time,
 * and the tag last, so that a push that fails leaves the tag as it was. A docker-archive has
 * no manifest: its tars are compressed, and one is made. EINVAL: the destination. EKEYREJECTED: a
 * blob does not hold its digest. Else as sfs_image_open(), and EROFS: the registry takes no pushes;
 * EEXIST: its tags do not change; EACCES, EAGAIN, EIO: the registry. */
int sfs_push(const char *ref, const struct sfs_push_options *options,
             struct sfs_push_result *ret_result, struct sfs_error *err);

#endif
