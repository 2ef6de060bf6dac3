/* Writing to a repository: blobs, then manifests by digest, then the tag (together with feed.h,
 * which brings the bytes to the network).
 *
 * What is there already is not sent. Fails as repository.h has it, and besides: EROFS: the registry
 * takes no pushes. EEXIST: the tag may not be changed. E2BIG: it takes nothing that large. */
#ifndef STAGEFS_UPLOAD_H
#define STAGEFS_UPLOAD_H

#include "registry/repository.h"
#include <stagefs/progress.h>

/* A blob to upload, and where its bytes are. */
struct sfs_upload {
    struct sfs_digest digest; /* is_growing: is_known() sets it */
    uint64_t size;
    /* Reads up to `size` bytes at `offset`, as sfs_blob_read_at(); may wait. One thread at a time
     * calls it. */
    ssize_t (*read_at)(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err);
    /* The blob is still being written: read_at() waits for more, and gives 0 at the end. Then this
     * says its digest. A negative errno: there will be no such blob. */
    bool is_growing;
    int (*is_known)(void *user, struct sfs_digest *ret_digest, struct sfs_error *err);
    void *user;
    const char *mount_from; /* another repository of that registry that has it; NULL: none */
    const struct sfs_progress *progress; /* NULL: nobody is told */
    const atomic_bool *cancelled;        /* NULL: it cannot be */
};

/* How a blob came to be there. */
enum sfs_uploaded {
    SFS_UPLOADED_NOT,     /* it was there */
    SFS_UPLOADED_MOUNTED, /* out of another repository */
    SFS_UPLOADED_SENT,
};

/* Is the blob there? 1, 0, or a negative errno. */
int sfs_repository_has_blob(struct sfs_repository *repository, const struct sfs_digest *digest,
                            struct sfs_error *err);
/* May we push there? Begins an upload, which the next blob goes on with. Fails as that would. */
int sfs_repository_check_push(struct sfs_repository *repository, struct sfs_error *err);
/* Brings a blob there, and waits for that. Any number of threads. EKEYREJECTED: the source does not
 * hold the digest. A growing blob is sent once, while it comes; what fails is left to the caller,
 * who has it whole later. */
int sfs_repository_put_blob(struct sfs_repository *repository, const struct sfs_upload *upload,
                            enum sfs_uploaded *ret_how, struct sfs_error *err);
/* The same of bytes in memory, whose digest comes back. */
int sfs_repository_put_bytes(struct sfs_repository *repository, const void *data, size_t size,
                             struct sfs_digest *ret_digest, struct sfs_error *err);

struct sfs_manifest_put {
    const void *data; /* exactly these bytes */
    size_t size;
    const char *media_type;
    const char *tag;      /* NULL: it is put by its digest */
    const char *if_match; /* the ETag that the tag has to have; NULL: whatever is there */
};
/* Puts a manifest or an index. *ret_took_subject, which may be NULL: the registry enters it among
 * its subject's referrers by itself. EBUSY: the tag has changed since (if_match). */
int sfs_repository_put_manifest(struct sfs_repository *repository,
                                const struct sfs_manifest_put *put, bool *ret_took_subject,
                                struct sfs_error *err);

#endif
