/* An image: a reference resolved to manifest, config and layers. Immutable once open. Reading is
 * lazy: open reads the small documents only (and verifies each against its digest). */
#ifndef STAGEFS_IMAGE_H
#define STAGEFS_IMAGE_H

#include <stagefs/auto.h>
#include <stagefs/cache.h>
#include <stagefs/codec.h>
#include <stagefs/digest.h>
#include <stagefs/progress.h>
#include <stdbool.h>
#include <stddef.h>

struct json_t; /* jansson */
struct sfs_image;
struct sfs_layer;

struct sfs_image_layer {
    struct sfs_digest digest; /* of the blob, if has_digest (a docker-archive does not say) */
    bool has_digest;
    struct sfs_digest diff_id; /* of the tar inside, if has_diff_id */
    bool has_diff_id;
    uint64_t size;          /* bytes of the blob; for dir: 0 */
    const char *media_type; /* as the manifest has it */
    bool is_directory;      /* files alone (dir:, some of a store): no blob, and codec NONE */
    /* The codec of the blob: as the media type says or, where none says, as its first bytes tell.
     */
    enum sfs_codec codec;
    const char *key;                  /* its name in the store (see layer.h); "" for dir: */
    const struct json_t *annotations; /* of its descriptor, or NULL; borrowed */
};

struct sfs_registry_options;

/* What an image is opened with. What it points to is borrowed until the image is closed. */
struct sfs_image_options {
    const char *platform;    /* "OS/ARCH[/VARIANT]"; NULL: the host's */
    struct sfs_store *store; /* where what comes from a registry is kept; NULL: nowhere */
    const struct sfs_registry_options *registry; /* NULL: all-zero (stagefs/registry.h) */
    const struct sfs_progress *progress;         /* its `warn` is told; NULL: nobody is */
    bool will_open_layers; /* what they will want of a registry is asked for while the config is */
    bool wants_profiles;   /* and so are start profiles beside it (sfs_profile_find_beside()) */
};

/* Opens the image that `ref` names, as the manual page has it: oci:DIR[:TAG|@DIGEST],
 * oci-archive:FILE[:TAG], docker-archive:FILE[:NAME:TAG], dir:DIR, docker://NAME[:TAG|@DIGEST],
 * containers-storage:NAME[:TAG|@DIGEST|@ID].
 * platform "OS/ARCH[/VARIANT]" or NULL for the host's; only an image index asks for it. The caller
 * closes *ret_image. ENOENT: no such file, tag or platform (the words list those there are).
 * EKEYREJECTED: a document does not match its digest. ENOTSUP: media type, transport. EBADMSG:
 * malformed. */
int sfs_image_open(const char *ref, const char *platform, struct sfs_image **ret_image,
                   struct sfs_error *err);
/* The same, with options. Of a registry: EAGAIN: it does not answer. EACCES: it wants a login. */
int sfs_image_open_with(const char *ref, const struct sfs_image_options *options,
                        struct sfs_image **ret_image, struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. Its layers have been closed before. */
void sfs_image_close(struct sfs_image **image);

/* The reference that it was opened by. Borrowed from the image. */
const char *sfs_image_ref(const struct sfs_image *image);
/* How many layers it has; dir: has one. */
size_t sfs_image_layer_count(const struct sfs_image *image);
/* Layer i, from 0, lowest first, below the count. Borrowed from the image. */
const struct sfs_image_layer *sfs_image_layer(const struct sfs_image *image, size_t i);
/* The config as it was read; {} for dir:. Borrowed from the image. */
const struct json_t *sfs_image_config(const struct sfs_image *image);
/* The manifest as it was read; NULL for dir: and for a docker-archive read by its manifest.json.
 * Borrowed from the image. */
const struct json_t *sfs_image_manifest(const struct sfs_image *image);
/* Digest of the manifest; false: it has none (dir:, docker-archive), or names blobs that are not
 * kept (containers-storage:). */
bool sfs_image_digest(const struct sfs_image *image, struct sfs_digest *ret_digest);

/* Opens all layers, lowest first, building missing indexes (layers in parallel, bounded by the
 * CPUs). Borrows image, store and cache until the layers are closed with sfs_image_close_layers().
 * cache NULL: names and metadata only. */
int sfs_image_open_layers(struct sfs_image *image, struct sfs_store *store, struct sfs_cache *cache,
                          const struct sfs_progress *progress, struct sfs_layer ***ret_layers,
                          struct sfs_error *err);
/* Closes the layers and frees the array; sets NULL. NULL is fine. */
void sfs_image_close_layers(struct sfs_layer ***layers, size_t count);

/* Brings what lies at a registry of an opened image here, while nobody waits for anything else; and
 * makes then an index of each layer that has none of this host's, which compares the layer with its
 * digest. progress->warn is told of an index from elsewhere that turns out to be another one. */
struct sfs_image_fill;
/* Starts the thread. Image and progress (NULL: nobody is told) are borrowed until
 * sfs_image_fill_close(). The layers are open. */
int sfs_image_fill_open(struct sfs_image *image, const struct sfs_progress *progress,
                        struct sfs_image_fill **ret_fill, struct sfs_error *err);
/* Ends the thread, and sets NULL; NULL is fine. */
void sfs_image_fill_close(struct sfs_image_fill **fill);

/* What sfs_image_verify() tells of one digest. */
struct sfs_verified {
    const char *what;                   /* "manifest", "config", "layer 3", "diff_id 3" */
    struct sfs_digest expected, actual; /* as the image says, and as the bytes have it */
    uint64_t size; /* bytes that were digested; of a diff_id: of the tar inside */
    bool holds;    /* both are the same */
};
/* Reads every blob (layers in parallel) and compares every digest: manifest, config, layers,
 * diff_ids. Calls `found` for each, in this order, on the caller's thread. Returns 0 if all hold,
 * -EKEYREJECTED with the first that does not (a layer that cannot be decoded does not hold its
 * diff_id); ENOENT, EIO: a blob could not be read (the others are still looked at). */
int sfs_image_verify(struct sfs_image *image, const struct sfs_progress *progress,
                     void (*found)(void *user, const struct sfs_verified *verified), void *user,
                     struct sfs_error *err);

#endif
