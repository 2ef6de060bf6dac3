/* Named files that an image is read from: those below a layout's directory, or the members of a tar
 * file, or what a registry has of an image (registry_members.h). Once all is announced, any thread
 * may use them. */
#ifndef STAGEFS_MEMBERS_H
#define STAGEFS_MEMBERS_H

#include "blob/blob.h"
#include <stagefs/digest.h>

struct sfs_members;

struct sfs_members_ops {
    /* Opens the bytes of one file. ENOENT: no such. EBADMSG: the tar ends before it does. */
    int (*open)(struct sfs_members *members, const char *name, struct sfs_blob **ret_blob,
                struct sfs_error *err);
    /* Opens the file itself, for hard links and reflinks: a file descriptor, which is the caller's,
     * or -ENOTSUP. May be NULL. */
    int (*open_file)(struct sfs_members *members, const char *name);
    /* See sfs_members_announce(); may be NULL. */
    int (*announce)(struct sfs_members *members, const struct sfs_digest *digest, uint64_t size,
                    bool is_layer, struct sfs_error *err);
    /* Frees what the implementation owns, but neither the label nor the struct. */
    void (*close)(struct sfs_members *members);
};

/* The base of all kinds: embed it as the first member. */
struct sfs_members {
    const struct sfs_members_ops *ops;
    char *label;    /* the path, for messages; owned */
    bool is_remote; /* their bytes come over a network */
};

/* Opens a directory, such as a layout. The caller closes *ret_members. EINVAL: a file. ENOENT,
 * EACCES: as the system has it. */
int sfs_members_open_dir(const char *path, struct sfs_members **ret_members, struct sfs_error *err);
/* Opens a tar file: reads its headers, not the bodies (archive.c). The caller closes *ret_members.
 * ENOTSUP: it is compressed. EBADMSG:
 * no tar, or cut off. */
int sfs_members_open_tar(const char *path, struct sfs_members **ret_members, struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. Blobs opened from it may live on. */
void sfs_members_close(struct sfs_members **members);

/* Opens the bytes of one file, which the caller closes. ENOENT: no such. EBADMSG: the tar ends
 * before it does. */
int sfs_members_open(struct sfs_members *members, const char *name, struct sfs_blob **ret_blob,
                     struct sfs_error *err);
/* Does the name lead to something? Costs no I/O but an open. */
bool sfs_members_has(struct sfs_members *members, const char *name);

/* Tells what a manifest says of a blob before it is opened: a registry does not say a blob's size.
 * ENOMEM. */
int sfs_members_announce(struct sfs_members *members, const struct sfs_digest *digest,
                         uint64_t size, bool is_layer, struct sfs_error *err);

/* "blobs/sha256/HEX", made from the parsed digest: a hostile digest cannot leave the directory. */
#define SFS_BLOB_PATH 80
/* Writes that path into `path`, and returns it. */
char *sfs_blob_path(const struct sfs_digest *digest, char path[SFS_BLOB_PATH]);
/* Opens the blob of that digest, which the caller closes. size UINT64_MAX: any. EKEYREJECTED: it
 * has another size. */
int sfs_members_open_blob(struct sfs_members *members, const struct sfs_digest *digest,
                          uint64_t size, struct sfs_blob **ret_blob, struct sfs_error *err);

#endif
