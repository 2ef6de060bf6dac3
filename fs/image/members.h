/* Named files that an image is read from: those below a layout's directory, or the members of a tar
 * file. Immutable once open, so any thread may use it. A registry would be a third kind, whose
 * names are "blobs/sha256/HEX". */
#ifndef STAGEFS_MEMBERS_H
#define STAGEFS_MEMBERS_H

#include "blob/blob.h"
#include <stagefs/digest.h>

struct sfs_members;

struct sfs_members_ops {
    /* The bytes of one file. ENOENT: no such. EBADMSG: the tar ends before it does. */
    int (*open)(struct sfs_members *members, const char *name, struct sfs_blob **ret_blob,
                struct sfs_error *err);
    /* A descriptor of the file itself, for hard links and reflinks, or -ENOTSUP. May be NULL. */
    int (*open_file)(struct sfs_members *members, const char *name);
    void (*close)(struct sfs_members *members); /* frees all but the struct's label and itself */
};

struct sfs_members { /* embed as first member */
    const struct sfs_members_ops *ops;
    char *label; /* the path, for messages; owned */
};

int sfs_members_open_dir(const char *path, struct sfs_members **ret_members, struct sfs_error *err);
/* Reads the headers of a tar file, not the bodies (archive.c). ENOTSUP: it is compressed. EBADMSG:
 * no tar, or cut off. */
int sfs_members_open_tar(const char *path, struct sfs_members **ret_members, struct sfs_error *err);
void sfs_members_close(struct sfs_members **members);

int sfs_members_open(struct sfs_members *members, const char *name, struct sfs_blob **ret_blob,
                     struct sfs_error *err);
/* No I/O but an open. Says only whether the name leads to something. */
bool sfs_members_has(struct sfs_members *members, const char *name);

/* "blobs/sha256/HEX", made from the parsed digest: a hostile digest cannot leave the directory. */
#define SFS_BLOB_PATH 80
char *sfs_blob_path(const struct sfs_digest *digest, char path[SFS_BLOB_PATH]);
/* The blob of that digest. size UINT64_MAX: any. EKEYREJECTED: it has another size. */
int sfs_members_open_blob(struct sfs_members *members, const struct sfs_digest *digest,
                          uint64_t size, struct sfs_blob **ret_blob, struct sfs_error *err);

#endif
