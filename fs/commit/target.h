/* Where an image is written to. Blobs come first; the image appears with `finish`, whole, and until
 * then the destination is as it was before.
 *
 *   target_layout.c    a layout, and through one, with skopeo, containers-storage
 *   target_archive.c   oci-archive, docker-archive
 *   target_registry.c  a registry */
#ifndef STAGEFS_TARGET_H
#define STAGEFS_TARGET_H

#include "image/reference.h"
#include <jansson.h>
#include <stagefs/image.h>

struct sfs_commit_options;
struct sfs_artifact;
struct sfs_target;

/* What `finish` makes appear. Its blobs are all there. */
struct sfs_target_image {
    struct sfs_digest digest, config_digest; /* digest: the manifest's */
    const json_t *manifest, *descriptor;     /* descriptor: of the manifest */
    /* What is put beside the image, before it appears; its subject is filled in then. Only a
     * registry has a place for it. NULL: nothing is. */
    const struct sfs_artifact *beside;
};

struct sfs_target_ops {
    /* Is that blob there already, with that size? */
    bool (*has)(const struct sfs_target *target, const struct sfs_digest *digest, uint64_t size);
    /* Begins a blob whose digest is known when all is written: to *ret_fd, which is borrowed, from
     * its position on. One at a time: `end` keeps it, `drop` forgets it. */
    int (*begin)(struct sfs_target *target, int *ret_fd, struct sfs_error *err);
    int (*end)(struct sfs_target *target, const struct sfs_digest *digest, uint64_t size,
               struct sfs_error *err);
    void (*drop)(struct sfs_target *target);
    /* Adds a layer that has a digest from another image, in a cheaper way than byte by byte. May be
     * NULL. */
    int (*add_layer)(struct sfs_target *target, struct sfs_image *image, size_t i,
                     struct sfs_error *err);
    /* Makes the image appear. */
    int (*finish)(struct sfs_target *target, const struct sfs_target_image *image,
                  struct sfs_error *err);
    /* Removes what is unfinished, and frees all, the target too. */
    void (*close)(struct sfs_target *target);
};

/* The base of all kinds: embed it as the first member. */
struct sfs_target {
    const struct sfs_target_ops *ops;
    bool fills_stdout; /* the image goes to standard output, where nothing else may be printed */
};

/* The functions that follow open the destination that the reference names; `text` is the reference
 * as it was given. The options are borrowed until it is closed.
 * Nothing of the destination changes before `finish`. The caller closes
 * *ret_target. commit.c has the table of which is for which transport. */

/* Opens oci:DIR[:TAG]. */
int sfs_target_open_layout(const struct sfs_reference *reference, const char *text,
                           const struct sfs_commit_options *options, struct sfs_target **ret_target,
                           struct sfs_error *err);
/* Opens oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME:TAG]. What is a pipe, a device or
 * standard output is written to by `finish`, and not replaced; waits for who reads a pipe. EINVAL:
 * FILE is a directory, a socket or a terminal. */
int sfs_target_open_archive(const struct sfs_reference *reference, const char *text,
                            const struct sfs_commit_options *options,
                            struct sfs_target **ret_target, struct sfs_error *err);
/* Opens containers-storage:NAME, by skopeo, which is given the text. ENOENT: there is no skopeo. */
int sfs_target_open_storage(const struct sfs_reference *reference, const char *text,
                            const struct sfs_commit_options *options,
                            struct sfs_target **ret_target, struct sfs_error *err);

/* Opens docker://HOST/NAME[:TAG]. What is begun is sent while it is written, as far as the registry
 * takes it so; layers that have a digest go beside it, and are waited for by `finish`. EACCES,
 * EAGAIN, ...: as registry/upload.h has it. */
int sfs_target_open_registry(const struct sfs_reference *reference, const char *text,
                             const struct sfs_commit_options *options,
                             struct sfs_target **ret_target, struct sfs_error *err);

/* Removes what is unfinished, frees, and sets NULL; NULL is fine. */
void sfs_target_close(struct sfs_target **target);

/* Adds a small blob from memory, and says its digest. Fails as the target does. */
int sfs_target_add_bytes(struct sfs_target *target, const void *data, size_t size,
                         struct sfs_digest *ret_digest, struct sfs_error *err);

#endif
