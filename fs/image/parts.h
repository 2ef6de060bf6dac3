/* The inside of struct sfs_image: what the openers of this folder fill. */
#ifndef STAGEFS_PARTS_H
#define STAGEFS_PARTS_H

#include "base/thread.h"
#include "blob/codecs.h"
#include "image/document.h"
#include "image/platform.h"
#include "image/reference.h"
#include <stagefs/image.h>
#include <stdatomic.h>

/* A document that has a digest, for verify. */
struct sfs_image_document {
    bool has_digest;
    struct sfs_digest digest;
    char *member; /* its name among the members; owned */
    /* Of a manifest, or of what the reference names itself, as its descriptor has it; owned. */
    char *media_type;
    uint64_t size;
};

struct sfs_image_part {
    struct sfs_image_layer layer;
    char *member; /* the blob's name among the members; owned; NULL: a directory */
    /* Of a layer that a store keeps as files alone, as an overlay has them; owned; else NULL. */
    char *directory;
    char *key; /* what layer.key points to; owned */
};

struct sfs_image {
    char *ref;                        /* the reference that it was opened by */
    struct sfs_image_options options; /* what it was opened with */
    struct sfs_members *members;      /* NULL for dir: */
    char *directory;                  /* dir: only */
    json_t *manifest, *config;
    struct sfs_image_document manifest_document, config_document;
    struct sfs_image_document top; /* what the reference names: the manifest, or an index above */
    bool only_top;                 /* nothing below it is opened */
    struct sfs_image_part *parts;
    size_t count;
    struct sfs_store *store; /* the one that its layers were opened with; borrowed; NULL: none */
    pthread_mutex_t artifacts_lock;
    struct sfs_artifacts *artifacts; /* guarded by the lock; NULL: there are none, or see below */
    bool has_asked;                  /* for those; guarded by the lock */
    bool has_asker;                  /* a thread asks for them */
    pthread_t asker;
    atomic_bool is_closing;            /* what is not asked for yet is not wanted any more */
    struct sfs_sent_profile *profiles; /* sfs_image_read_profiles(); NULL: not read */
    size_t profile_count;
    json_t *soci;        /* SOCI's tables of its layers (soci.h); guarded by the lock; NULL: none */
    bool has_asked_soci; /* for those; guarded by the lock */
};

/* As sfs_image_open_with(), but nothing is chosen for a platform: where the reference names an
 * index or a manifest, image->top is that and nothing else is set. */
int sfs_image_open_top(const char *ref, const struct sfs_image_options *options,
                       struct sfs_image **ret_image, struct sfs_error *err);

/* Makes room for `count` layers. E2BIG: over SFS_MAX_LAYERS. */
int sfs_image_make_parts(struct sfs_image *image, size_t count, struct sfs_error *err);

/* The openers follow, one for each transport; image.c has their table. image->ref is set before;
 * what they fill is freed with the image, after a failure too. They fail as sfs_image_open(). */

/* Opens oci:DIR. */
int sfs_oci_open_dir(struct sfs_image *image, const struct sfs_reference *reference,
                     const struct sfs_platform *platform, struct sfs_error *err);
/* Opens oci-archive:FILE. */
int sfs_oci_open_archive(struct sfs_image *image, const struct sfs_reference *reference,
                         const struct sfs_platform *platform, struct sfs_error *err);
/* Opens docker-archive:FILE. */
int sfs_docker_open_archive(struct sfs_image *image, const struct sfs_reference *reference,
                            const struct sfs_platform *platform, struct sfs_error *err);

/* Opens docker://NAME. */
int sfs_registry_open_image(struct sfs_image *image, const struct sfs_reference *reference,
                            const struct sfs_platform *platform, struct sfs_error *err);

/* Opens containers-storage:NAME. */
int sfs_storage_open_image(struct sfs_image *image, const struct sfs_reference *reference,
                           const struct sfs_platform *platform, struct sfs_error *err);

/* Reads the documents of the image of that digest, which may be an index's, out of image->members
 * (oci.c). */
int sfs_oci_open_digest(struct sfs_image *image, const struct sfs_digest *digest,
                        const struct sfs_platform *platform, struct sfs_error *err);
/* Where image->members is an OCI layout: finds the image in it, and reads its documents (oci.c). */
int sfs_oci_open(struct sfs_image *image, const struct sfs_reference *reference,
                 const struct sfs_platform *platform, struct sfs_error *err);

