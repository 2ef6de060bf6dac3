/* Where an image is written to. Blobs come first; the image appears with `finish`, whole, and until
 * then the destination is as it was before.
 *
 *   target_layout.c    a layout, and through one, with skopeo, containers-storage
 *   target_archive.c   oci-archive, docker-archive */
#ifndef STAGEFS_TARGET_H
#define STAGEFS_TARGET_H

#include "image/reference.h"
#include <jansson.h>
#include <stagefs/image.h>

struct sfs_target;

/* What `finish` makes appear. Its blobs are all there. */
struct sfs_target_image {
    struct sfs_digest digest, config_digest; /* digest: the manifest's */
    const json_t *manifest, *descriptor;     /* descriptor: of the manifest */
};

struct sfs_target_ops {
    /* Is that blob there already? */
    bool (*has)(const struct sfs_target *target, const struct sfs_digest *digest, uint64_t size);
    /* A blob whose digest is known when all is written to *ret_fd (borrowed; from its position on,
     * nothing else). One at a time: `end` keeps it, `drop` forgets it. */
    int (*begin)(struct sfs_target *target, int *ret_fd, struct sfs_error *err);
    int (*end)(struct sfs_target *target, const struct sfs_digest *digest, uint64_t size,
               struct sfs_error *err);
    void (*drop)(struct sfs_target *target);
    /* A layer with a digest from another image, in a cheaper way than byte by byte. May be NULL. */
    int (*add_layer)(struct sfs_target *target, struct sfs_image *image, size_t i,
                     struct sfs_error *err);
    int (*finish)(struct sfs_target *target, const struct sfs_target_image *image,
                  struct sfs_error *err);
    /* Frees all, itself too; removes what is unfinished. */
    void (*close)(struct sfs_target *target);
};

struct sfs_target { /* embed as first member */
    const struct sfs_target_ops *ops;
};

/* Each opens what the reference says; `text` is the reference as it was given. Nothing of the
 * destination changes. commit.c has the table of which is for which transport. */

/* oci:DIR[:TAG] */
int sfs_target_open_layout(const struct sfs_reference *reference, const char *text,
                           struct sfs_target **ret_target, struct sfs_error *err);
/* oci-archive:FILE[:TAG], docker-archive:FILE[:NAME:TAG]. EINVAL: FILE is there and is no file. */
int sfs_target_open_archive(const struct sfs_reference *reference, const char *text,
                            struct sfs_target **ret_target, struct sfs_error *err);
/* containers-storage:NAME, by skopeo, which is given the text. ENOENT: there is no skopeo. */
int sfs_target_open_storage(const struct sfs_reference *reference, const char *text,
                            struct sfs_target **ret_target, struct sfs_error *err);

/* Removes what is unfinished, and frees. */
void sfs_target_close(struct sfs_target **target);

/* Adds a small blob whose bytes are at hand. */
int sfs_target_add_bytes(struct sfs_target *target, const void *data, size_t size,
                         struct sfs_digest *ret_digest, struct sfs_error *err);

#endif