/* Takes over the manifest: checks it, reads the config, fills the parts (manifest.c). */
int sfs_manifest_take(struct sfs_image *image, json_t **manifest, struct sfs_error *err);
/* Gives each part its diff_id out of image->config. EBADMSG: not one for each layer. */
int sfs_config_take_diff_ids(struct sfs_image *image, struct sfs_error *err);
/* Says what is wrong with a media type that is neither a manifest's nor an index's. Always
 * ENOTSUP. */
int sfs_manifest_fail_type(const char *media_type, struct sfs_error *err);
/* Is it the media type of an index (a manifest list), OCI's or Docker's? */
bool sfs_manifest_is_index(const char *media_type);
/* Is it the media type of an image's manifest, OCI's or Docker's? */
bool sfs_manifest_is_image(const char *media_type);
/* Is it the media type of an image's config, OCI's or Docker's? */
bool sfs_manifest_is_config(const char *media_type);

/* Opens the stored bytes of layer i; the caller closes *ret_blob. ENOENT: not there. EKEYREJECTED:
 * not of the descriptor's size. EBADMSG: the archive ends before it does. */
int sfs_image_open_blob(const struct sfs_image *image, size_t i, struct sfs_blob **ret_blob,
                        struct sfs_error *err);
#define SFS_LAYER_LABEL 128
/* What messages call layer i: "layer 3 (sha256:0123456789ab)", or with the directory's path. Fills
 * and returns `label`. */
char *sfs_image_label(const struct sfs_image *image, size_t i, char label[SFS_LAYER_LABEL]);

/* Finds how layer i is compressed. If its media type says one codec and its first bytes another,
 * the bytes decide, as for docker and containerd (the diff_id tells whether they were right), and
 * progress->warn is told. A blob whose digest is its diff_id is never compressed. Waits for the
 * disk. */
int sfs_image_settle_codec(const struct sfs_image *image, size_t i, struct sfs_blob *blob,
                           const struct sfs_progress *progress, enum sfs_codec *ret_codec,
                           struct sfs_error *err);

/* What is beside the image at its registry (artifacts.h), borrowed from the image; asked for once.
 * NULL: it is not at a registry, or the registry does not say. */
struct sfs_artifacts *sfs_image_artifacts(struct sfs_image *image);
/* Begins to ask for it on a thread, and to read the profiles, if the options want them, where the
 * image was opened to open its layers, and its manifest, which must be there, has any whose index
 * may be used. Whoever wants to know waits for that. sfs_image_end_asking() waits for the end; it
 * is fine where nothing was begun. One thread at a time may call it. */
void sfs_image_ask_ahead(struct sfs_image *image);
void sfs_image_end_asking(struct sfs_image *image);

/* A start profile beside the image. */
struct sfs_sent_profile {
    char *text; /* owned by the image; NULL: it could not be had */
    size_t size;
    int result; /* of reading it */
    struct sfs_error err;
};
/* Reads all of them, at most once while the image is open. *ret_profiles is borrowed from it. Waits
 * for the registry. Not while the thread above may run: sfs_image_end_asking() comes first. */
int sfs_image_read_profiles(struct sfs_image *image, const struct sfs_sent_profile **ret_profiles,
                            size_t *ret_count, struct sfs_error *err);
/* For closing the image. */
void sfs_image_free_profiles(struct sfs_image *image);
struct sfs_layer_source;
/* What is known of layer i, but for its codec, which is left zero. The label is borrowed. */
struct sfs_layer_source sfs_image_layer_source(const struct sfs_image *image, size_t i,
                                               const char *label);
struct sfs_index;
/* Does the index that is beside the image say the same of that layer as one that was made here?
 * True also where there is none. */
bool sfs_image_sent_is_same(struct sfs_image *image, const struct sfs_layer_source *source,
                            const struct sfs_index *made);
/* Opens a layer of the image by the index that is beside it, or else by SOCI's table of it, if
 * those are to be trusted. Takes over *blob on success. ENOENT: it is to be opened otherwise; what
 * is wrong with an index was told to progress->warn. */
int sfs_image_open_sent(struct sfs_image *image, struct sfs_cache *cache, struct sfs_blob **blob,
                        const struct sfs_layer_source *source, struct sfs_layer **ret_layer,
                        struct sfs_error *err);

/* The layers' numbers, largest blob first, so that the last one to be done is a small one. The
 * caller frees *ret_order. ENOMEM. */
int sfs_image_order(struct sfs_image *image, size_t **ret_order, struct sfs_error *err);
struct sfs_pool;
/* Opens worker threads for the image's layers: one for each CPU, but not more than there are
 * layers. The caller closes *ret_pool. */
int sfs_image_open_pool(const struct sfs_image *image, struct sfs_pool **ret_pool,
                        struct sfs_error *err);

#endif
